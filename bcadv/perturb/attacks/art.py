"""Any evasion attack of the Adversarial Robustness Toolbox (ART)."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.foreign import Asked, ForeignAttack, Goal, arguments, library, steady

_UNFIT = re.compile(r"Patch|TensorFlow|^Feature|OverTheAir|LowProFool|GeoDA")
"""Print patches, need another framework or another image, are made for films or for tables, or
write files into the folder that they are run in."""

_NORMS = {
    "BasicIterativeMethod": "inf",
    "BoundaryAttack": "2",
    "CarliniL0Method": "0",
    "CarliniL2Method": "2",
    "CarliniLInfMethod": "inf",
    "DeepFool": "2",
    "ElasticNet": "1",
    "NewtonFool": "2",
    "PixelAttack": "0",
    "SaliencyMapMethod": "0",
    "SignOPTAttack": "2",
    "SimBA": "2",
    "ThresholdAttack": "inf",
    "VirtualAdversarialMethod": "2",
    "ZooAttack": "2",
}
"""The norm of methods that have no such argument; what is not named here works in none."""

_OTHER_RADIUS = {"Wasserstein"}
"""Their eps is measured in another way than by a norm."""

_NEVER_TOWARD = {"SignOPTAttack"}
"""Would need an image of the class to begin at."""

_INNER = {
    "UniversalPerturbation": {"verbose": False},
    "TargetedUniversalPerturbation": {"targeted": True},
}
"""What their own attack has to be told, where it is the one that they come with."""

_OWN = {"estimator", "classifier", "norm", "eps", "targeted", "verbose", "summary_writer"}
"""Arguments that are no options."""

_TRIED = 0.1
"""A radius to make an attack with that is not run."""


@dataclass(frozen=True)
class ART(ForeignAttack):
    """An evasion attack of ART, see `bcadv.perturb.foreign.ForeignAttack`.

    Nicolae et al., "Adversarial Robustness Toolbox v1.0.0", 2018. ``eps_step``, where a method has
    it, is by default the same share of the radius as in ART's defaults.
    """

    method: str = field(default="ProjectedGradientDescent", kw_only=True)

    always_toward: ClassVar[frozenset[str]] = frozenset(
        {"SaliencyMapMethod", "TargetedUniversalPerturbation"}
    )
    asks_probabilities: ClassVar[frozenset[str]] = frozenset(
        {"NewtonFool", "SimBA", "VirtualAdversarialMethod"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        norm = f"{self.threat.norm:g}"
        kind = self._kind()
        own = _NORMS.get(self.method, norm)
        if own != norm and "norm" not in arguments(kind):
            raise BcadvError(
                f"attack.art.method={self.method} belongs to norm {own}, not to norm {norm}: give "
                f"a method of that norm, or evaluation.norm={own}."
            )
        self._try()

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "art"

    @property
    def _within_ball(self) -> bool:
        return "eps" in arguments(self._kind()) and self.method not in _OTHER_RADIUS

    @property
    def _takes_target(self) -> bool:
        able = "targeted" in arguments(self._kind()) or self.method in self.always_toward
        return able and self.method not in _NEVER_TOWARD

    def _try(self) -> None:
        """Makes the attack and lets it go: what it refuses is known before a model is trained."""
        with self._guarded(), steady(0, torch.device("cpu")):
            image, goal = torch.zeros(1, 3, 32, 32), Goal(0, self.targeted, 3)
            self._made(_Level(), goal, image, _TRIED)

    def _kind(self) -> Any:
        every = vars(library("art.attacks.evasion", "art"))
        kinds = {name: kind for name, kind in every.items() if inspect.isclass(kind)}
        return self._known(self.method, {n: k for n, k in kinds.items() if _fit(n, k)}, kinds)

    def _made(self, model: nn.Module, goal: Goal, image: Tensor, eps: float) -> Any:
        """The library's attack on a model of such images."""
        kind = self._kind()
        own = _OWN - ({"eps", "norm"} if self.method in _OTHER_RADIUS else set())
        options, taken = self._checked(kind, own), arguments(kind)
        norm = self.threat.norm
        given: dict[str, Any] = {"targeted": goal.toward, "verbose": False}
        if "norm" in own:
            given["norm"] = "inf" if norm == math.inf else int(norm)
        if "attacker" not in options:
            given["attacker_params"] = _INNER.get(self.method)
        if self._within_ball:
            defaults = inspect.signature(kind.__init__).parameters
            given["eps"] = eps
            if "eps_step" in taken:
                given["eps_step"] = defaults["eps_step"].default / defaults["eps"].default * eps
        estimator = library("art.estimators.classification", "art").PyTorchClassifier(
            model=model,
            loss=self.task.loss_module(),
            input_shape=tuple(image.shape[1:]),
            nb_classes=goal.classes,
            clip_values=self.bounds,
            device_type="gpu" if image.is_cuda else "cpu",
        )
        named = {name: value for name, value in given.items() if name in taken}
        return kind(estimator, **(named | options))

    def _run(self, model: Asked, image: Tensor, eps: float) -> Tensor:
        label = np.eye(model.goal.classes, dtype=np.float32)[[model.goal.label]]
        made = self._made(model, model.goal, image, eps)
        return torch.as_tensor(made.generate(x=image.cpu().numpy().astype(np.float32), y=label))


class _Level(nn.Module):
    """A model for which three classes are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(3), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, :1] * self.level


def _fit(name: str, kind: Any) -> bool:
    """Whether a class is an attack on an image that needs no more than a classifier."""
    needs = getattr(kind, "_estimator_requirements", ())
    if not (issubclass(kind, library("art.attacks.attack", "art").EvasionAttack) and needs):
        return False
    own = library("art.estimators.classification", "art").PyTorchClassifier
    able = all(issubclass(own, need) for need in needs) and not _UNFIT.search(name)
    defaults = inspect.signature(kind.__init__).parameters
    return able and all(
        defaults[argument].default is not inspect.Parameter.empty
        for argument in arguments(kind)[1:]
    )
