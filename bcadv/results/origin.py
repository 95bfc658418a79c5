"""Where a job comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The command that asked for a job.

    Attributes:
        overrides: options that make this one job, as on the command line.
        key: of its settings, see `bcadv.keys.result_key`.
        sweep: name of the sweep's folder; ``None`` for a job by itself.
        job: number in the sweep.
    """

    overrides: tuple[str, ...] = ()
    key: str | None = None
    sweep: str | None = None
    job: int | None = None
