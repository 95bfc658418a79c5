"""Every corruption of the catalog keeps every corruption's promises, and does what it says."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import skimage.color
import torch
from PIL import Image
from scipy import fft, ndimage, stats
from torch import Tensor, nn

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.corrupt.base import Corruption, scale_of
from bcadv.perturb.corrupt.blur import disc_of
from bcadv.perturb.corrupt.catalog import ALL, CORRUPTIONS, SEVERITIES, build, spelt_out
from bcadv.perturb.corrupt.elastic import displacement
from bcadv.perturb.corrupt.stain import HED, restained
from bcadv.perturb.random import seeded
from tests.perturb.test_catalog import world

MODEL = nn.Identity()
every = pytest.mark.parametrize("name", CORRUPTIONS)


def scene(size: int, side: int = 56, *, seed: int = 0, channels: int = 3) -> Tensor:
    """Smooth blobs with black, white and saturated parts, (size, channels, side, side + 8)."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(size, channels, 9, 9, generator=random)
    fine = torch.rand(size, channels, side, side + 8, generator=random)
    smooth = nn.functional.interpolate(coarse, (side, side + 8), mode="bicubic")
    return ((smooth - 0.5) * 1.6 + 0.5 + 0.2 * (fine - 0.5)).clamp(0, 1)


def corrupted(name: str, image: Tensor, severity: float, **more: Any) -> Tensor:
    seed = more.pop("seed", 0)
    target = torch.zeros(len(image), dtype=torch.int64)
    return build(name, severity, seed=seed)(MODEL, image, target, **more)


def pixels(image: Tensor) -> Any:
    """(channels, height, width) -> float64 array (height, width, channels)."""
    return image.double().permute(1, 2, 0).numpy()


@every
def test_a_row_names_its_class(name: str) -> None:
    row = CORRUPTIONS[name]
    made = build(name, 3)
    assert isinstance(made, Corruption)
    assert isinstance(made, CheckedPerturbation)
    assert (row.name, made.name, made.strength, made.bounds) == (name, name, 3, (0, 1))
    assert made.with_strength(5) == build(name, 5)
    assert row.words.endswith(".")
    assert "20" in row.source
    assert name not in ATTACKS


@every
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_stays_in_the_box_and_severity_0_is_the_image(
    name: str, channels: int, dtype: torch.dtype
) -> None:
    if channels not in build(name).channels:
        pytest.skip("refused, see below")
    image = scene(2, channels=channels).to(dtype)
    image[0, :, :4] = 0
    image[0, :, -4:] = 1
    target = torch.zeros(2, dtype=torch.int64)
    found = build(name).sweep(MODEL, image, target, [0, *SEVERITIES]).images
    assert torch.equal(found[0], image)
    assert found[0] is not image
    for made in found[1:]:
        assert made.dtype == dtype
        assert made.min() >= 0
        assert made.max() <= 1
        assert bool((made != image).flatten(1).any(1).all())


@every
def test_a_larger_severity_is_a_larger_change(name: str) -> None:
    image = scene(6, side=112)
    found = build(name).sweep(MODEL, image, torch.zeros(6, dtype=torch.int64), SEVERITIES).images
    change = [float((made - image).square().mean().sqrt()) for made in found]
    assert change == sorted(change)
    assert change[0] > 0.003
    assert change[-1] > 1.3 * change[0]


