"""The worst case: attacks in order, each on the images that still stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.base import Sweep
from bcadv.perturb.catalog import ATTACKS, build
from bcadv.perturb.presets import PRESETS, Member
from bcadv.perturb.search import Search


@dataclass(frozen=True)
class WorstCase(AdversarialAttack):
    """Attacks in order on the images still standing; what any of them breaks is broken.

    After Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020, with two differences. All radii are attacked together: what
    is found at one counts at every larger one. And where the adversary has two classes to choose
    from, cross entropy and the margin have the same gradient sign, so the ensemble takes its
    variety from starting points, steps, norms and estimators of the gradient instead of losses.

    Whether an image is broken at a radius only ever changes to yes; `Sweep.by` says which member
    broke it first.

    Attributes:
        preset: ``quick``, ``standard`` or ``thorough``; see `bcadv.perturb.presets`.
        seed: names what is random about all members.
        members: of an ensemble of your own, in order, in place of the preset's; each has the
            threat, the aim and the task of the ensemble.

    Raises:
        BcadvError: an unknown preset, or one without a member in this norm.
    """

    preset: str = field(default="standard", kw_only=True)
    seed: int = field(default=0, kw_only=True)
    members: tuple[AdversarialAttack, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset not in PRESETS:
            raise BcadvError(f"worst: preset is {self.preset!r}; give one of {', '.join(PRESETS)}.")

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "worst"

    def team(self, classes: int) -> list[AdversarialAttack]:
        """The members in order.

        Args:
            classes: how many the model knows.
        """
        if self.members:
            threat, aim, task = self.threat, self.aim, self.task
            return [
                replace(member, threat=threat, targeted=self.targeted, aim=aim, task=task)
                for member in self.members
            ]
        norm = f"{self.threat.norm:g}"
        chosen = [m for m in PRESETS[self.preset](classes) if norm in ATTACKS[m.name].norms]
        if not chosen:
            raise BcadvError(
                f"worst: no member of preset={self.preset} exists in norm {norm}; give members of "
                "your own."
            )
        return [self._made(member) for member in chosen]

    def suits(self, classes: int) -> None:
        """See `AdversarialAttack.suits`."""
        for member in self.team(classes):
            member.suits(classes)

    def _made(self, member: Member) -> AdversarialAttack:
        options: dict[str, Any] = dict(member.options)
        made = build(
            member.name,
            self.threat,
            seed=self.seed,
            targeted=self.targeted,
            aim=self.aim,
            task=self.task,
            options=options,
        )
        if not isinstance(made, AdversarialAttack):
            raise TypeError(f"{member.name} is no attack")
        return made

    def _sweep(
        self,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        strengths: Sequence[float],
        *,
        index: Tensor,
        draw: int,
    ) -> Sweep:
        search = Search(self, model, image, target, index, draw, strengths)
        if search.clean_logits is None:
            search.answer_clean()
        members = self._run(search)
        found = search.sweep(strengths)
        return replace(found, by=search.by_strength(strengths), members=members)

    def _improve(self, search: Search) -> None:
        if search.clean_logits is None:
            search.answer_clean()
        self._run(search)

    def _run(self, search: Search) -> tuple[str, ...]:
        logits = search.clean_logits
        team = self.team(2 if logits is None else logits.shape[1])
        names = ["clean"]
        for number, member in enumerate(team, start=1):
            names.append(_label(member))
            # A search that was stopped goes on with the member that was at work.
            if number >= search.member and len(search.standing):
                search.member, search.member_name = number, names[-1]
                search.keep()
                member.improve(search)
        return tuple(names)


def _label(member: AdversarialAttack) -> str:
    """What people call a member with its settings."""
    row = ATTACKS.get(member.name)
    if row is None:
        return member.name
    return row.label.format(**{option.name: getattr(member, option.name) for option in row.options})
