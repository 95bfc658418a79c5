"""``python -m bcadv.store [list | prune] [outputs=DIR]``: the stored models.

``list`` shows each with what it is and which jobs use it. ``prune`` removes those that no job
folder refers to, after asking; ``prune yes=true`` does not ask.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from bcadv.console import say
from bcadv.errors import BcadvError
from bcadv.store.listing import COMMAND, run

_WORDS = {"list": "prune=false", "prune": "prune=true"}


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        options, others = COMMAND.parse([_WORDS.get(word, word) for word in arguments])
        return run(options, others)
    except BcadvError as error:
        say(Console(stderr=True), f"bcadv: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
