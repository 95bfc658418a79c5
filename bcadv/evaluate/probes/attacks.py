"""Attacks that a sound result leaves nothing to: on a sample, of what other attacks left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.evaluate.probes.subject import ONE, Subject, Tried
from bcadv.perturb.attacks.fgsm import FGSM
from bcadv.perturb.attacks.pgd import PGD
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.loop import ImageLoss
from bcadv.perturb.search import Search
from bcadv.results.schema import Finding

UNBOUNDED_STEPS = 20
LAST = 10
MOVES = 0.05
"""Share of its gain that a loss may still make in the last ten steps (Pintor et al. 2022)."""


def unbounded(subject: Subject, tried: Tried) -> Finding:
    """Whether an attack that may change the whole image breaks every one of them."""
    threat = tried.threat.with_eps(tried.threat.largest(subject.image))
    attack = PGD(threat, **subject.asked, steps=UNBOUNDED_STEPS, seed=subject.seed)
    left = int((~subject.broken(attack)).sum())
    return subject.finding(
        "unbounded",
        "an attack without a bound breaks every image",
        left > 0,
        f"PGD-{UNBOUNDED_STEPS} over the whole range of the pixels leaves {left} of "
        f"{len(subject)} images right",
        taints=tried.everything,
        value=float(left),
        threshold=0.0,
    )


def one_step(subject: Subject, tried: Tried, steps: int) -> Finding:
    """Whether many steps break what one step breaks.

    What was not among the attacks is tried here: PGD on what one step broke, or one step on what
    many left. Where both were among them, the table of all images says it.

    Args:
        subject: the model and images.
        tried: what the attacks left.
        steps: of PGD.
    """
    title = "many steps break every image that one step breaks"
    number = _half(tried.left if tried.one is None else tried.one)
    threat = tried.threat.with_eps(tried.sizes[number])
    missed = 0
    if tried.many is None:
        among = (
            torch.ones(len(subject), dtype=torch.bool) if tried.one is None else ~tried.one[number]
        )
        part = subject.only(among)
        attack = PGD(threat, **subject.asked, steps=steps, seed=subject.seed)
        missed = int((~part.broken(attack)).sum()) if len(part) else 0
        said = f"PGD-{steps} leaves {missed} of {len(part)} that it broke"
    else:
        part = subject.only(tried.many[number])
        missed = int(part.broken(FGSM(threat, **subject.asked)).sum()) if len(part) else 0
        said = f"one step breaks {missed} of {len(part)} that many steps left"
    return subject.finding(
        "one_step",
        title,
        missed > ONE,
        f"at {tried.texts[number]} {said}",
        taints=tried.ids[number],
        value=float(missed),
        threshold=float(ONE),
    )


def _half(left: Tensor) -> int:
    """Number of the radius that leaves closest to half of the images."""
    return int((left.double().mean(1) - 0.5).abs().argmin())


def outdone(
    subject: Subject,
    tried: Tried,
    attack: CheckedPerturbation,
    *,
    name: str,
    title: str,
    words: str,
) -> Finding:
    """Whether what knows less of the model breaks images that the white box left.

    Args:
        subject: the model and images.
        tried: what the attacks left.
        attack: knows no gradient of the model; at whatever radius.
        name: id of the finding.
        title: what ought to hold.
        words: what people call the attack.
    """
    found: list[tuple[int, int, int]] = []
    for number, size in enumerate(tried.sizes):
        part = subject.only(tried.left[number])
        broken = int(part.broken(attack.with_strength(size)).sum()) if len(part) else 0
        found.append((broken, len(part), number))
    broken, among, worst = max(found)
    tainted = tuple(n for b, _, k in found if b > ONE for n in tried.ids[k])
    any_left = any(of for _, of, _ in found)
    said = (
        f"{words} breaks {broken} of {among} images that stood at {tried.texts[worst]}"
        if broken
        else f"{words} breaks none of those that stood, at any of {len(found)} strengths"
        if any_left
        else "no image stood at any strength"
    )
    return subject.finding(
        name, title, broken > ONE, said, taints=tainted, value=float(broken), threshold=float(ONE)
    )


@dataclass(frozen=True)
class _Traced(PGD):
    """PGD that writes down the lead of each image at each step."""

    trace: list[tuple[Tensor, Tensor]] = field(default_factory=list, kw_only=True, compare=False)

    def gradient_at(
        self, search: Search, rows: Tensor, point: Tensor, objective: ImageLoss | None = None
    ) -> tuple[Tensor, Tensor]:
        gradient, logits = super().gradient_at(search, rows, point, objective)
        self.trace.append((rows, self.lead(logits, search.target[rows])))
        return gradient, logits


def converged(
    subject: Subject, tried: Tried, *, steps: int, restarts: int, most: int, thorough: bool
) -> Finding:
    """Whether twice the steps, or several restarts, break no more.

    Args:
        subject: the model and images.
        tried: what the attacks left.
        steps: of the attacks that were tried.
        restarts: of the second attack.
        most: images that are attacked again at one radius.
        thorough: at every radius, not only where most is to be learnt.
    """
    title = "twice the steps, or more restarts, break no more images"
    if steps < 2:
        return subject.finding(
            "converged", title, None, "no attack of more than one step was tried"
        )
    number = tried.telling()
    if number is None:
        return subject.finding("converged", title, False, "no image stood at any strength")
    numbers = [k for k in range(len(tried.sizes)) if bool(tried.left[k].any())]
    worst = (-1, 0, 0.0, number)
    tainted: list[str] = []
    for k in numbers if thorough else [number]:
        rows = tried.left[k].nonzero()[:, 0][:most]
        found = _again(subject.only(rows), tried, k, steps, restarts)
        worst = max(worst, (found[0], len(rows), found[1], k))
        if found[0] > ONE or found[1] > MOVES:
            tainted += tried.ids[k]
    more, among, moving, at = worst
    return subject.finding(
        "converged",
        title,
        bool(tainted),
        f"of {among} that stood at {tried.texts[at]}, PGD-{2 * steps} and PGD-{steps} with "
        f"{restarts} restarts break {more}; in the last {LAST} steps losses make "
        f"{moving:.1%} of their gain (median)",
        taints=tuple(tainted),
        value=float(more),
        threshold=float(ONE),
    )


def _again(
    subject: Subject, tried: Tried, number: int, steps: int, restarts: int
) -> tuple[int, float]:
    """How many images the longer attacks break; how much the losses move at the end."""
    threat = tried.threat.with_eps(tried.sizes[number])
    longer = _Traced(threat, **subject.asked, steps=2 * steps, seed=subject.seed)
    moving: list[float] = []
    broken = []
    for part in subject.parts():
        longer.trace.clear()
        broken.append(part.broken(longer))
        moving += _moving(longer.trace, len(part))
    fallen = torch.cat(broken)
    rest = subject.only(~fallen)
    again = PGD(threat, **subject.asked, steps=steps, restarts=restarts, seed=subject.seed + 1)
    more = int(fallen.sum()) + (int(rest.broken(again).sum()) if len(rest) else 0)
    return more, float(torch.tensor(moving).median()) if moving else 0.0


def _moving(trace: Sequence[tuple[Tensor, Tensor]], n: int) -> list[float]:
    """Of each image that stood to the end, the share of its gain that the last steps made."""
    best = torch.full((n,), -torch.inf, dtype=torch.float64)
    met = torch.zeros(n, dtype=torch.int64)
    history = []
    for where, lead in trace:
        rows = where.cpu()
        best[rows] = best[rows].maximum(lead.cpu())
        met[rows] += 1
        history.append(best.clone())
    if len(history) <= LAST:
        return []
    stood = met == met.max()
    first, before, last = history[0], history[-1 - LAST], history[-1]
    gain = last - first
    share = torch.where(gain > 0, (last - before) / gain, 0.0)
    return [float(x) for x in share[stood]]
