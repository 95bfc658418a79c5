"""How far an evaluation is, all choices of BatchNorm statistics together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from bcadv.callbacks.evaluate import Trial
from bcadv.progress import Meter
from bcadv.results.condition import span


class EvaluationProgress:
    """Shows the batch, the attack and its strengths, and the time left of the evaluation.

    An attack may be at one batch for minutes, so its passes through the network are counted: how
    many a batch takes is known from those before it.

    Args:
        model: tested.
        variants: number of choices of BatchNorm statistics.
        batches: of each.
        meter: shows it.
    """

    def __init__(self, model: nn.Module, variants: int, batches: int, meter: Meter) -> None:
        self.model, self.variants, self.batches, self.meter = model, variants, batches, meter
        self._variant, self._number = "", 0
        self._batch = self._passes = 0
        self._trial = self._standing = ""
        self._measured: list[int] = []

    @contextmanager
    def shown(self) -> Iterator[EvaluationProgress]:
        """Within it, the bar is drawn and passes are counted."""
        with self.meter:
            self.meter.begin(self.variants * self.batches)
            hook = self.model.register_forward_pre_hook(lambda *_: self._passed())
            try:
                yield self
            finally:
                hook.remove()

    @contextmanager
    def estimating(self, variant: str) -> Iterator[None]:
        """The statistics of the next variant are being estimated; that is no batch of a test.

        Args:
            variant: ``as_trained``, ``clean`` or ``noisy``.
        """
        self._variant = variant
        if variant != "as_trained":
            self.meter.show(
                f"evaluation{self._under}",
                f"estimating BatchNorm statistics on {variant} training images",
            )
        with self.meter.pace.stopped():
            yield

    @contextmanager
    def checking(self) -> Iterator[None]:
        """The model itself is being asked what makes its numbers suspect."""
        self.meter.show(f"evaluation{self._under}", "checking the model on a sample of the images")
        with self.meter.pace.stopped():
            yield

    def begun(self, batch: int, trial: Trial | None) -> None:
        """A batch is about to be perturbed by a trial, or answered as it is."""
        self._batch = batch
        self._trial = "" if trial is None else _words(trial)
        self._standing = ""
        self._show()

    def standing(self, images: int, of: int, member: str) -> None:
        """So many images of the batch stand yet, after what this attack has tried."""
        self._standing = f", {member}: {images} of {of} images standing"

    def ended(self, batch: int, *, measured: bool) -> None:
        """A batch has all its answers, from now or from an earlier command."""
        self._batch = batch
        if measured:
            self._measured.append(self._passes)
            self.meter.pace.reach(self._number * self.batches + batch + 1)
        else:
            self.meter.pace.skip(1)
        self._passes, self._trial = 0, ""
        self.meter.show(f"evaluation, {batch + 1} of {self.batches} batches done{self._under}")
        self.meter.tell(step=measured)
        if batch + 1 == self.batches:
            self._number += 1

    def _passed(self) -> None:
        if not self._trial:
            return
        self._passes += 1
        if self._measured:
            usual = sum(self._measured) / len(self._measured)
            # Never a whole batch: the answers are not written yet.
            share = min(0.95, self._passes / max(usual, 1))
            self.meter.pace.reach(self._number * self.batches + self._batch + share)
        self._show()
        self.meter.tell()

    @property
    def _under(self) -> str:
        return f" under BN {self._variant}" if self.variants > 1 else ""

    def _show(self) -> None:
        passes = f", pass {self._passes} through the network" if self._passes else ""
        self.meter.show(
            f"evaluation, batch {self._batch + 1} of {self.batches}{self._under}",
            f"{self._trial}{self._standing}{passes}",
        )


def _words(trial: Trial) -> str:
    """What is tried, with its strengths: ``FGSM 0.25/255 to 16/255 (7 strengths)``."""
    tried = [condition for condition in trial.conditions if condition.strength > 0]
    if len(tried) < 2:
        return trial.conditions[-1].text
    first, last = tried[0], tried[-1]
    return f"{first.label} {span(first, last)} ({len(tried)} strengths)"
