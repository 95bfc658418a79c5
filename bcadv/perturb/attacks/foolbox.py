"""Any attack of foolbox."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.foreign import Asked, ForeignAttack, arguments, library

_PREFIXES = {math.inf: ("Linf", "LInf", "Linfinity"), 2.0: ("L2",), 1.0: ("L1",), 0.0: ("L0",)}
"""How names of methods of a norm begin."""

_UNFIT = {"DatasetAttack", "BinarizationRefinementAttack"}
"""Begin at points that they have to be given."""

_NEVER_TOWARD = {
    "LinfDeepFoolAttack",
    "L2DeepFoolAttack",
    "NewtonFoolAttack",
    "VirtualAdversarialAttack",
}


@dataclass(frozen=True)
class Foolbox(ForeignAttack):
    """An attack of foolbox, see `bcadv.perturb.foreign.ForeignAttack`.

    Rauber, Brendel and Bethge, "Foolbox: a Python toolbox to benchmark the robustness of machine
    learning models", 2017. Where a method has a class for each norm its name may be given without
    it: ``PGD`` is ``LinfPGD`` in the maximum norm and ``L2PGD`` in the Euclidean one.
    """

    method: str = field(default="PGD", kw_only=True)

    always_toward: ClassVar[frozenset[str]] = frozenset({"GenAttack"})

    def __post_init__(self) -> None:
        super().__post_init__()
        self._made()

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "foolbox"

    @property
    def _within_ball(self) -> bool:
        return isinstance(
            self._made(), library("foolbox.attacks.base", "foolbox").FixedEpsilonAttack
        )

    @property
    def _takes_target(self) -> bool:
        return type(self._made()).__name__ not in _NEVER_TOWARD

    def _made(self) -> Any:
        """The library's attack, in the norm of the threat."""
        every = vars(library("foolbox.attacks", "foolbox"))
        base = library("foolbox.attacks.base", "foolbox")
        kinds = (base.FixedEpsilonAttack, base.MinimizationAttack)
        methods = {
            name: kind
            for name, kind in every.items()
            if inspect.isclass(kind) and issubclass(kind, kinds) and not inspect.isabstract(kind)
        }
        fit = {name: kind for name, kind in methods.items() if name not in _UNFIT}
        names = [self.method, *(p + self.method for some in _PREFIXES.values() for p in some)]
        named = [fit[name] for name in names if name in fit]
        made = [self._built(kind) for kind in named or [self._known(self.method, fit, every)]]
        norm, norms = self.threat.norm, [_norm_of(one) for one in made]
        if None in norms or norm in norms:
            return made[norms.index(norm if norm in norms else None)]
        said = list(dict.fromkeys(f"{one:g}" for one in norms))
        raise BcadvError(
            f"attack.foolbox.method={self.method} belongs to norm {' and '.join(said)}, not to "
            f"norm {norm:g}: give a method of that norm, or evaluation.norm={said[0]}."
        )

    def _built(self, kind: type) -> Any:
        options = self._checked(kind, {"distance", "init_attack", "tensorboard"})
        if "distance" in arguments(kind):
            options["distance"] = library("foolbox.distances", "foolbox").LpDistance(
                self.threat.norm
            )
        if "constraint" in arguments(kind) and self.threat.norm in (2, math.inf):
            options.setdefault("constraint", f"l{self.threat.norm:g}")
        with self._guarded():
            return kind(**options)

    def _run(self, model: Asked, image: Tensor, eps: float) -> Tensor:
        foolbox = library("foolbox", "foolbox")
        seen = foolbox.PyTorchModel(model, bounds=self.bounds, device=image.device)
        label = torch.full((1,), model.goal.label, device=image.device)
        if model.goal.toward:
            criterion = foolbox.criteria.TargetedMisclassification(label)
        else:
            criterion = foolbox.criteria.Misclassification(label)
        radius = {"epsilon": eps} if self._within_ball else {}
        try:
            found: Tensor = self._made().run(seen, image, criterion, **radius)
        except (ValueError, AssertionError) as error:
            # That no adversarial image was found to begin at is no mistake: this one holds out.
            if not (
                str(error).startswith("init_attack failed") or self.method == "PointwiseAttack"
            ):
                raise
            return image
        return found


def _norm_of(attack: Any) -> float | None:
    """The norm that an attack of the library belongs to; ``None``: it works in any."""
    try:
        return float(attack.distance.p)
    except (AttributeError, ValueError):
        return None
