"""All probes of a model, in order, with the budget of a job or of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bcadv.evaluate.probes.answers import are_logits, repeatable
from bcadv.evaluate.probes.attacks import converged, one_step, outdone, unbounded
from bcadv.evaluate.probes.gradient import gradient, saturation
from bcadv.evaluate.probes.subject import Subject, Tried
from bcadv.perturb.attacks.pgd import PGD
from bcadv.perturb.attacks.random_noise import RandomNoise
from bcadv.perturb.attacks.transfer import Transfer
from bcadv.perturb.base import CheckedPerturbation
from bcadv.results.schema import Finding


@dataclass(frozen=True)
class Budget:
    """How much the probes may ask.

    Attributes:
        draws: random changes of an image at each radius.
        steps: of PGD in the checks that are about other attacks.
        restarts: of PGD in the check of convergence.
        again: images that the check of convergence attacks again at one radius.
        thorough: whether convergence is checked at every radius.
    """

    draws: int = 3
    steps: int = 10
    restarts: int = 5
    again: int = 16
    thorough: bool = False


THOROUGH = Budget(draws=100, steps=20, again=64, thorough=True)
"""For one model that somebody wants to know about, without a job."""


def probe(
    subject: Subject,
    tried: Sequence[Tried],
    *,
    budget: Budget | None = None,
    ids: tuple[str, ...] = (),
    black_box: Sequence[CheckedPerturbation] = (),
    surrogate: nn.Module | None = None,
) -> list[Finding]:
    """Asks a model everything.

    Args:
        subject: the model, and images that it has right when clean.
        tried: what white-box attacks left of them, one entry per norm.
        budget: how much may be asked; ``None``: that of a job.
        ids: of all conditions that the model answered under.
        black_box: attacks of the catalog's family of this name, in the norm of the first entry.
        surrogate: another model of the same classes, to borrow a gradient from.

    Returns:
        A finding per check, and norm where it is about attacks. A model without a gradient is
        asked what needs none.
    """
    budget = budget or Budget()
    if not len(subject):
        return [
            subject.finding(
                "gradient", "the gradient reaches the image", None, "no image was right when clean"
            )
        ]
    gpus = [subject.image.device] if subject.image.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        logits = subject.logits()
        followed = tuple(name for of in tried for name in of.everything)
        reached = gradient(subject, followed)
        follows = reached[0].outcome == "ok"
        found = [repeatable(subject, logits, ids), are_logits(subject, logits, followed), *reached]
        for given in tried:
            asked, of = subject.under(given)
            if not len(asked):  # no image is of the kind that these attacks were after
                continue
            if follows:
                found.append(saturation(asked, of, budget.steps))
                found.append(unbounded(asked, of))
                if of.one is None or of.many is None:
                    found.append(one_step(asked, of, budget.steps))
                found.append(
                    converged(
                        asked,
                        of,
                        steps=of.steps,
                        restarts=budget.restarts,
                        most=budget.again,
                        thorough=budget.thorough,
                    )
                )
            found += _without_gradient(asked, of, budget, surrogate)
        for attack in black_box if tried else ():
            found.append(
                outdone(
                    subject,
                    tried[0],
                    attack,
                    name="black_box",
                    title="no black box breaks images that the white box left",
                    words=attack.name,
                )
            )
    return found


def _without_gradient(
    subject: Subject, tried: Tried, budget: Budget, surrogate: nn.Module | None
) -> list[Finding]:
    noise = RandomNoise(tried.threat, **subject.asked, draws=budget.draws, seed=subject.seed)
    found = [
        outdone(
            subject,
            tried,
            noise,
            name="noise",
            title="random noise breaks no image that the attacks left",
            words=f"random noise ({budget.draws} draws)",
        )
    ]
    if surrogate is not None:
        attack = Transfer(
            tried.threat,
            **subject.asked,
            surrogate=surrogate,
            attack=PGD(tried.threat, steps=budget.steps, seed=subject.seed),
        )
        found.append(
            outdone(
                subject,
                tried,
                attack,
                name="transfer",
                title="what breaks another model breaks no image that the attacks left",
                words="an attack on the other model",
            )
        )
    return found
