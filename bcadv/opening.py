"""What a job is about to do, said before anything heavy is loaded."""

from __future__ import annotations

from bcadv.config import Config
from bcadv.data.catalog import SOURCES
from bcadv.plan import plan_of
from bcadv.results.condition import Series


def opening(config: Config) -> str:
    """A job in a sentence: network, training, images, and what the model is tested under.

    Args:
        config: of the job.
    """
    epochs = config.trainer.max_epochs
    images = SOURCES[config.data.source].words
    under = f" under noise σ={config.sigma:g}" if config.trains_on_noise else ""
    plan = plan_of(config)
    tests = ", ".join(_tested(series) for series in plan.series if not series.is_corruption)
    if plan.corruptions:
        count, worst = len(plan.corruptions), plan.corruptions[0].conditions[-1].amount
        tests += f", and {count} corruption{'' if count == 1 else 's'} up to {worst}"
    return (
        f"{config.experiment}: train {config.model.architecture} for {epochs} "
        f"epoch{'' if epochs == 1 else 's'}{under}, seed {config.seed}; then test it clean and "
        f"under {tests}. Images: {images}."
    )


def _tested(series: Series) -> str:
    strongest = series.conditions[-1]
    n = len(series.conditions)
    return f"{strongest.label} up to {strongest.amount}" if n > 1 else strongest.text
