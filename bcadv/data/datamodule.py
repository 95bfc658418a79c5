"""The LightningDataModule: whatever the source, images in [0, 1] with their class and number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import BatchSampler, DataLoader

from bcadv import distributed
from bcadv.config import DataConfig
from bcadv.data import cache, splits
from bcadv.data.audit import Audit, audit
from bcadv.data.batches import Crops, EpochSampler, Images, SharedBatches
from bcadv.data.parts import split
from bcadv.data.ranges import InUse, in_use, pixel_notes
from bcadv.data.records import Record, Selection
from bcadv.errors import BcadvError
from bcadv.text import shown
from bcadv.typing import Batch


class ImageDataModule(pl.LightningDataModule):
    """Images of whatever source, decoded once and cropped on the way.

    Its loaders yield `bcadv.typing.Batch`, which any LightningModule and any plain loop can unpack:
    ``image, target = batch``, images in [0, 1].

    After `prepare` these are known: ``records`` (one per image; an image's number is its place),
    ``classes``, ``positive``, ``split``, ``audit``, ``pixels`` (how much of their range
    the images use), ``notes`` (what a reader must know) and ``skipped`` (unreadable images that
    were left out).

    Args:
        config: source, split, crop, augmentation, batch size (of all processes together).
        cache_dir: where decoded images are kept.
        seed: of the split, the order of the images and their augmentation.
        eval_batch_size: of validation and test; ``None`` is the training batch size.
    """

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    positive: tuple[int, ...]
    positive_by: Literal["user", "source", "order"]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    split: splits.Split
    audit: Audit
    images: Images
    pixels: InUse
    digests: Mapping[str, str]

    def __init__(
        self,
        config: DataConfig,
        cache_dir: Path | str,
        seed: int = 0,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.config, self.cache_dir, self.seed = config, Path(cache_dir), seed
        self.eval_batch_size = eval_batch_size or config.batch_size
        self.selection: Selection | None = None
        self.prepared = False

    def setup(self, stage: str | None = None) -> None:
        """Lightning's hook; everything happens in `prepare`, once."""
        self.prepare()

    def find(self) -> Selection:
        """Finds the images, once; decodes none.

        Raises:
            BcadvError: there are none, with the ways forward, or images of several findings.
        """
        if self.selection is None:
            self.selection = self.config.find()
        if self.selection.kind == "multilabel":
            some = ", ".join(shown(name) for name in self.selection.classes[:5])
            raise BcadvError(
                "several labels per image are read, split and checked; a job trains one finding so "
                f"far: add data.labels=[X], with X one of {some}"
                + (", ..." if len(self.selection.classes) > 5 else "")
            )
        return self.selection

    def prepare(self) -> None:
        """Finds, decodes and splits the images.

        Raises:
            BcadvError: no images, an unreadable one, a split that cannot be made, or a crop that
                is larger than the smallest image.
        """
        if self.prepared:
            return
        selection = self.find()
        cached = cache.build(
            selection.records,
            self.cache_dir,
            resize=self.config.resize,
            white=self.config.white,
            on_bad_image=self.config.on_bad_image,
        )
        self.images, self.records, self.digests = cached, cached.records, cached.digests
        self.pixels = in_use(cached.ranges)
        self.classes, self.positive = selection.classes, selection.positive
        self.positive_by = selection.positive_by
        self.notes = (*selection.notes, *pixel_notes(cached.said, self.pixels))
        self.skipped = tuple(f"{record.path}: {why}" for record, why in cached.skipped)
        smallest = int(min(self.images.heights.min(), self.images.widths.min()))
        if smallest < self.config.crop:
            raise BcadvError(
                f"data.crop={self.config.crop} is larger than the smallest image "
                f"({smallest} pixels): lower data.crop or set data.resize."
            )
        self.split = split(self.config, self.records, seed=self.seed)
        self.audit = audit(self.records, self.split, cached.digests)
        self.targets = np.array([self.classes.index(r.label) for r in self.records])
        self.prepared = True

    def training_content(self) -> str:
        """Digest of all that training sees of the data: images, classes and their order.

        An image's number belongs to it, because its augmentation and noise follow from it. Names
        and places do not.
        """
        seen = [
            [part, i, int(self.targets[i]), self.digests[self.records[i].image_id]]
            for part, members in self.split.by_part().items()
            if part != "test"
            for i in members
        ]
        return hashlib.sha256(json.dumps([len(self.classes), seen]).encode()).hexdigest()

    def centre_crops(self, members: Sequence[int]) -> Batch:
        """Some images by number, as the evaluation sees them, in [0, 1]."""
        crops = Crops(self.images, self.targets, self.config.crop)
        return crops.__getitems__([(0, i) for i in members])

    def _loader(
        self, part: str, *, augment: bool, shuffle: bool, batch_size: int, drop_last: bool = False
    ) -> Any:
        crops = Crops(
            self.images,
            self.targets,
            self.config.crop,
            self.config.augment if augment else (),
            self.seed,
        )
        members = self.split.by_part()[part]
        order: Any = EpochSampler(members, shuffle=shuffle, seed=self.seed)
        batches = BatchSampler(order, batch_size, drop_last)
        return DataLoader(
            crops,
            batch_sampler=SharedBatches(batches, distributed.rank(), distributed.size()),
            collate_fn=_as_it_is,
            num_workers=self.config.workers,
        )

    def train_dataloader(self) -> Any:
        """Augmented training images in a new order each epoch."""
        self.prepare()
        size = min(self.config.batch_size, len(self.split.train))
        # A last batch of a few images would give BatchNorm statistics of a few images.
        ragged = 0 < len(self.split.train) % size < min(8, size)
        return self._loader("train", augment=True, shuffle=True, batch_size=size, drop_last=ragged)

    def plain_train_dataloader(self) -> Any:
        """Training images as the evaluation sees them: centre crops, full batches."""
        self.prepare()
        size = min(self.config.batch_size, len(self.split.train))
        return self._loader("train", augment=False, shuffle=True, batch_size=size, drop_last=True)

    def val_dataloader(self) -> Any:
        """Validation images, centre crops."""
        self.prepare()
        return self._loader("val", augment=False, shuffle=False, batch_size=self.eval_batch_size)

    def test_dataloader(self) -> Any:
        """Test images, centre crops."""
        self.prepare()
        return self._loader("test", augment=False, shuffle=False, batch_size=self.eval_batch_size)


def _as_it_is(batch: Any) -> Any:
    """The data set hands over whole batches already."""
    return batch
