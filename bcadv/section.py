"""What every part of the configuration shares: how a value is read, and what none may be."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from bcadv.text import is_utf8


def as_list(value: object) -> object:
    """One value may stand for a list of one, so that a sweep can set it."""
    return value if isinstance(value, (list, tuple)) else [value]


def as_list_or_none(value: object) -> object:
    """`as_list`, where there may be nothing."""
    return None if value is None else as_list(value)


def number_as_text(value: object) -> object:
    """YAML and the command line read `2` as a number; the norm is a name."""
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(number_as_text)]
"""Of a class or a folder; those called 0 and 1 arrive as numbers."""
NormName = Annotated[Literal["inf", "2", "1", "0"], BeforeValidator(number_as_text)]
Acceptance = Annotated[str, Field(pattern=r"^(float|8bit|jpeg\((100|[1-9]?\d)\))$")]
Lengths = tuple[Annotated[float, Field(ge=0, le=10_000)], ...]
LengthsOrNone = Annotated[
    Annotated[Lengths, Field(min_length=1)] | None, BeforeValidator(as_list_or_none)
]
Counts = tuple[Annotated[int, Field(ge=0, le=100_000_000)], ...]
CountsOrNone = Annotated[
    Annotated[Counts, Field(min_length=1)] | None, BeforeValidator(as_list_or_none)
]
GreyLevels = tuple[Annotated[float, Field(ge=0, le=255)], ...]
Strengths = Annotated[GreyLevels, BeforeValidator(as_list), Field(min_length=1)]


def kinds_of(annotation: Any) -> set[Any]:
    """The types that an annotation is made of."""
    inner = {kind for part in get_args(annotation) for kind in kinds_of(part)}
    return inner or {annotation}


def _shortest(value: Any) -> Any:
    """Floats as the shortest decimal that lies within 1e-12 of them, in whatever holds them.

    So a sum in binary, 0.30000000000000004, is the 0.3 that a person means and writes.
    """
    if isinstance(value, tuple):
        return tuple(_shortest(one) for one in value)
    return float(f"{value:.12g}") if isinstance(value, float) else value


class Section(BaseModel):
    """A part of the configuration; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _means_something(cls, value: Any, info: ValidationInfo) -> Any:
        """What the types alone would let pass: nothing for a text, a truth for a number."""
        if isinstance(value, str) and not value.strip():
            raise PydanticCustomError("empty", "it is empty")
        if isinstance(value, str) and ("\x00" in value or not is_utf8(value)):
            raise PydanticCustomError(
                "text", "it holds a null character or bytes that are not UTF-8"
            )
        inside = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(one, bool) for one in inside):
            kinds = kinds_of(cls.model_fields[str(info.field_name)].annotation)
            if bool not in kinds and kinds & {int, float}:
                raise PydanticCustomError("number", "a truth value is no number")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        return _shortest(value)
