"""What each corruption does, against other programs and closed forms."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import skimage.color
import torch
from PIL import Image
from scipy import fft, ndimage, stats
from torch import Tensor, nn

from bcadv.perturb.corrupt.base import scale_of
from bcadv.perturb.corrupt.blur import disc_of
from bcadv.perturb.corrupt.catalog import SEVERITIES
from bcadv.perturb.corrupt.elastic import displacement
from bcadv.perturb.corrupt.stain import HED, restained
from bcadv.perturb.random import seeded
from tests.perturb.scenes import corrupted, pixels, scene

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
