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
    tests = ", ".join(_tested(series) for series in plan_of(config).series)
    return (
        f"{config.experiment}: train {config.model.architecture} for {epochs} "
        f"epoch{'' if epochs == 1 else 's'}{under}, seed {config.seed}; then test it clean and "
        f"under {tests}. Images: {images}."
    )


def _tested(series: Series) -> str:
    strongest = series.conditions[-1]
    n = len(series.conditions)
    return f"{strongest.label} up to {strongest.amount}" if n > 1 else strongest.text