@every
def test_an_image_sees_neither_neighbours_nor_order_nor_global_state(name: str) -> None:
    image, index = scene(3, side=32), torch.tensor([7, 3, 2**40])
    whole = corrupted(name, image, 4, index=index, seed=5, draw=1)
    torch.manual_seed(99)
    turned = corrupted(name, image.flip(0), 4, index=index.flip(0), seed=5, draw=1)
    assert torch.equal(turned.flip(0), whole)
    for i in range(3):
        alone = corrupted(name, image[i : i + 1], 4, index=index[i : i + 1], seed=5, draw=1)
        assert torch.equal(alone[0], whole[i])


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "shot_noise", "impulse_noise", "elastic", "stain"]
)
def test_every_one_of_seed_draw_and_index_names_another_change(name: str) -> None:
    image = scene(1, side=32)
    made = [
        corrupted(name, image, 2),
        corrupted(name, image, 2, seed=1),
        corrupted(name, image, 2, draw=1),
        corrupted(name, image, 2, index=torch.tensor([1])),
    ]
    assert len(torch.cat(made).unique(dim=0)) == 4  # type: ignore[no-untyped-call]


@every
def test_the_callers_world_is_left_as_it_was(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).train()
    image = scene(2, side=32)
    kept, before = image.clone(), world(model)
    with torch.inference_mode():
        build(name, 3)(model, image, torch.zeros(2, dtype=torch.int64))
    assert torch.equal(image, kept)
    after = world(model)
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert before[1:4] == after[1:4]
    assert torch.equal(before[4], after[4])


@every
@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (1, 3, 4, 9), (1, 3, 1, 1)])
def test_nothing_and_tiny_images_come_back_in_their_shape(
    name: str, shape: tuple[int, ...]
) -> None:
    assert corrupted(name, torch.full(shape, 0.4), 5).shape == shape


@every
def test_a_sweep_equals_separate_calls(name: str) -> None:
    image = scene(2, side=32)
    swept = build(name, 1).sweep(MODEL, image, torch.zeros(2, dtype=torch.int64), [5, 0, 2])
    for severity, found in zip([5, 0, 2], swept.images, strict=True):
        assert torch.equal(found, corrupted(name, image, severity))


@pytest.mark.parametrize("severity", [-1, 6, 2.5, math.nan, True, "3"])
def test_a_severity_that_is_none_is_refused(severity: Any) -> None:
    with pytest.raises(BcadvError, match=r"jpeg: severity is .*from 1 to 5"):
        build("jpeg", severity)


def test_a_seed_that_is_no_number_is_refused() -> None:
    with pytest.raises(BcadvError, match=r"seed is 1\.5"):
        build("jpeg", 1, seed=1.5)  # type: ignore[arg-type]


@every
@pytest.mark.parametrize("channels", [1, 4])
def test_channels_that_mean_nothing_to_it_are_refused(name: str, channels: int) -> None:
    image = scene(1, side=32, channels=channels)
    if channels in build(name).channels:
        corrupted(name, image, 1)
        return
    with pytest.raises(BcadvError, match=rf"^{name}: the images have {channels} channel.*Leave"):
        corrupted(name, image, 1)


def test_what_leaves_the_box_or_is_no_number_is_refused() -> None:
    made, image, index = build("contrast", 1), scene(2, side=32), torch.tensor([4, 9])
    for value in (1.01, -0.01, math.nan):
        wrong = image.clone()
        wrong[1, 0, 3, 3] = value
        with pytest.raises(ConstraintViolated, match="contrast of severity 1 left image 9"):
            made._verify(wrong, image, index)


def test_all_suits_the_images() -> None:
    names = tuple(CORRUPTIONS)
    assert spelt_out((ALL,), stained=True) == names
    plain = spelt_out((ALL,), stained=False)
    assert set(names) - set(plain) == {"stain"}
    assert spelt_out(("stain", ALL), stained=False) == ("stain", *plain)
    assert spelt_out((), stained=True) == ()


def test_the_catalog_loads_no_torch() -> None:
    code = "import sys, bcadv.perturb.corrupt.catalog; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- what each does, against other programs and closed forms ----

