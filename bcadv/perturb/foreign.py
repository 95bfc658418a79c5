"""What attacks of other libraries share: one image at a time, each point that is asked counts."""

from __future__ import annotations

import inspect
import random
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.nearest import NearestAttack
from bcadv.perturb.random import mixed
from bcadv.perturb.search import Search


@dataclass(frozen=True)
class Goal:
    """What a library is told to do with one image.

    Attributes:
        label: number of a class.
        toward: whether that is the class to be reached, or the one to be left.
        classes: how many the model that it sees has.
        wanted: which answers the adversary wants, bool, shape (1, classes of the model): the
            library then sees two classes, the best of the others and the best of these. ``None``:
            it sees the model's own.
    """

    label: int
    toward: bool
    classes: int
    wanted: Tensor | None = None


class _Enough(Exception):  # noqa: N818  no error: the image is broken
    """Ends a library's attack within a ball once it has what it is after."""


@dataclass(frozen=True)
class ForeignAttack(NearestAttack):
    """An attack of another library, by its name there, under the threat model of this one.

    It runs on one image at a time. Every point that it asks the model about is brought into the box
    and counts, whatever the library returns in the end, so the nearest adversarial one is kept; its
    last point counts as well. Every answer is a query, every pass back to the image a gradient. An
    attack that takes a radius runs at each of them, from the smallest up, until the image breaks;
    any other runs once and serves all.

    Attributes:
        method: name of its class in the library.
        options: of that class, by the library's names; ``None``: as it comes. What the threat model
            and the aim say (norm, radius, target) is none of them.
        seed: names the family of random numbers. Those of an image depend on it, on the draw and on
            the image's index.

    Raises:
        BcadvError: the library is not installed, has no such attack or option, or refuses a value,
            or its attack belongs to another norm.
    """

    method: str = field(default="", kw_only=True)
    options: Mapping[str, Any] | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    always_toward: ClassVar[frozenset[str]] = frozenset()
    """Methods that only know a class to be reached."""
    asks_probabilities: ClassVar[frozenset[str]] = frozenset()
    """Methods that want probabilities in place of logits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "seed", 0)
        if not (self.options is None or isinstance(self.options, Mapping)):
            raise BcadvError(
                f"attack.{self.name}.options={self.options!r} cannot be used: give a mapping of "
                "names to values, such as {steps: 50}, or null."
            )

    @property
    @abstractmethod
    def _within_ball(self) -> bool:
        """Whether it takes a radius."""

    @property
    @abstractmethod
    def _takes_target(self) -> bool:
        """Whether it can be told a class to be reached."""

    @abstractmethod
    def _run(self, model: Asked, image: Tensor, eps: float) -> Tensor:
        """Runs the library's attack on a single image.

        Args:
            model: what the library is to ask; its goal says what for.
            image: shape (1, channels, height, width).
            eps: the radius, of no matter to attacks that take none.

        Returns:
            What the library makes of it, same shape.
        """

    def _improve(self, search: Search) -> None:
        if not self._within_ball:
            super()._improve(search)
            return
        if search.clean_logits is None:
            search.answer_clean()
        # From the smallest radius up: what breaks an image there is not looked for further out.
        search.narrow(partial(self._attempt, search), torch.zeros_like(search.high))

    def _approach(self, search: Search, rows: Tensor) -> None:
        self._attempt(search, rows, torch.full_like(rows, len(search.radii) - 1))

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        for row, number in zip(rows[:, None], probe[:, None], strict=True):
            seed = mixed(self.seed, search.draw, int(search.index[row]))
            asked = Asked(self, search, row, number, self._goal(search, row))
            try:
                with self._guarded(), steady(seed, row.device):
                    asked.finish(self._run(asked, asked.origin.clone(), asked.eps))
            except _Enough:
                pass
            asked.tell()

    def _goal(self, search: Search, row: Tensor) -> Goal:
        """What the library is to do with an image: as its authors meant it, where that says it."""
        assert search.clean_logits is not None
        logits, target = search.clean_logits[row], search.target[row]
        toward = self.method in self.always_toward
        if self.aim == "any" and (self._takes_target if self.targeted else not toward):
            return Goal(int(target), self.targeted, logits.shape[1])
        return Goal(int(toward), toward, 2, self.wanted(logits, target))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """What the library raises within it is told in a sentence."""
        try:
            yield
        except (_Enough, BcadvError):
            raise
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            said += "; install it" if isinstance(error, ImportError) else ""
            told = f", attack.{self.name}.options={dict(self.options)}" if self.options else ""
            raise BcadvError(
                f"attack.{self.name}.method={self.method} in norm {self.threat.norm:g}{told}: the "
                f"library says: {said[:300]}"
            ) from error

    def _known(self, name: str, methods: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
        """The class of a name.

        Args:
            name: of the method.
            methods: those that can be run.
            others: what else the library has.
        """
        if name in methods:
            return methods[name]
        near = get_close_matches(name, methods, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        what = "is not for an image and a classifier alone" if name in others else "is unknown"
        there = ", ".join(sorted(methods))
        raise BcadvError(f"attack.{self.name}.method={name} {what}: {hint}There are {there}.")

    def _checked(self, kind: type, own: set[str]) -> dict[str, Any]:
        """The options, if the class has them all.

        Args:
            kind: a class of the library.
            own: what of its arguments is not for the options.
        """
        given = dict(self.options or {})
        known = [name for name in arguments(kind) if name not in own]
        for name in given:
            if name in own and name in arguments(kind):
                raise BcadvError(
                    f"attack.{self.name}.options: {name} follows the threat model, the aim or the "
                    f"model; leave it out of the options of {self.method}."
                )
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = (
                    f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}."
                )
                raise BcadvError(
                    f"attack.{self.name}.options: {self.method} has no option {name}: {hint}"
                )
        return given


class Asked(nn.Module):
    """The model as a library sees it: it answers points of one image, and each of them counts.

    Args:
        attack: at work.
        search: is offered the points.
        row: number of the image, shape (1,).
        number: of the radius, shape (1,).
        goal: of the library.

    Attributes:
        origin: the unperturbed image, shape (1, ...).
        eps: the radius.
    """

    def __init__(
        self, attack: ForeignAttack, search: Search, row: Tensor, number: Tensor, goal: Goal
    ) -> None:
        super().__init__()
        # The model itself is no submodule: libraries set modes, and move what they are given. Where
        # it lies they see by this.
        self.place = nn.Parameter(search.image.new_zeros(1), requires_grad=False)
        self.training = False
        self.attack, self.search, self.goal = attack, search, goal
        self.row, self.number, self._within_ball = row, number, attack._within_ball
        self.origin, self._target = search.image[row], search.target[row]
        self.eps = float(search.radii[number])
        within = attack.threat.with_eps(self.eps)
        self._reach = self.eps + within.slack(self.origin) if self._within_ball else torch.inf
        self._best, self._gain = self.origin, -torch.inf

    def forward(self, points: Tensor) -> Tensor:
        """Points of the image, shape (n, ...) -> what the library is to see of the logits."""
        search, attack, n = self.search, self.attack, len(points)
        point = points.to(self.origin).reshape(n, *self.origin.shape[1:]).clamp(*attack.bounds)
        search.queries[self.row] += n
        target = self._target.expand(n)
        logits = attack.task.check(search.model(point), target, attack.name)
        if torch.is_grad_enabled() and point.requires_grad:
            if not logits.requires_grad:
                raise BcadvError(
                    f"{attack.name}: the model's logits carry no gradient back to the image, which "
                    f"{attack.method} needs; remove no_grad and detach from the model's forward."
                )
            logits.register_hook(lambda _: self._count(n))  # type: ignore[no-untyped-call]
        self._look(point.detach(), logits.detach(), target)
        return self._seen(logits).to(points.dtype)

    def _count(self, n: int) -> None:
        self.search.gradients[self.row] += n

    def _seen(self, logits: Tensor) -> Tensor:
        wanted = self.goal.wanted
        if wanted is not None:
            sides = [logits.masked_fill(side, -torch.inf).amax(1) for side in (wanted, ~wanted)]
            logits = torch.stack(sides, 1)
        asks = self.attack.method in self.attack.asks_probabilities
        return self.attack.task.probability(logits) if asks else logits

    def _look(self, point: Tensor, logits: Tensor, target: Tensor) -> None:
        """Offers the nearest point that reaches the aim, and remembers what came closest."""
        attack, search = self.attack, self.search
        size = attack.threat.size(point - self.origin).double()
        reached = attack.reached(logits, target)
        if bool(reached.any()):
            _, at = torch.where(reached, size, torch.inf).min(0, keepdim=True)
            search.offer(self.row, point[at], logits[at])
        lead = torch.where(size <= self._reach, attack.lead(logits, target), -torch.inf)
        gain, at = lead.max(0, keepdim=True)
        if float(gain) > self._gain:
            self._best, self._gain = point[at], float(gain)
        if self._within_ball and bool(search.high[self.row] <= self.number):
            raise _Enough

    def finish(self, point: Tensor) -> None:
        """Asks about what the library returned, brought into the ball that it was made for."""
        point = point.detach().to(self.origin).reshape(self.origin.shape)
        if self._within_ball:
            point = self.attack.threat.project(point, self.origin, self.search.radii[self.number])
        if not torch.equal(point, self.origin):
            with torch.no_grad():
                self(point)

    def tell(self) -> None:
        """Tells the search how close an image came that stands."""
        search, number = self.search, self.number
        if self._within_ball:
            stands = bool(search.high[self.row] > number)
        else:
            stands = not bool(search.distance[self.row].isfinite())
        if stands:
            near = self.attack.threat.project(self._best, self.origin, search.radii[number])
            gain = torch.full_like(search.distance[self.row], self._gain)
            search.failed(self.row, number, near, gain)


def arguments(kind: type) -> list[str]:
    """Names of what the constructor of a class takes."""
    signature = inspect.signature(kind.__init__)  # type: ignore[misc]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, one in signature.parameters.items() if one.kind in named][1:]


def library(module: str, extra: str) -> ModuleType:
    """A module of an optional library.

    Raises:
        BcadvError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise BcadvError(
            f"attack.{extra} needs a library that cannot be loaded ({error}): "
            f"pip install 'bcadv[{extra}]'."
        ) from error


@contextmanager
def steady(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds whatever global state a library may draw from, and puts it back; nobody is warned.

    Args:
        seed: 64 bits.
        device: that it works on.
    """
    python, arrays = random.getstate(), np.random.get_state()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        try:
            warnings.simplefilter("ignore")
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
