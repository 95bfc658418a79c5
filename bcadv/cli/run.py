"""``bcadv run``: what ``python -m bcadv.run`` does, with the same arguments."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any


def run(options: Mapping[str, Any], others: Sequence[str]) -> int:
    """Hands all on; what fails ends the process with its status.

    Args:
        options: none.
        others: Hydra's overrides and flags.
    """
    from bcadv.run import main

    sys.argv[1:] = others
    main()
    return 0
