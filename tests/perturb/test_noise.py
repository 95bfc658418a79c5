from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb import GaussianNoise
from tests.perturb.nets import batch

MODEL = nn.Identity()


def noise_of(
    indices: list[int], *, seed: int = 0, draw: int = 0, side: int = 8, sigma: float = 1.0
) -> Tensor:
    """The bare noise: what is added to grey images."""
    image = torch.full((len(indices), 3, side, side), 0.5)
    target = torch.zeros(len(indices), dtype=torch.int64)
    noisy = GaussianNoise(sigma, seed=seed)(
        MODEL, image, target, index=torch.tensor(indices), draw=draw
    )
    return noisy - image


def test_noise_is_gaussian_with_the_given_sigma() -> None:
    noise = noise_of([0, 1], side=224, sigma=0.1).double().numpy() / 0.1
    for sample in (*noise, noise):
        flat = sample.ravel()
        error = 1 / math.sqrt(flat.size)
        assert abs(flat.mean()) < 5 * error
        assert abs(flat.std() - 1) < 5 * error
        assert stats.kstest(flat, "norm").pvalue > 1e-3
    # Neither neighbouring pixels nor colour channels move together.
    for axis in (1, 2, 3):
        size = noise.shape[axis]
        near = noise.take(range(size - 1), axis).ravel()
        far = noise.take(range(1, size), axis).ravel()
        assert abs(np.corrcoef(near, far)[0, 1]) < 5 / math.sqrt(near.size)


def test_close_seeds_draws_and_images_have_unrelated_noise() -> None:
    numbers = range(4)
    fields = [
        noise_of(list(numbers), seed=seed, draw=draw, side=64).flatten(1).numpy()
        for seed, draw in itertools.product(numbers, numbers)
    ]
    correlation = np.corrcoef(np.concatenate(fields))
    np.fill_diagonal(correlation, 0)
    assert correlation.shape == (64, 64)
    # 2016 pairs of 12288 values: six standard errors are passed by chance once in 250,000 runs.
    assert np.abs(correlation).max() < 6 / math.sqrt(3 * 64 * 64)


@given(
    indices=st.lists(st.integers(0, 2**40), min_size=1, max_size=6),
    seed=st.integers(-(2**70), 2**70),
    draw=st.integers(0, 10**6),
    bystander=st.integers(0, 2**32 - 1),
    data=st.data(),
)
@settings(max_examples=40)
def test_noise_of_an_image_knows_neither_neighbours_nor_order_nor_global_state(
    indices: list[int], seed: int, draw: int, bystander: int, data: st.DataObject
) -> None:
    together = noise_of(indices, seed=seed, draw=draw)
    shuffled = data.draw(st.permutations(range(len(indices))))
    torch.manual_seed(bystander)
    again = noise_of([indices[i] for i in shuffled], seed=seed, draw=draw)
    for place, i in enumerate(shuffled):
        assert torch.equal(again[place], together[i])
        assert torch.equal(noise_of([indices[i]], seed=seed, draw=draw)[0], together[i])


def test_no_two_of_many_neighbouring_numbers_share_their_noise() -> None:
    numbers = range(16)
    fields = [
        noise_of(list(numbers), seed=seed, draw=draw, side=2).flatten(1)
        for seed, draw in itertools.product(numbers, numbers)
    ]
    assert len(torch.cat(fields).unique(dim=0)) == 16**3  # type: ignore[no-untyped-call]


def test_every_one_of_seed_draw_and_index_names_another_noise() -> None:
    reference = noise_of([0])
    assert not torch.equal(reference, noise_of([1]))
    assert not torch.equal(reference, noise_of([0], draw=1))
    assert not torch.equal(reference, noise_of([0], seed=1))


def test_without_numbers_the_batch_is_counted_from_zero() -> None:
    image, target = batch(3)
    noise = GaussianNoise(0.1)
    assert torch.equal(
        noise(MODEL, image, target), noise(MODEL, image, target, index=torch.arange(3))
    )


def test_a_sweep_scales_one_noise_and_equals_separate_calls() -> None:
    image, target = batch(3, dtype=torch.float64)
    sigmas = [0.0, 0.05, 0.1, 0.4]
    for clip in (False, True):
        noise = GaussianNoise(0.7, clip=clip, seed=3)
        swept = noise.sweep(MODEL, image, target, sigmas, draw=2)
        assert swept.clean_logits is None
        for sigma, found in zip(sigmas, swept.images, strict=True):
            alone = GaussianNoise(sigma, clip=clip, seed=3)(MODEL, image, target, draw=2)
            assert torch.equal(found, alone)
    unclipped = GaussianNoise(1.0).sweep(MODEL, image, target, sigmas).images
    assert torch.equal(unclipped[0], image)
    torch.testing.assert_close((unclipped[3] - image) / 8, unclipped[1] - image)


def test_clipped_noise_is_the_clamp_of_the_unclipped() -> None:
    image, target = batch(4)
    free = GaussianNoise(0.3)(MODEL, image, target)
    clipped = GaussianNoise(0.3, clip=True)(MODEL, image, target)
    assert free.min() < 0
    assert free.max() > 1
    assert torch.equal(clipped, free.clamp(0, 1))
    assert GaussianNoise(0.3).name == "gaussian"
    assert GaussianNoise(0.3, clip=True).name == "gaussian_clipped"


def test_both_precisions_see_the_same_noise() -> None:
    image, target = batch(2)
    single = GaussianNoise(0.2)(MODEL, image, target)
    double = GaussianNoise(0.2)(MODEL, image.double(), target)
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-7)


def test_memory_format_does_not_change_the_noise() -> None:
    image, target = batch(2)
    last = image.contiguous(memory_format=torch.channels_last)
    noise = GaussianNoise(0.2)
    assert torch.equal(noise(MODEL, image, target), noise(MODEL, last, target))


def test_noise_never_asks_the_model() -> None:
    class Refuses(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise AssertionError("noise needs no model")

    image, target = batch(2)
    GaussianNoise(0.1)(Refuses(), image, target)


def test_the_final_check_tells_what_is_allowed() -> None:
    image, target = batch(2)
    with pytest.raises(ConstraintViolated, match=r"image 7 .*allowed is \[-inf, inf\]"):
        GaussianNoise(3e38)(MODEL, image, target, index=torch.tensor([7, 8]))


@pytest.mark.parametrize(
    ("settings_", "named"),
    [
        ({"sigma": -0.1}, "-0.1"),
        ({"sigma": math.nan}, "nan"),
        ({"sigma": "0.1"}, "'0.1'"),
        ({"sigma": 0.1, "seed": 1.5}, "1.5"),
        ({"sigma": 0.1, "bounds": (1.0, 0.0)}, "GaussianNoise: bounds"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings_: dict[str, Any], named: str) -> None:
    with pytest.raises(BcadvError, match=named):
        GaussianNoise(**settings_)
