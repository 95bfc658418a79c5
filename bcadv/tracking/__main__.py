"""``python -m bcadv.tracking [OUTPUTS]``: makes the embedded store ready to be shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bcadv.tracking.store import alone, follow_move, store_uri


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    outputs = Path(arguments[0] if arguments else "outputs")
    if outputs.is_dir():
        with alone(outputs, store_uri(outputs)):
            follow_move(outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
