"""The catalog of attacks: a row each, read by the command line, the plan and the report.

Imports no torch. A new attack is its class in `bcadv.perturb.attacks` and a row in
`bcadv.perturb.rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from bcadv.perturb.row import Attack
from bcadv.perturb.rows import black_box, foreign, gradient, minimal_norm, transfer, worst

if TYPE_CHECKING:
    from torch import nn

    from bcadv.perturb.base import CheckedPerturbation
    from bcadv.perturb.threat import ThreatModel
    from bcadv.task import Task

ATTACKS: Mapping[str, Attack] = {
    row.name: row
    for rows in (gradient, minimal_norm, black_box, transfer, worst, foreign)
    for row in rows.ROWS
}
"""Every attack by its name."""


def build(
    name: str,
    threat: ThreatModel,
    *,
    seed: int = 0,
    targeted: bool = False,
    aim: Literal["any", "hide", "invent"] = "any",
    task: Task | None = None,
    options: Mapping[str, Any] | None = None,
    model: nn.Module | None = None,
) -> CheckedPerturbation:
    """Makes an attack of the catalog.

    Args:
        name: of its row.
        threat: how far an image may be moved; its eps is the strength.
        seed: of what is random about it.
        targeted: whether the target is the class that the adversary wants.
        aim: of the adversary where it is not targeted.
        task: what the model's outputs mean; ``None``: one of some classes.
        options: its settings; what is missing has its default.
        model: the other model that a row with a `model_option` needs; no other row takes one.

    Raises:
        ValueError: an option that cannot be used.
        BcadvError: a row that needs a model has none.
    """
    row = ATTACKS[name]
    module, _, attack = row.place.partition(":")
    kind = getattr(import_module(module), attack)
    settings: dict[str, Any] = dict(row.settings(options or {}))
    if row.model_option is not None:
        settings[row.model_option] = model
    if "seed" in kind.__dataclass_fields__:
        settings["seed"] = seed
    if task is not None:
        settings["task"] = task
    made: CheckedPerturbation = kind(threat, targeted=targeted, aim=aim, **settings)
    return made
