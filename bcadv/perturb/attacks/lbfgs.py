"""The box-constrained L-BFGS attack."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from bcadv.perturb.attack import whole
from bcadv.perturb.boundary import BoundaryAttack
from bcadv.perturb.search import Search

_OPENING, _PLANES, _QUERIES = 10, 5, 12
"""Gradients of the opening, tangent planes, and queries of the last search along the path."""


@dataclass(frozen=True)
class LBFGS(BoundaryAttack):
    """Box-constrained L-BFGS: squared distance plus a weight times the loss, the weight searched.

    Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow and Fergus, "Intriguing properties of
    neural networks", ICLR 2014, section 4.1. The loss is ``log(1 + exp(-lead))``, with two classes
    cross entropy against the wanted one. The weight begins at what a linear model would need and
    is taken four times larger or smaller until it brackets the smallest that makes the image
    adversarial, then bisected on a logarithmic scale until it is known within a tenth. Every point
    that the line searches ask for counts, and what was found is drawn onto the boundary's linear
    model at the end. One image at a time.

    Attributes:
        steps: iterations of L-BFGS for each weight, at most.
        search_steps: weights.

    Raises:
        BcadvError: an option out of its range.
    """

    steps: int = field(default=50, kw_only=True)
    search_steps: int = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "search_steps"):
            whole(self, name, 1)

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "lbfgs"

    def _approach(self, search: Search, rows: Tensor) -> None:
        for k in range(len(rows)):
            self._search_weight(search, rows[k : k + 1])
        lost = rows[~search.distance[rows].isfinite()]
        if len(lost):
            self._cross(search, lost, _OPENING)
        self._refine(search, rows, _PLANES)
        self._shrink(search, rows, _QUERIES)

    def _search_weight(self, search: Search, row: Tensor) -> None:
        gradient, logits = self.gradient_at(search, row, search.image[row])
        short = -float(self.lead(logits, search.target[row]))
        steep = float(gradient.double().norm())
        if steep == 0:
            return
        # At a linear model's boundary 2 d = weight / 2 * gradient.
        weight, low, high = max(4 * short / steep**2, 1e-12), 0.0, np.inf
        unit = max(short / steep, 1e-12) ** 2
        for _ in range(self.search_steps):
            if high < 1.1 * low:
                break
            if self._minimise(search, row, weight / unit, unit):
                high = weight
                weight = (low * high) ** 0.5 if low else weight / 4
            else:
                low = weight
                weight = (low * high) ** 0.5 if np.isfinite(high) else weight * 4

    def _minimise(self, search: Search, row: Tensor, weight: float, unit: float) -> bool:
        """Whether the minimum for a weight, in units of a squared distance, is adversarial."""
        image = search.image[row]
        origin: NDArray[np.float64] = image.double().cpu().numpy().ravel()
        reached = False

        def value(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            nonlocal reached
            point = torch.as_tensor(flat, dtype=torch.float64).reshape(image.shape)
            point = point.to(image).clamp(*self.bounds)
            gradient, logits = self.gradient_at(search, row, point)
            reached = bool(self._accept(search, row, point, logits))
            lead = self.lead(logits, search.target[row])
            loss = float(functional.softplus(-lead))
            pull = float(expit(-float(lead)))
            slope = gradient.double().cpu().numpy().ravel()
            change = flat - origin
            return (
                float(change @ change) / unit + weight * loss,
                2 * change / unit - weight * pull * slope,
            )

        limits = [self.bounds] * len(origin)
        found = minimize(
            value,
            origin,
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxiter": self.steps, "ftol": 1e-6, "gtol": 1e-6},
        )
        value(found.x)
        return reached
