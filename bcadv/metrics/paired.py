"""Whether a model is right more often under one condition than under another, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc


@dataclass(frozen=True)
class Rise:
    """A one-sided comparison on the same images.

    Attributes:
        p: of so many more images right if nothing had changed, times the number of comparisons.
        gained: images right only after.
        lost: images right only before.
    """

    p: float
    gained: int
    lost: int


def rises(before: NDArray[np.bool_], after: NDArray[np.bool_], *, comparisons: int = 1) -> Rise:
    """Tests whether more images are right after than before (exact McNemar test, one-sided).

    One image of a thousand that turns right is no rise. Images are taken for independent; several
    of one patient make the test too quick to see a rise, which here is the safe side.

    Args:
        before: whether each image is right, shape (n,).
        after: the same images, later.
        comparisons: how many are made beside each other (Bonferroni).
    """
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    # At least so many of the images that changed, were each a fair coin.
    p = float(bdtrc(gained - 1, gained + lost, 0.5)) if gained else 1.0
    return Rise(min(1.0, comparisons * p), gained, lost)
