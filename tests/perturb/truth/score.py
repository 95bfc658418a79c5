"""How near an attack comes to the exact distance, in three numbers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Score:
    """An attack's distances over the exact ones.

    Attributes:
        median: ratio of the images on which it succeeded, 1 at best; NaN if there are none.
        largest: ratio among them.
        failed: share of the images on which it found nothing, 0 to 1.
    """

    median: float
    largest: float
    failed: float

    def __str__(self) -> str:
        return f"median {self.median:.4f}, max {self.largest:.4f}, failed {self.failed:.1%}"


def score(found: Tensor, exact: Tensor, *, tolerance: float = 1e-6) -> Score:
    """Holds an attack's distances against the truth.

    Args:
        found: distance of each image's adversarial point, shape (n,); infinite or NaN where the
            attack failed.
        exact: the smallest there is, finite and above 0, shape (n,).
        tolerance: by what share a distance may fall below the exact one through rounding.

    Raises:
        ValueError: a distance below the exact one, which is a wrong claim of success, or an exact
            distance that nothing can be divided by.
    """
    if found.shape != exact.shape or exact.ndim != 1 or not len(exact):
        raise ValueError(f"shapes {tuple(found.shape)} and {tuple(exact.shape)}: give (n,) twice")
    if not bool((exact.isfinite() & (exact > 0)).all()):
        raise ValueError("exact distances have to be finite and above 0")
    ratio = found.double() / exact.double()
    reached = ratio.isfinite()
    below = reached & (ratio < 1 - tolerance)
    if bool(below.any()):
        image = int(below.nonzero()[0])
        raise ValueError(
            f"image {image} is said to be broken at {found[image].item():.9g}, and nothing breaks "
            f"it below {exact[image].item():.9g}"
        )
    good = ratio[reached]
    nothing = float("nan")
    return Score(
        float(good.quantile(0.5)) if len(good) else nothing,
        float(good.max()) if len(good) else nothing,
        1 - len(good) / len(exact),
    )
