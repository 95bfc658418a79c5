"""The catalog of training objectives: a row each, read by the configuration and the training.

Imports no torch. A new objective is its class in `bcadv.defend` and a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bcadv.perturb.row import Option, Value, checked

if TYPE_CHECKING:
    from bcadv.task import LossOf


@dataclass(frozen=True)
class Objective:
    """A row of the catalog.

    Attributes:
        name: in files and on the command line.
        words: what it does, in one line.
        place: of its class, ``module:class``, whose instances are a `bcadv.task.LossOf`; ``None``
            for the task's own loss.
        label: what people call a model that was trained with it; may name options, as in
            ``TRADES β={beta}``. ``None``: it is no defence.
        options: its settings, on the command line ``objective_options.<objective>.<name>``.
    """

    name: str
    words: str
    place: str | None
    label: str | None
    options: tuple[Option, ...] = ()

    def settings(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """Every option with its value: the one given, or the default.

        Raises:
            ValueError: an unknown option, or a value that cannot be used.
        """
        return checked(self.options, given, f"objective_options.{self.name}", self.name)


_ROWS = (
    Objective(
        name="cross_entropy",
        words="Cross entropy of the images as the training sees them.",
        place=None,
        label=None,
    ),
)

OBJECTIVES: dict[str, Objective] = {row.name: row for row in _ROWS}
"""Every objective by its name."""


def build(name: str, given: Mapping[str, Any]) -> LossOf | None:
    """Makes an objective of the catalog; ``None`` is the task's own loss.

    Raises:
        ValueError: an option that cannot be used.
    """
    row = OBJECTIVES[name]
    if row.place is None:
        return None
    module, _, kind = row.place.partition(":")
    made: LossOf = getattr(import_module(module), kind)(**row.settings(given))
    return made
