"""What all parts of ``results.json`` have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A part of the file; unknown keys are damage."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
