"""BatchNorm statistics, and other tensors, beside the stored model that they belong to.

Each file has a digest of its own, in a record beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bcadv.errors import BcadvError
from bcadv.files import beside, sha256_of, write_atomically
from bcadv.store.models import write

if TYPE_CHECKING:
    from torch import Tensor


def record_of(path: Path) -> Path:
    """Where the digest of a file of statistics stands, and the code that estimated them."""
    return path.with_suffix(".json")


def write_statistics(statistics: Mapping[str, Tensor], path: Path, code: str) -> None:
    """Keeps statistics.

    Args:
        statistics: by their names in the model's state.
        path: see `bcadv.store.models.Entry.statistics`.
        code: names the code that estimated them.

    Raises:
        OSError: they cannot be written.
    """
    # Two jobs may have come here at once: each writes a file of its own and moves it into place.
    with beside(path) as part:
        write({name: value.cpu() for name, value in statistics.items()}, part)
        record = {"sha256": sha256_of(part), "code": code}
    write_atomically(record_of(path), json.dumps(record) + "\n")


def read_statistics(
    path: Path, what: str = "BatchNorm statistics"
) -> tuple[dict[str, Tensor], str]:
    """Statistics by their names in the model's state, and the name of the code they are from.

    Args:
        path: of the file.
        what: stands in it, for a sentence.

    Raises:
        BcadvError: they are missing, or were changed or damaged.
    """
    import torch  # here, because the tracker reads this module before it may be slow

    try:
        record = json.loads(record_of(path).read_text(encoding="utf-8"))
        if record["sha256"] != sha256_of(path):
            raise ValueError
        return torch.load(path, map_location="cpu", weights_only=True), str(record["code"])
    except Exception as error:  # damage shows itself in many ways
        missing = isinstance(error, FileNotFoundError)
        reason = "the file or its record is missing" if missing else "it was changed or damaged"
        raise BcadvError(
            f"The {what} {path} cannot be used ({reason}): run the job again, which makes a new "
            "file."
        ) from error