SIGMAS = (0.08, 0.12, 0.18, 0.26, 0.38)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixel_noise_is_gaussian_with_the_published_sigma(severity: int) -> None:
    image = torch.full((1, 3, 120, 120), 0.5)
    image[:, 0] += 1e-3  # no grey image
    made = (corrupted("gaussian_noise", image, severity) - image).double().numpy().ravel()
    sigma = SIGMAS[severity - 1]
    inside = made[np.abs(made) < 0.49]  # elsewhere it is clamped
    cut = stats.truncnorm(-0.49 / sigma, 0.49 / sigma, scale=sigma)
    assert stats.kstest(inside, cut.cdf).pvalue > 1e-3


@pytest.mark.parametrize("severity", SEVERITIES)
def test_shot_noise_counts_photons(severity: int) -> None:
    photons = (60, 25, 12, 5, 3)[severity - 1]
    image = torch.full((1, 3, 150, 150), 0.3)
    image[:, 0] = 0.3001
    counts = corrupted("shot_noise", image, severity).double().numpy().ravel() * photons
    assert np.allclose(counts, counts.round(), atol=1e-4)
    observed = np.bincount(counts.round().astype(int), minlength=photons + 1)
    law = stats.poisson(0.3 * photons)
    # Whatever is brighter than white is white.
    expected = np.append(law.pmf(np.arange(photons)), law.sf(photons - 1)) * counts.size
    often = expected > 20
    seen, awaited = (np.append(x[often], x[~often].sum() + 20) for x in (observed, expected))
    assert stats.chisquare(seen, awaited, sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulse_noise_has_the_published_share(severity: int) -> None:
    image = scene(1, side=200).clamp(0.1, 0.9)
    made = corrupted("impulse_noise", image, severity)
    share, count = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1], image.numel()
    for end in (0.0, 1.0):
        assert stats.binomtest(int((made == end).sum()), count, share / 2).pvalue > 1e-3
    assert torch.equal(*(x[(made != 0) & (made != 1)] for x in (made, image)))


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise"])
def test_noise_of_a_grey_image_is_grey(name: str) -> None:
    grey = scene(1, side=32, channels=1)
    made = corrupted(name, grey.expand(1, 3, 32, 40), 3)
    assert torch.equal(made, corrupted(name, grey, 3).expand_as(made))
    coloured = corrupted(name, scene(1, side=32), 3)
    assert not torch.equal(coloured[:, 0], coloured[:, 1])


@pytest.mark.parametrize("side", [56, 224])
def test_gaussian_blur_is_scipys(side: int) -> None:
    image = scene(1, side=side)[0]
    for severity, sigma in zip(SEVERITIES, (1, 2, 3, 4, 6), strict=True):
        scaled = sigma * side / 224
        ours = corrupted("gaussian_blur", image[None], severity)[0]
        theirs = ndimage.gaussian_filter(
            image.double().numpy(),
            (0, scaled, scaled),
            mode="mirror",
            radius=(0, *[max(1, math.ceil(4 * scaled))] * 2),
        )
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_defocus_blur_is_scipys_convolution_with_a_disc(severity: int) -> None:
    image = scene(1, side=112)[0]
    radius = (3, 4, 6, 8, 10)[severity - 1] / 2
    # Shares of pixels inside, counted on a fine grid.
    reach = math.ceil(radius)
    fine = (np.arange((2 * reach + 1) * 41) + 0.5) / 41 - reach - 0.5
    inside = (np.hypot(fine[:, None], fine[None]) < radius).reshape(2 * reach + 1, 41, -1, 41)
    disc = inside.mean((1, 3))
    disc /= disc.sum()
    assert np.abs(disc_of(radius).numpy() - disc).max() < 0.13 * disc.max()
    ours = corrupted("defocus_blur", image[None], severity)[0].numpy()
    exact = ndimage.convolve(image.double().numpy(), disc_of(radius).numpy()[None], mode="mirror")
    np.testing.assert_allclose(ours, exact, atol=2e-6)
    theirs = ndimage.convolve(image.double().numpy(), disc[None], mode="mirror")
    assert np.abs(ours - theirs).max() < 0.01


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_raises_the_value_in_hsv(severity: int) -> None:
    image = scene(1)[0]
    image[:, :3] = 0
    hsv = skimage.color.rgb2hsv(pixels(image))
    hsv[..., 2] = np.clip(hsv[..., 2] + severity / 10, 0, 1)
    ours = corrupted("brightness", image[None], severity)[0]
    np.testing.assert_allclose(pixels(ours), skimage.color.hsv2rgb(hsv), atol=1e-6)


