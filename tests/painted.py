"""Synthetic tissue is painted once for all tests, which takes longer than a small training."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bcadv.data.records import Selection
from bcadv.data.sources.painted import SyntheticData


@contextmanager
def painted_once(store: Path) -> Iterator[None]:
    """Within it, jobs find their images painted: copies of what was painted into `store`.

    Args:
        store: a folder that processes may share.
    """
    find = SyntheticData.find

    def found(self: SyntheticData) -> Selection:
        from bcadv.data.sources import synthetic

        with patch.object(synthetic, "write_tree", partial(_copied, synthetic.write_tree, store)):
            return find(self)

    with patch.object(SyntheticData, "find", found):
        yield


def _copied(write_tree: Callable[..., Path], store: Path, root: Path, **arguments: Any) -> Path:
    tree = write_tree(store, **arguments)
    part = root / f".copy-{uuid.uuid4().hex}"
    # Where another process was quicker, or nothing can be written, is for the program to say.
    with suppress(OSError):
        if not (root / tree.name).exists():
            shutil.copytree(tree, part)
            part.rename(root / tree.name)
    shutil.rmtree(part, ignore_errors=True)
    return write_tree(root, **arguments)
