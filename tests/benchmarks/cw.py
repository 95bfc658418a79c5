"""Carlini and Wagner's attack against three libraries: the distances and the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import foolbox
import torch
import torchattacks
from torch import Tensor, nn

from tests.benchmarks.fgsm import painted
from tests.benchmarks.measure import Options, Row, alternate
from tests.benchmarks.minimal_norm import length, nearest
from tests.benchmarks.pgd import trained

IMAGES, SIDE = 8, 64

STEPS = 200
"""Of the libraries, for each constant; torchattacks knows one, the others try nine."""


def _with_foolbox(model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    attack: Any = foolbox.attacks.L2CarliniWagnerAttack(steps=STEPS)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    found: Tensor = attack(wrapped, image, target, epsilons=None)[1]
    return length(model, image, target, 2.0, found)


def _with_torchattacks(model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    found: Tensor = torchattacks.CW(model, c=1, steps=STEPS)(image, target)
    return length(model, image, target, 2.0, found)


def _with_adv_lib(model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    attack: Any = import_module("adv_lib.attacks").carlini_wagner_l2
    found: Tensor = attack(model, image, target, max_iterations=STEPS)
    return length(model, image, target, 2.0, found)


LIBRARIES: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "foolbox": _with_foolbox,
    "torchattacks": _with_torchattacks,
    "adv-lib": _with_adv_lib,
}
"""Row -> the library's distances."""

OURS: dict[str, dict[str, Any]] = {
    "foolbox": {},
    "torchattacks": {"steps": 12, "search_steps": 1},
    "adv-lib": {},
}
"""Our settings beside each: the defaults, and a single constant beside the library's single one."""


def run(options: Options) -> Iterator[Row]:
    """Median distance and time on the same trained network."""
    given = painted(2 if options.small else IMAGES, SIDE)
    options.tell("training a network" if options.checkpoint is None else "loading a network")
    net = trained(options.checkpoint, True, SIDE).net.to(memory_format=torch.contiguous_format)
    batch = net.requires_grad_(False).eval(), given.image, given.target
    for library, theirs in LIBRARIES.items():
        if not options.wants(library):
            continue
        if library == "adv-lib" and find_spec("adv_lib") is None:
            missing = "adv-lib is not installed: pip install --no-deps adv-lib"
            yield Row(f"C&W, against {library}", "-", missing, "not measured", "<= 0.5x")
            continue
        model, image, target = batch
        ours = partial(nearest, "cw", 2.0, model, image, target, **OURS[library])
        sides = {"ours": ours, library: partial(theirs, *batch)}
        mine, other = alternate(sides, options.rounds, tell=options.tell).values()
        yield Row(
            f"C&W on {len(given.image)} images of {SIDE} x {SIDE}, against {library}",
            str(mine),
            str(other),
            f"{mine.median / other.median:.2f}x the time",
            "<= 0.5x",
        )
        far = [side.result.median().item() for side in (mine, other)]
        yield Row(
            f"median L2 distance, against {library}",
            f"{far[0]:.4f}",
            f"{far[1]:.4f}",
            f"{far[0] / far[1]:.3f}x",
            "<= 1.00x",
        )
