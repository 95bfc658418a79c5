"""``python -m bcadv`` is the command ``bcadv``."""

from __future__ import annotations

import sys

from bcadv.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
