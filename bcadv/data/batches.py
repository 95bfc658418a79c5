"""Cached images -> batches: crops and flips that depend on (seed, epoch, image) alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import BatchSampler, Dataset, Sampler

from bcadv.pixels import Pixels
from bcadv.typing import Batch

T = TypeVar("T")

Key = tuple[int, int]
"""(epoch, position): what a loader asks for. The epoch travels with the request, so that workers
need no state of their own."""


class Images(Protocol):
    """Decoded images of several sizes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16, of all images."""
        ...

    @property
    def heights(self) -> npt.NDArray[np.int64]:
        """Rows of each image, shape (n,)."""
        ...

    @property
    def widths(self) -> npt.NDArray[np.int64]:
        """Columns of each image, shape (n,)."""
        ...

    def image(self, i: int) -> Pixels:
        """Image ``i``, shape (heights[i], widths[i], 3); usually of a memory map."""
        ...


@lru_cache(maxsize=4)
def _draws(seed: int, epoch: int, n: int) -> npt.NDArray[np.float64]:
    """Five uniform numbers per image; row i does not depend on how many images there are."""
    return np.random.default_rng([seed, epoch, 0]).random((n, 5))


class Crops(Dataset[Batch]):
    """Square crops of cached images, fetched a batch at a time.

    Args:
        images: the decoded images.
        targets: class of each image, shape (n,).
        crop: side of the square in pixels.
        augment: any of ``crop`` (random position), ``hflip``, ``vflip``, ``rot90``; empty for the
            centre crop.
        seed: names the family of augmentations.
    """

    def __init__(
        self,
        images: Images,
        targets: npt.NDArray[np.int64],
        crop: int,
        augment: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.images, self.targets, self.crop = images, targets, crop
        self.augment, self.seed = frozenset(augment), seed

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, key: Key) -> Batch:
        """One image as a batch of one."""
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """The images of several keys."""
        out = np.empty((len(keys), self.crop, self.crop, 3), self.images.dtype)
        for row, (epoch, i) in zip(out, keys, strict=True):
            row[:] = self._crop(epoch, i)
        numbers = torch.tensor([i for _, i in keys], dtype=torch.int64)
        return Batch(
            pixels=torch.from_numpy(out).permute(0, 3, 1, 2),
            target=torch.from_numpy(self.targets[numbers.numpy()]),
            index=numbers,
        )

    def _crop(self, epoch: int, i: int) -> Pixels:
        free_rows = int(self.images.heights[i]) - self.crop
        free_columns = int(self.images.widths[i]) - self.crop
        top, left = free_rows // 2, free_columns // 2
        flips: Sequence[float] = (1.0, 1.0, 0.0)
        if self.augment:
            down, right, *flips = _draws(self.seed, epoch, len(self))[i]
            if "crop" in self.augment:
                # Each of the free + 1 positions is equally likely.
                top, left = int(down * (free_rows + 1)), int(right * (free_columns + 1))
        tile = self.images.image(i)[top : top + self.crop, left : left + self.crop]
        if "hflip" in self.augment and flips[0] < 0.5:
            tile = tile[:, ::-1]
        if "vflip" in self.augment and flips[1] < 0.5:
            tile = tile[::-1]
        if "rot90" in self.augment:
            tile = np.rot90(tile, int(flips[2] * 4))
        return tile


class EpochSampler(Sampler[Key]):
    """Images in an order that depends on (seed, epoch) alone.

    Lightning calls `set_epoch` before each epoch, also after a resume, so that a resumed training
    goes on with the order that an uninterrupted one would have had. Without it each iteration is
    the next epoch.

    Args:
        members: numbers of the images.
        shuffle: whether to draw a new order each epoch.
        seed: names the family of orders.
    """

    def __init__(self, members: Sequence[int], *, shuffle: bool, seed: int = 0) -> None:
        self.members, self.shuffle, self.seed = tuple(members), shuffle, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch the next iteration belongs to."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Key]:
        order = np.asarray(self.members)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, 2]).permutation(order)
        epoch = self.epoch
        self.epoch += 1
        return iter([(epoch, int(i)) for i in order])


def share(batch: Sequence[T], rank: int, size: int) -> Sequence[T]:
    """A process's part of a batch: neighbours, as many as the others have or one fewer.

    Args:
        batch: whatever is shared out.
        rank: number of the process, from 0.
        size: number of processes. The parts of all, in their order, are the batch again.
    """
    return batch[len(batch) * rank // size : len(batch) * (rank + 1) // size]


class SharedBatches(Sampler[list[Key]]):
    """A process's shares of the very batches that one process alone would see.

    Every process sees as many batches as the others. Nothing is padded or seen twice; a share is
    empty where a batch has fewer images than there are processes.

    Args:
        batches: of one process.
        rank: number of the process, from 0.
        size: number of processes.
    """

    def __init__(self, batches: BatchSampler, rank: int, size: int) -> None:
        # BatchSampler says that its items are int, and takes whatever a sampler yields.
        self.batches: Iterable[Any] = batches
        self.length, self.rank, self.size = len(batches), rank, size
        # Lightning looks here for whom to tell the epoch.
        self.sampler = batches.sampler

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[list[Key]]:
        return (list(share(batch, self.rank, self.size)) for batch in self.batches)
