"""Whether a gradient reaches the image, and whether saturation takes it away."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bcadv.evaluate.probes.subject import ONE, Subject, Tried
from bcadv.perturb.attacks.pgd import PGD
from bcadv.perturb.base import evaluating
from bcadv.results.schema import Finding
from bcadv.task import Task
from bcadv.text import first_line

LEAD = 15.0
"""Lead of the true class in logits from which cross entropy's gradient in float32 is mostly
rounding; measured: beyond it a quarter of its signs is wrong."""

LOST = 103.0
"""Lead from which that gradient is exactly 0, and which no training reaches by itself."""

TITLE = "the gradient reaches the image"


@dataclass(frozen=True)
class Reach:
    """How far the gradient comes.

    Attributes:
        why: it does not come back at all, as words; empty: it does.
        zero: which images' gradient is 0 in every pixel, bool, shape (n,).
        broken: which images' gradient is not finite, bool, shape (n,).
    """

    why: str
    zero: Tensor
    broken: Tensor


def reach(model: nn.Module, image: Tensor, target: Tensor, task: Task) -> Reach:
    """Takes the gradient of the log odds at some images.

    A model that raises without a gradient too has another fault than a hidden gradient: what it
    raises is passed on.

    Args:
        model: images -> logits.
        image: shape (n, channels, height, width).
        target: their classes, shape (n,).
        task: what the outputs mean.
    """
    none = torch.zeros(len(image), dtype=torch.bool)
    with torch.inference_mode(False), evaluating(model):
        with torch.no_grad():
            model(image.clone())
        point = image.detach().clone().requires_grad_()
        try:
            with torch.enable_grad():
                logits = task.check(model(point), target, "checks")
                if not logits.requires_grad:
                    return Reach("the logits carry no gradient back to it", none, none)
                losses = task.log_odds(logits, target)
                [gradient] = torch.autograd.grad(losses.sum(), point, allow_unused=True)
        except Exception as error:  # whatever a layer that is not made for it may raise
            said = first_line(str(error))[:120] or type(error).__name__
            return Reach(f"the model raises when a gradient is taken ({said})", none, none)
        if gradient is None:
            return Reach("the logits do not depend on it through any gradient", none, none)
        flat = gradient.flatten(1)
        finite = flat.isfinite().all(1)
        return Reach("", ((flat == 0).all(1)).cpu(), (~finite).cpu())


def unreached(why: str, variant: str | None) -> Finding:
    """The finding on a model without any gradient; attacks that need one were left out.

    Args:
        why: as `Reach.why`.
        variant: BatchNorm statistics; ``None``: all.
    """
    return Finding(
        id="gradient",
        title=TITLE,
        outcome="failed",
        evidence=f"{why}: attacks that follow a gradient could not be tried",
        batchnorm=variant,
        value=1.0,
        threshold=0.0,
    )


def gradient(subject: Subject, ids: tuple[str, ...]) -> list[Finding]:
    """Whether the gradient comes back to every image, and is not 0 there.

    Args:
        subject: the model and images.
        ids: of all conditions that followed a gradient.

    Returns:
        One finding, which failed, of a model without a gradient, else two.
    """
    zero = broken = 0
    for part in subject.parts():
        found = reach(part.model, part.image, part.target, part.task)
        if found.why:
            return [unreached(found.why, subject.variant).model_copy(update={"taints": ids})]
        zero, broken = zero + int(found.zero.sum()), broken + int(found.broken.sum())
    n = len(subject)
    return [
        subject.finding(
            "gradient",
            TITLE,
            broken > 0,
            f"it is not finite at {broken} of {n} images" if broken else f"at all {n} images",
            taints=ids,
            value=broken / n,
            threshold=0.0,
        ),
        subject.finding(
            "zero_gradient",
            "no image has a gradient of zero",
            zero > 0,
            f"it is exactly 0 at {zero} of {n} images",
            taints=ids,
            value=zero / n,
            threshold=0.0,
        ),
    ]


class Rescaled(nn.Module):
    """A model whose logits are divided, so that the median lead is 1.

    Args:
        model: images -> logits.
        by: what they are divided by.
    """

    def __init__(self, model: nn.Module, by: float) -> None:
        super().__init__()
        self.model, self.by = model, by

    def forward(self, image: Tensor) -> Tensor:
        """Images -> logits."""
        logits: Tensor = self.model(image)
        return logits / self.by


def saturation(subject: Subject, tried: Tried, steps: int) -> Finding:
    """Whether logits so large that softmax cannot tell them from certainty hide the gradient.

    The attacks here follow the log odds, which do not saturate; whether that helps is tried: once
    more, with logits divided by their median lead, on what the attacks left.

    Args:
        subject: the model and images.
        tried: what the attacks left.
        steps: of the second attack.
    """
    lead = -subject.task.margin(subject.logits(), subject.target)
    share, lost = float((lead > LEAD).double().mean()), float((lead > LOST).double().mean())
    evidence = f"{share:.0%} of {len(subject)} images lead by more than {LEAD:g}"
    more, number = 0, tried.telling()
    if share > 0 and number is not None:
        rows = tried.left[number] & (lead > LEAD).cpu()
        again = subject.only(rows)
        by = max(1.0, float(lead.median()))
        sees = Rescaled(subject.model, by).train(subject.model.training)
        attack = PGD(
            tried.threat.with_eps(tried.sizes[number]),
            steps=steps,
            seed=subject.seed,
            **subject.asked,
        )
        rescaled = replace(again, model=sees)
        more = int(rescaled.broken(attack).sum()) if len(again) else 0
        evidence += (
            f"; with logits divided by {by:.3g} an attack breaks {more} of {len(again)} that stood "
            f"at {tried.texts[number]}"
        )
    if lost > 0.5:
        evidence += (
            f"; {lost:.0%} by more than {LOST:g}, where cross entropy has no gradient in float32"
        )
    return subject.finding(
        "saturation",
        "no image's gradient is lost in softmax",
        more > ONE or lost > 0.5,
        evidence,
        taints=tried.everything,
        value=share,
    )
