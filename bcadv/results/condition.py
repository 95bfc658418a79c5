"""Under what a model is measured: clean, or perturbed in one way at one strength."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from bcadv.results.base import Model

Kind: TypeAlias = Literal["clean", "attack", "noise", "corruption", "certified"]
Norm: TypeAlias = Literal["inf", "2", "1", "0"]
Unit: TypeAlias = Literal["grey level", "pixel range", "value", "severity"]
"""``grey level``: 1/255 of the pixel range. ``pixel range``: pixels in [0, 1]. ``value``: number of
values, each one channel of one pixel, that change at all. ``severity``: of a corruption, a whole
number from 1 to 5 that says how bad it is and measures nothing."""
Goal: TypeAlias = Literal["untargeted", "hide", "invent", "targeted"]
Access: TypeAlias = Literal["white box", "black box, scores", "black box, decisions", "transfer"]
Acceptance: TypeAlias = Annotated[str, Field(pattern=r"^(float|8bit|jpeg\((100|[1-9]?\d)\))$")]
Plain: TypeAlias = bool | int | float | str | None
Setting: TypeAlias = Plain | Mapping[str, Plain]


def _joined(parts: tuple[str, str, str], strength: str = "") -> str:
    name, norm, rest = parts
    return "_".join(part for part in (name, norm, strength, rest) if part)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Condition(Model):
    """Under what a model was measured: clean, or perturbed in one way at one strength.

    Attributes:
        kind: of perturbation.
        name: of the row in the catalog of attacks or of corruptions, or of the noise; ``clean`` for
            none.
        norm: that the strength is measured in; ``None`` for what has none.
        strength: how much, in `unit`; 0 for clean.
        unit: of the strength; ``None`` for clean.
        goal: of an attack: any wrong answer, a disease hidden or invented, or a chosen class.
        wanted: name of the chosen class.
        acceptance: what an adversarial image has to survive; ``float``: nothing, it stays as it is;
            ``8bit``: that its pixels are rounded to 256 grey levels; ``jpeg(90)``: that it is saved
            as a JPEG of this quality.
        settings: other options of the perturbation.
        label: what people call it without its strength, e.g. ``PGD, 40 steps, L2``.
        access: of an attack, what it knows of the model; ``None`` in results of earlier versions,
            which do not say it.
        how: of an attack, what it knows and does, as words for a sentence; of a corruption, who
            defined it.
        steps: of an attack, along how many gradients in a row it goes; ``None`` where it has none.
        id: names the condition in every file, e.g. ``pgd_linf_4_3fa2b1``; made from the rest.
    """

    kind: Kind
    name: str
    norm: Norm | None = None
    strength: float = Field(default=0.0, ge=0)
    unit: Unit | None = None
    goal: Goal | None = None
    wanted: str | None = None
    acceptance: Acceptance = "float"
    settings: Mapping[str, Setting] = Field(default_factory=dict)
    label: str
    access: Access | None = None
    how: str = ""
    steps: int | None = Field(default=None, ge=1)
    id: str = ""

    @model_validator(mode="after")
    def _named(self) -> Condition:
        made = _joined(self._series, "" if self.kind == "clean" else f"{self.strength:.9g}")
        if self.id and self.id != made:
            raise ValueError(f"the condition {self.id} describes {made}")
        self.__dict__["id"] = made
        if (self.kind == "clean") != (self.unit is None):
            raise ValueError(f"the condition {made} needs a unit, and clean images have none")
        if (self.kind == "corruption") != (self.unit == "severity"):
            raise ValueError(f"{made}: a corruption has a severity, and nothing else has one")
        return self

    @property
    def _series(self) -> tuple[str, str, str]:
        norm = "" if self.norm is None else f"l{self.norm}"
        rest = {"settings": dict(self.settings), "goal": self.goal, "accept": self.acceptance}
        if self.wanted is not None:
            rest["wanted"] = self.wanted
        plain = not self.settings and self.is_untargeted and self.acceptance == "float"
        return self.name, norm, "" if plain else _digest(rest)[:6]

    @property
    def is_untargeted(self) -> bool:
        """Whether an attack takes any wrong answer, so that its accuracy is the worst there is."""
        return self.goal in (None, "untargeted")

    @cached_property
    def series(self) -> str:
        """Names all strengths of the same perturbation together: the curve they lie on."""
        return _joined(self._series)

    @property
    def clean(self) -> bool:
        """Whether nothing was done to the images."""
        return self.kind == "clean"

    @property
    def black_box(self) -> bool:
        """Whether an attack asks the model for answers alone."""
        return self.access in ("black box, scores", "black box, decisions")

    @property
    def follows_gradient(self) -> bool:
        """Whether an attack does; one of which it is not known is taken to: more is suspected."""
        return self.kind == "attack" and self.access in (None, "white box")

    @property
    def size(self) -> float:
        """The strength with pixels in [0, 1]; of a corruption its severity."""
        return self.strength / 255 if self.unit == "grey level" else self.strength

    @property
    def symbol(self) -> str:
        """Greek letter of the strength; a severity has none."""
        if self.unit == "severity":
            return "severity"
        return "σ" if self.kind == "noise" else "ε"

    @property
    def amount(self) -> str:
        """The strength with its unit: ``4/255``, ``0.5``, ``12 values``, or ``severity 3``."""
        if self.unit == "severity":
            return f"severity {self.strength:g}"
        of = {"grey level": "/255", "value": " value" if self.strength == 1 else " values"}
        return f"{self.strength:g}{of.get(str(self.unit), '')}"

    @property
    def equation(self) -> str:
        """The strength by its letter: ``ε = 4/255``, or ``severity 3``."""
        return self.amount if self.unit == "severity" else f"{self.symbol} = {self.amount}"

    @property
    def text(self) -> str:
        """What people call it, strength included."""
        return self.label if self.clean else f"{self.label} {self.amount}"

    @property
    def axis(self) -> str:
        """Label of an axis of strengths."""
        if self.unit == "severity":
            return "severity (0: clean)"
        if self.unit == "grey level":
            return f"{self.symbol} in grey levels of 255 (0: clean)"
        if self.unit == "value":
            return f"{self.symbol}, number of values that change (0: clean)"
        of = {"2": "Euclidean length of ", "1": "sum of changes of "}.get(str(self.norm), "")
        return f"{self.symbol}, {of}pixels in [0, 1] (0: clean)"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self.id == other.id


CLEAN = Condition(kind="clean", name="clean", label="clean")
REPEATED = Condition(kind="clean", name="repeated", label="clean, once more")
"""The clean images answered a second time: how a model with random answers is found out."""


def ordered(conditions: Sequence[Condition] | set[Condition]) -> list[Condition]:
    """Clean first, then kind by kind and series by series, each by rising strength."""
    kinds = ("clean", "attack", "noise", "corruption", "certified")
    return sorted(conditions, key=lambda c: (kinds.index(c.kind), c.series, c.strength))


def span(first: Condition, last: Condition) -> str:
    """Strengths from one to another: ``1/255 to 8/255``, ``severity 1 to 5``."""
    return f"{first.amount} to {last.amount.removeprefix('severity ')}"


@dataclass(frozen=True)
class Series:
    """One way of perturbing at several strengths.

    Attributes:
        conditions: by rising strength; alike in all but that.
    """

    conditions: tuple[Condition, ...]

    @property
    def first(self) -> Condition:
        """The weakest; all of them share its label, norm, unit and settings."""
        return self.conditions[0]

    @property
    def name(self) -> str:
        """In files, see `Condition.series`."""
        return self.first.series

    @property
    def label(self) -> str:
        """What people call it, e.g. ``FGSM``."""
        return self.first.label

    @property
    def is_attack(self) -> bool:
        """Whether it means harm; neither noise nor a corruption does."""
        return self.first.kind == "attack"

    @property
    def is_corruption(self) -> bool:
        """Whether its strengths are severities, which compare with those of no other series."""
        return self.first.kind == "corruption"

    @property
    def sizes(self) -> tuple[float, ...]:
        """The strengths with pixels in [0, 1]; of a corruption its severities."""
        return tuple(condition.size for condition in self.conditions)
