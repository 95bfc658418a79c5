"""What every perturbation promises its caller, kept in one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self, final

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError


@dataclass(frozen=True)
class Sweep:
    """One batch, perturbed at several strengths.

    Attributes:
        images: one tensor per strength, in the order asked for, each of the batch's shape.
        clean_logits: logits of the unperturbed batch from the model in eval mode, shape (batch,
            classes), where the perturbation computed them on its way; ``None`` where it did not.
            Whoever needs both saves a forward pass.
        gradients: how many gradients each image cost, int64, shape (batch,); ``None`` where the
            perturbation takes none.
        queries: how many forward passes each image cost, those before a gradient included, same
            shape; ``None`` where they were not counted.
        distance: of the nearest adversarial image that was found, in the norm of the threat,
            float64, shape (batch,): inf where none was; ``None`` where none was looked for.
        by: number of the member of an ensemble that first broke each image within each strength,
            in the order asked for, -1 where none did, int64, shape (batch, strengths); ``None``
            where there are no members.
        members: names of the members.
        broken_after: how many forward passes each image had cost, at all strengths together, when
            it was known to be broken at each, -1: it was not, int64, shape (batch, strengths) in
            the order asked for; ``None`` where they were not counted.
    """

    images: list[Tensor]
    clean_logits: Tensor | None = None
    gradients: Tensor | None = None
    queries: Tensor | None = None
    distance: Tensor | None = None
    by: Tensor | None = None
    members: tuple[str, ...] = ()
    broken_after: Tensor | None = None


class CheckedPerturbation(ABC):
    """A perturbation whose outer call checks its input, its result and its manners.

    A subclass says what is done to the images (`_perturb`) and what the result must fulfil
    (`_verify`). The calls here are final and promise for every subclass:

    * The input is checked first: float32 or float64 images inside `bounds`, int64 classes.
    * The model is in eval mode while it is attacked; afterwards every submodule has its own mode
      again. Parameters, their gradients, buffers, the input and torch's global random state
      (of the CPU and of the images' GPU) stay as they were, also when something raises.
    * It works inside ``no_grad`` and ``inference_mode``, on tensors made in either.
    * The result is a new tensor without a graph, of the input's shape, dtype and device, and is
      verified; a violation raises `bcadv.errors.ConstraintViolated` with its numbers.
    * An empty batch comes back empty without a call of the model.

    A model that draws random numbers in eval mode meets the same draws again in the caller's next
    forward pass, because the random state is put back.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for results, such as ``fgsm``."""

    @property
    @abstractmethod
    def strength(self) -> float:
        """The one number that a sweep varies: eps of an attack, sigma of noise."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value of a pixel."""

    @abstractmethod
    def with_strength(self, strength: float) -> Self:
        """The same perturbation at another strength."""

    @abstractmethod
    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        """Perturbs a batch that is not empty; gradients are enabled, the model is in eval mode."""

    @abstractmethod
    def _verify(self, result: Tensor, origin: Tensor, index: Tensor) -> None:
        """Raises ConstraintViolated where a result is not what this perturbation allows."""

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
        """Perturbs at each strength. Override where the strengths can share work."""
        return Sweep(
            [
                self.with_strength(strength)._perturb(model, image, target, index=index, draw=draw)
                for strength in strengths
            ]
        )

    @final
    def __call__(
        self,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        *,
        index: Tensor | None = None,
        draw: int = 0,
    ) -> Tensor:
        """Perturbs a batch.

        Args:
            model: maps images to logits, shape (batch, classes).
            image: inside `bounds`, float32 or float64, shape (batch, channels, height,
                width).
            target: class indices, int64, shape (batch,).
            index: number of each image, int64, shape (batch,); ``None`` counts from zero.
            draw: number of the draw; what is random depends on (seed, draw, index) alone.

        Returns:
            The perturbed images.

        Raises:
            BcadvError: the input is not as described.
            ConstraintViolated: the result broke the perturbation's own promise.
        """
        sweep = self.sweep(model, image, target, [self.strength], index=index, draw=draw)
        return sweep.images[0]

    @final
    def sweep(
        self,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        strengths: Sequence[float],
        *,
        index: Tensor | None = None,
        draw: int = 0,
    ) -> Sweep:
        """Perturbs a batch at several strengths, sharing the work that they have in common.

        What is found at one strength may serve the others: a perturbation says in its own words
        what a sweep gives beside calls at each strength alone.

        Args:
            model: as in the call.
            image: as in the call.
            target: as in the call.
            strengths: eps or sigma, in the unit of the pixels.
            index: as in the call.
            draw: as in the call.

        Returns:
            The perturbed images of each strength, and the clean logits where they cost nothing.

        Raises:
            BcadvError: the input is not as described, or a strength is not allowed.
            ConstraintViolated: a result broke the perturbation's own promise.
        """
        variants = [self.with_strength(strength) for strength in strengths]
        # Lightning tests in inference mode, whose tensors autograd refuses: leave the mode, allow
        # gradients, and copy what was made in it. Nothing else in the package has to know.
        with torch.inference_mode(False):
            self._check_input(image, target, index)
            self._check_model(model, image)
            if len(image) == 0:
                return Sweep([image.detach().clone() for _ in variants])
            origin, target = _ordinary(image), _ordinary(target)
            index = torch.arange(len(image)) if index is None else _ordinary(index)
            with _left_as_found(model, image.device), torch.enable_grad():
                found = self._sweep(model, origin, target, strengths, index=index, draw=draw)
            with torch.no_grad():
                results = [result.detach() for result in found.images]
                for variant, result in zip(variants, results, strict=True):
                    variant._check_result(result, origin, index)
            clean = found.clean_logits
            return replace(
                found, images=results, clean_logits=None if clean is None else clean.detach()
            )

    def _check_input(self, image: Tensor, target: Tensor, index: Tensor | None) -> None:
        where = f"{self.name}: "
        for what, value in (("images", image), ("target", target)):
            if not isinstance(value, Tensor):
                raise BcadvError(
                    f"{where}the {what} are a {type(value).__name__}; give a torch tensor "
                    "(torch.as_tensor makes one of an array)."
                )
        if image.dtype not in (torch.float32, torch.float64):
            raise BcadvError(
                f"{where}the images are {image.dtype}; convert them to float32 in "
                f"{_interval(self.bounds)} first (a perturbation of a fraction of a grey level "
                "is lost in fewer bits)."
            )
        if image.ndim != 4 or 0 in image.shape[1:]:
            raise BcadvError(
                f"{where}the images have shape {tuple(image.shape)}; give (batch, channels, "
                "height, width)."
            )
        if target.dtype != torch.int64 or target.shape != (len(image),):
            raise BcadvError(
                f"{where}the target is {target.dtype} of shape {tuple(target.shape)}; give int64 "
                f"class indices of shape ({len(image)},), one per image."
            )
        if target.device != image.device:
            raise BcadvError(
                f"{where}the images are on {image.device} and the target on {target.device}; "
                "put both on one device."
            )
        if index is not None and (index.dtype != torch.int64 or index.shape != (len(image),)):
            raise BcadvError(
                f"{where}the index is {index.dtype} of shape {tuple(index.shape)}; give int64 "
                f"image numbers of shape ({len(image)},), one per image."
            )
        if len(image) == 0:
            return
        low, high = self.bounds
        lowest, highest = torch.aminmax(image.detach())
        # Compared as tensors: a bound such as 0.3 is not the same number in float32.
        if not bool((lowest >= low) & (highest <= high)):
            raise BcadvError(
                f"{where}the images span [{lowest.item():g}, {highest.item():g}]; scale or clamp "
                f"them to {_interval(self.bounds)} (normalisation belongs inside the model)."
            )
        if int(target.min()) < 0:
            raise BcadvError(
                f"{where}the target holds class {int(target.min())}; class indices start at 0."
            )

    def _check_model(self, model: nn.Module, image: Tensor) -> None:
        if not isinstance(model, nn.Module):
            raise BcadvError(
                f"{self.name}: the model is a {type(model).__name__}; give a torch.nn.Module that "
                "maps images to logits."
            )
        place = next((p.device for p in model.parameters()), image.device)
        if place != image.device:
            raise BcadvError(
                f"{self.name}: the model is on {place} and the images on {image.device}; put both "
                "on one device."
            )

    def _check_result(self, result: Tensor, origin: Tensor, index: Tensor) -> None:
        kind = (result.shape, result.dtype, result.device)
        if kind != (origin.shape, origin.dtype, origin.device):
            raise TypeError(
                f"{type(self).__name__} made a {tuple(result.shape)} {result.dtype} on "
                f"{result.device} from a {tuple(origin.shape)} {origin.dtype} on {origin.device}"
            )
        self._verify(result, origin, index)


@contextmanager
def _left_as_found(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Puts the model in eval mode without weight gradients, and everything back at the end."""
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), evaluating(model):
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within it the model is in eval mode and its weights have no gradient."""
    # The flags are set directly: train() is recursive and would flatten submodules that differ.
    modes = [(module, module.training) for module in model.modules()]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for module, _ in modes:
            module.training = False
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in trained:
            parameter.requires_grad_(True)


def _ordinary(tensor: Tensor) -> Tensor:
    """The tensor without its graph, and fit for autograd if it was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _interval(bounds: tuple[float, float]) -> str:
    return f"[{bounds[0]:g}, {bounds[1]:g}]"
