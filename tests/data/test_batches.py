"""Crops and orders depend on (seed, epoch, image) and on nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bcadv.data.batches import Crops, EpochSampler

ALL = ("crop", "hflip", "vflip", "rot90")


class Source:
    """Images whose pixels spell out their place; the last ones are two rows shorter."""

    def __init__(self, n: int = 12, height: int = 40, width: int = 60) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), np.uint8)
        self.heights, self.widths = np.full(n, height), np.full(n, width)
        self.heights[-2:] = height - 2
        self.dtype = self.pixels.dtype

    def image(self, i: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return self.pixels[i, : self.heights[i], : self.widths[i]]


def crops(augment: tuple[str, ...] = (), seed: int = 0, n: int = 12) -> Crops:
    return Crops(Source(n), np.arange(n) % 2, 32, augment, seed)


def test_an_image_does_not_see_its_neighbours() -> None:
    data = crops(ALL)
    together = data.__getitems__([(3, i) for i in range(12)])
    for i in (0, 5, 11):
        alone = data[3, i]
        assert torch.equal(alone.image[0], together.image[i])
        assert alone.index.tolist() == [i]
        assert alone.target.tolist() == [i % 2]


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def all_of(epoch: int, seed: int) -> torch.Tensor:
        return crops(ALL, seed).__getitems__([(epoch, i) for i in range(12)]).image

    assert torch.equal(all_of(1, 0), all_of(1, 0))
    assert not torch.equal(all_of(1, 0), all_of(2, 0))
    assert not torch.equal(all_of(1, 0), all_of(1, 1))


def test_augmentation_does_not_depend_on_how_many_images_there_are() -> None:
    few = Crops(Source(12), np.zeros(12, np.int64), 32, ALL)
    fewer = Source(12)
    fewer.pixels = fewer.pixels[:7]
    first = Crops(fewer, np.zeros(7, np.int64), 32, ALL)
    assert torch.equal(few[0, 4].image, first[0, 4].image)


def test_without_augmentation_it_is_the_centre() -> None:
    data = Source()
    expected = torch.from_numpy(data.pixels[0, 4:36, 14:46]).permute(2, 0, 1)
    assert torch.equal(crops()[7, 0].pixels[0], expected)


def test_every_position_is_reached_and_nothing_beside_the_image() -> None:
    source = Source(2)
    source.pixels[:] = 1
    source.pixels[:, 38:] = 0
    source.heights[:] = 38
    data = Crops(source, np.zeros(2, np.int64), 32, ("crop",))
    seen = {tuple(np.unique(data[epoch, 0].pixels.numpy()).tolist()) for epoch in range(200)}
    assert seen == {(1,)}


@pytest.mark.parametrize(
    ("kind", "versions"), [("hflip", 2), ("vflip", 2), ("rot90", 4), ("crop", 9 * 29)]
)
def test_each_kind_of_augmentation_reaches_all_its_versions(kind: str, versions: int) -> None:
    data = crops((kind,))
    found = {
        data[epoch, 0].image.numpy().tobytes() for epoch in range(3000 if versions > 9 else 60)
    }
    assert len(found) == versions


def test_pixels_are_scaled_to_the_unit_interval() -> None:
    batch = crops()[0, 0]
    exact = batch.pixels.double() / 255
    assert batch.pixels.dtype == torch.uint8
    assert batch.image.dtype == torch.float32
    assert 0 <= float(batch.image.min()) <= float(batch.image.max()) <= 1
    torch.testing.assert_close(batch.image.double(), exact, rtol=0, atol=1e-7)
    assert batch.image is batch.image, "scaled once"
    image, target = batch
    assert image is batch.image
    assert target is batch.target


def test_the_order_depends_on_seed_and_epoch() -> None:
    sampler = EpochSampler(range(20), shuffle=True, seed=4)

    def order(epoch: int) -> list[tuple[int, int]]:
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(2) == order(2)
    assert [i for _, i in order(2)] != [i for _, i in order(3)]
    assert sorted(i for _, i in order(3)) == list(range(20))
    assert {epoch for epoch, _ in order(3)} == {3}


def test_a_plain_loop_goes_on_to_the_next_epoch() -> None:
    sampler = EpochSampler(range(20), shuffle=True, seed=4)
    first, second = list(sampler), list(sampler)
    assert [{epoch for epoch, _ in keys} for keys in (first, second)] == [{0}, {1}]
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_evaluation_keeps_the_order() -> None:
    assert [i for _, i in EpochSampler([5, 2, 9], shuffle=False)] == [5, 2, 9]


def test_16_bits_reach_the_model_whole() -> None:
    source = Source()
    source.pixels = source.pixels.astype(np.uint16) * 257 + 3
    source.dtype = np.dtype(np.uint16)
    data = Crops(source, np.zeros(12, np.int64), 32)
    loader = DataLoader(
        data,
        batch_sampler=[[(0, 0), (0, 5)], [(0, 11)]],
        collate_fn=lambda batch: batch,
        num_workers=1,
    )
    first, second = loader
    for batch, numbers in ((first, (0, 5)), (second, (11,))):
        assert batch.pixels.dtype == torch.uint16
        expected = np.stack([source.image(i)[3:35, 14:46] for i in numbers])
        if numbers == (0, 5):
            expected = np.stack([source.image(i)[4:36, 14:46] for i in numbers])
        exact = torch.from_numpy(expected.astype(np.float64) / 65535).permute(0, 3, 1, 2)
        assert batch.image.dtype == torch.float32
        torch.testing.assert_close(batch.image.double(), exact, rtol=0, atol=1e-7)


def test_a_share_of_no_images_travels_too() -> None:
    source = Source()
    source.dtype = np.dtype(np.uint16)
    batch = Crops(source, np.zeros(12, np.int64), 32).__getitems__([])
    assert batch.image.shape == (0, 3, 32, 32)
