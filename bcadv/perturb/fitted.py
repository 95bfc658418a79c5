"""Attacks that are fitted on training images first, such as one perturbation for every image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, final

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.base import evaluating
from bcadv.typing import Batch


@dataclass(frozen=True)
class FittedAttack(AdversarialAttack):
    """An attack that is fitted to a model on training images before it meets a test image.

    A subclass is a row of the catalog as any other. It says how it is fitted (`_fit`), and what it
    makes of an image with what came of that (`found`), in `_perturb` or `_improve`. A job fits it
    once for all its strengths and keeps the state beside the model, see `bcadv.fitting`.

    Attributes:
        state: what `fit` returned, on the model's device; ``None``: it is not fitted yet.
    """

    state: Mapping[str, Tensor] | None = field(
        default=None, kw_only=True, compare=False, repr=False
    )

    @abstractmethod
    def _fit(
        self, model: nn.Module, batches: Iterable[Batch], strengths: Sequence[float]
    ) -> dict[str, Tensor]:
        """What `fit` does; gradients are enabled, the model is in eval mode."""

    @final
    def fit(
        self, model: nn.Module, batches: Iterable[Batch], strengths: Sequence[float]
    ) -> dict[str, Tensor]:
        """Fits the attack; model and torch's random state are left as they were.

        What is wanted, the norm and the seed are those of the attack itself.

        Args:
            model: maps images to logits.
            batches: training images on the model's device; may be gone through more than once.
            strengths: radii that the attack will be tried at, in the unit of the norm.

        Returns:
            Tensors by name, of which the attack makes its images at every one of the strengths.

        Raises:
            BcadvError: what came of it is no finite tensors by name.
        """
        gpus = {each.device for each in model.parameters() if each.is_cuda}
        with (
            torch.inference_mode(False),
            torch.random.fork_rng(devices=gpus),
            evaluating(model),
            torch.enable_grad(),
        ):
            state = self._fit(model, batches, strengths)
        if not isinstance(state, dict) or not all(
            isinstance(name, str) and isinstance(value, Tensor) and bool(value.isfinite().all())
            for name, value in state.items()
        ):
            raise BcadvError(
                f"{self.name}: what it was fitted to is no finite tensors by name; check the "
                "model's weights and the attack."
            )
        return {name: value.detach() for name, value in state.items()}

    def with_state(self, state: Mapping[str, Tensor]) -> Self:
        """The same attack, fitted."""
        return replace(self, state=dict(state))

    @property
    def found(self) -> Mapping[str, Tensor]:
        """What it was fitted to.

        Raises:
            BcadvError: it was not fitted.
        """
        if self.state is None:
            raise BcadvError(
                f"{self.name}: it is not fitted; call fit(model, batches, strengths) on training "
                "images, and with_state with what that returns."
            )
        return self.state
