"""Distances that attacks of minimal norm find, against exact ones and beside two libraries."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import foolbox
import torch
from torch import Tensor, nn

from bcadv.perturb import ThreatModel, catalog
from bcadv.perturb.nearest import MinimalNorm
from tests.benchmarks.measure import Options, Row
from tests.perturb.truth import digits, linear

Peer: TypeAlias = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, image, target) -> what a library makes of the images."""

TARGETS = {"deepfool": "<= 1.03"}
NEAR = "<= 1.002"
STEPS = 1000
"""Gradients that a library's attack takes of each image."""


def nearest(
    name: str, norm: float, model: nn.Module, image: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Distances that one of ours finds, float64, shape (n,)."""
    attack = catalog.build(name, ThreatModel(0.0, norm), options=options)
    assert isinstance(attack, MinimalNorm)
    return attack.nearest(model, image, target).distance


def length(model: nn.Module, image: Tensor, target: Tensor, norm: float, found: Tensor) -> Tensor:
    """Distances of what a library made, inf where it is not wrong, float64, shape (n,)."""
    with torch.no_grad():
        lost = model(found).argmax(1) != target
    size = ThreatModel(0.0, norm).size(found - image).double()
    return size.where(lost, size.new_tensor(math.inf))


def _foolbox(norm: float) -> Peer:
    attack: Any = (
        foolbox.attacks.L2DeepFoolAttack() if norm == 2 else foolbox.attacks.LinfDeepFoolAttack()
    )

    def found(model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        clipped: Tensor = attack(wrapped, image, target, epsilons=None)[1]
        return clipped

    return found


def peers(name: str, norm: float) -> Mapping[str, Peer]:
    """The libraries that have an attack, those installed."""
    found = {"foolbox": _foolbox(norm)} if name == "deepfool" else {}
    if importlib.util.find_spec("adv_lib") is None:
        return found
    theirs: Any = importlib.import_module("adv_lib.attacks")
    calls: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
        "deepfool": (theirs.df, {"norm": norm}),
        "superdeepfool": (theirs.sdf, {}),
        "ddn": (theirs.ddn, {"steps": STEPS, "levels": None}),
        "fmn": (theirs.fmn, {"norm": norm, "steps": STEPS}),
        "cw": (theirs.carlini_wagner_l2, {"max_iterations": STEPS}),
    }
    if name not in calls:
        return found
    attack, options = calls[name]
    return found | {"adv-lib": lambda model, image, target: attack(model, image, target, **options)}


def _ratios(
    what: str, norm: float, model: nn.Module, image: Tensor, target: Tensor, exact: Tensor
) -> Iterator[Row]:
    for name, row in catalog.ATTACKS.items():
        if row.family != "minimal norm" or f"{norm:g}" not in row.norms:
            continue
        ours = (nearest(name, norm, model, image, target) / exact).median().item()
        theirs = {
            library: (length(model, image, target, norm, made(model, image, target)) / exact)
            .median()
            .item()
            for library, made in peers(name, norm).items()
        }
        yield Row(
            f"{row.label_of('2' if norm == 2 else 'inf', row.settings({}))}, median found / exact, "
            f"{what}",
            f"{ours:.4f}",
            ", ".join(f"{library} {ratio:.4f}" for library, ratio in theirs.items()) or "-",
            f"{ours:.4f}",
            TARGETS.get(name, NEAR),
        )


def run(options: Options) -> Iterator[Row]:
    """Median ratio of what was found to what there is."""
    if options.wants("linear"):
        options.tell("attacking a linear model")
        case = linear.case(3, n=8 if options.small else 64, shape=(3, 8, 8), dtype=torch.float32)
        exact = linear.distance(case.model, case.image, case.target, 2.0)
        yield from _ratios("linear model", 2.0, case.model, case.image, case.target, exact)
    if options.wants("digits"):
        for net in ("two",) if options.small else digits.NETS:
            options.tell(f"attacking network {net} of the digits")
            given = digits.load(net, torch.float32)
            yield from _ratios(
                f"digits, {net}", math.inf, given.model, given.image, given.target, given.exact
            )