def test_contrast_keeps_the_mean_of_each_channel_and_scales_what_is_around_it() -> None:
    image = scene(1).double()
    mean = image.mean((2, 3), keepdim=True)
    for severity, factor in zip(SEVERITIES, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True):
        made = corrupted("contrast", image, severity)
        torch.testing.assert_close(made.mean((2, 3), keepdim=True), mean)
        torch.testing.assert_close(made.std((2, 3)), factor * image.std((2, 3)))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_rounds_the_cosines_of_blocks_to_the_steps_of_its_quality(severity: int) -> None:
    image = scene(1, side=64, channels=1)[0]
    quality = (25, 18, 15, 10, 7)[severity - 1]
    steps = np.clip((luminance_steps() * (5000 // quality) + 50) // 100, 1, 255)
    levels = (image[0] * 255).round().double().numpy() - 128
    blocks = levels.reshape(8, 8, 9, 8).swapaxes(1, 2)
    cosines = fft.dctn(blocks, axes=(2, 3), norm="ortho")
    stored = fft.idctn((cosines / steps).round() * steps, axes=(2, 3), norm="ortho")
    theirs = np.clip(stored.swapaxes(1, 2).reshape(64, 72) + 128, 0, 255)
    ours = 255 * corrupted("jpeg", image[None], severity)[0, 0].double().numpy()
    assert np.abs(ours - theirs).mean() < 0.5
    # libjpeg works with whole numbers, so a cosine near half a step may go the other way.
    assert np.mean(np.abs(ours - theirs) > 1.5) < 0.05


def luminance_steps() -> Any:
    """Table K.1 of the standard, which quality 50 stands for."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=50)
    table = np.array(Image.open(file).quantization[0]).reshape(8, 8)  # type: ignore[attr-defined]
    assert table[0].tolist() == [16, 11, 10, 16, 24, 40, 51, 61]
    return table


def test_jpeg_keeps_colours_apart_and_grey_grey() -> None:
    image = scene(1, side=64)
    luminance = torch.tensor([0.299, 0.587, 0.114])
    grey, made = (
        torch.einsum("nchw,c->nhw", x, luminance) for x in (image, corrupted("jpeg", image, 1))
    )
    alone = corrupted("jpeg", grey[:, None], 1)
    assert (made - alone[:, 0]).abs().mean() < 4 / 255
    same = corrupted("jpeg", grey[:, None].expand(1, 3, 64, 72), 1)
    torch.testing.assert_close(same, alone.expand_as(same), atol=1.01 / 255, rtol=0)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelation_is_pillows_box(severity: int) -> None:
    image = scene(1, side=64)[0, :, :, :64]  # a power of two: no centre lies on an edge
    small = [int(64 * (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1])] * 2
    channels = [
        np.asarray(
            Image.fromarray(plane.numpy())
            .resize(small, Image.Resampling.BOX)
            .resize((64, 64), Image.Resampling.BOX)
        )
        for plane in image
    ]
    ours = corrupted("pixelate", image[None], severity)[0].numpy()
    np.testing.assert_allclose(ours, np.stack(channels), atol=1e-6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_deformation_is_scipys_interpolation_at_moved_places(severity: int) -> None:
    image = scene(1, side=112)[0]
    rms = (0.3, 0.5, 0.81, 1.14, 1.95)[severity - 1] / 2
    field = displacement((112, 120), 1.22, seeded(0, 0, 0)).numpy().astype(float)
    np.testing.assert_allclose(np.sqrt((field**2).mean((1, 2))), 1, atol=1e-5)
    places = np.mgrid[:112, :120] + rms * field
    theirs = [
        ndimage.map_coordinates(plane.double().numpy(), places, order=1, mode="reflect")
        for plane in image
    ]
    ours = corrupted("elastic", image[None], severity)[0].numpy()
    np.testing.assert_allclose(ours, np.stack(theirs), atol=1e-4)


def test_a_displacement_is_smooth_and_of_no_direction() -> None:
    fields = torch.stack([displacement((64, 64), 2.44, seeded(n)) for n in range(40)]).double()
    step = (fields[..., 1:] - fields[..., :-1]).square().mean().sqrt()
    # Of a Gaussian-smoothed white field: correlation exp(-1 / (4 sigma^2)) from pixel to pixel.
    assert step == pytest.approx(math.sqrt(2 - 2 * math.exp(-1 / (4 * 2.44**2))), rel=0.05)
    assert abs(fields.mean((2, 3))).mean() < 0.2


def test_stain_shift_is_skimages_deconvolution() -> None:
    random = np.random.default_rng(0)
    stains = random.uniform(0, [0.12, 0.1, 0.02], (20, 24, 3))
    image = torch.from_numpy(skimage.color.hed2rgb(stains)).permute(2, 0, 1)
    # Its stains are in units of six decades of light, and their colours are not of length 1.
    length = np.linalg.norm(HED, axis=1)
    scale, shift = np.array([1.2, 0.9, 1.0]), np.array([0.05, 0.02, 0.0])
    ours = restained(image, torch.from_numpy(scale), torch.from_numpy(shift)).clamp(0, 1)
    theirs = skimage.color.hed2rgb(stains * scale + shift / length / 6)
    np.testing.assert_allclose(pixels(ours), theirs, atol=1e-9)
    same = restained(image, torch.ones(3), torch.zeros(3))
    torch.testing.assert_close(same, image)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_stain_shift_scales_and_shifts_two_amounts_and_leaves_the_third(severity: int) -> None:
    image = torch.from_numpy(
        skimage.color.hed2rgb(np.random.default_rng(1).uniform(0.02, 0.06, (16, 16, 3)))
    ).permute(2, 0, 1)
    colours = np.array(HED) / np.linalg.norm(HED, axis=1, keepdims=True)

    def amounts(rgb: Tensor) -> Any:
        return np.linalg.solve(colours.T, -np.log10(rgb.double().numpy()).reshape(3, -1))

    limit = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    found = []
    for number in range(40):
        made = corrupted("stain", image[None], severity, index=torch.tensor([number]))[0]
        if made.max() == 1:
            continue  # clamped
        before, after = amounts(image), amounts(made)
        np.testing.assert_allclose(after[2], before[2], atol=1e-7)
        for stain in (0, 1):
            slope, offset = np.polyfit(before[stain], after[stain], 1)
            np.testing.assert_allclose(after[stain], slope * before[stain] + offset, atol=1e-7)
            found.append(((slope - 1) / limit, offset / limit))
    assert len(found) > 20
    assert np.abs(found).max() <= 1 + 1e-6
    assert np.abs(np.array(found)).max(0) == pytest.approx([1, 1], abs=0.2)


def test_lengths_grow_with_the_shorter_side() -> None:
    assert scale_of(torch.zeros(3, 112, 300)) == 0.5
    # The same scene at twice the size, blurred, is the blurred scene at twice the size.
    image = scene(1, side=112)[..., :112]
    twice = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
    for name in ("gaussian_blur", "defocus_blur"):
        small, large = (corrupted(name, x, 5) for x in (image, twice))
        pooled = nn.functional.avg_pool2d(large, 2)
        assert float((pooled - small).abs().mean()) < 0.05 * float((small - image).abs().mean())
