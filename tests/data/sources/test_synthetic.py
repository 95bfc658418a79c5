from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from bcadv.data.records import BENIGN_SUBTYPES, MALIGNANT_SUBTYPES, parse_name
from bcadv.data.sources import tissue
from bcadv.data.sources.synthetic import FIRST_CASE, image_path, subtype_of, write_tree
from bcadv.errors import BcadvError

SUBTYPES = (*BENIGN_SUBTYPES, *MALIGNANT_SUBTYPES)
FloatArray = npt.NDArray[np.float64]


def small_tree(root: Path, *, n_patients: int = 3, images_per_patient: int = 2) -> Path:
    return write_tree(
        root,
        n_patients=n_patients,
        images_per_patient=images_per_patient,
        seed=3,
        height=32,
        width=48,
        progress=False,
    )


def pngs(tree: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(tree.rglob("*.png"))}


def painted(subtype: str, *, seed: int = 0, height: int = 40, width: int = 56) -> FloatArray:
    stain = tissue.Stain.draw(np.random.default_rng(99))
    rng = np.random.default_rng(seed)
    image = tissue.paint(rng, subtype=subtype, stain=stain, height=height, width=width)
    assert image.dtype == np.uint8
    return image.astype(np.float64)


# One image.


@settings(max_examples=12)
@given(st.sampled_from(SUBTYPES), st.integers(32, 90), st.integers(32, 90), st.integers(0, 2**32))
def test_every_size_and_subtype_can_be_painted(
    subtype: str, height: int, width: int, seed: int
) -> None:
    image = painted(subtype, seed=seed, height=height, width=width)
    assert image.shape == (height, width, 3)
    assert image.std(axis=(0, 1)).min() > 5  # a picture, not a plain colour


def test_same_numbers_same_picture_other_numbers_another() -> None:
    assert np.array_equal(painted("DC", seed=1), painted("DC", seed=1))
    assert not np.array_equal(painted("DC", seed=1), painted("DC", seed=2))


def test_an_unknown_subtype_is_refused() -> None:
    with pytest.raises(BcadvError, match="'XX'"):
        painted("XX")


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_mean_light_is_the_stains_whatever_the_tissue(subtype: str) -> None:
    for seed in range(3):
        stain = tissue.Stain.draw(np.random.default_rng(seed))
        rng = np.random.default_rng([5, seed])
        image = tissue.paint(rng, subtype=subtype, stain=stain, height=64, width=96)
        light = image.mean(axis=(0, 1))[:2] / 255
        assert np.allclose(light, stain.light, atol=0.09)


# Can the classes be told apart, and by what?


@pytest.fixture(scope="module")
def pictures() -> tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Images in [0, 1], class (1 malignant) and patient, as the main experiment selects them."""
    jobs = [(patient, image) for patient in range(24) for image in (1, 2, 3, 4)]
    images = [
        tissue.paint(
            np.random.default_rng([11, patient, image]),
            subtype=subtype_of(patient),
            stain=tissue.Stain.draw(np.random.default_rng([11, patient])),
            height=92,
            width=140,
        )
        for patient, image in jobs
    ]
    patients = np.array([patient for patient, _ in jobs])
    malignant = np.array([subtype_of(int(p)) in MALIGNANT_SUBTYPES for p in patients])
    return np.stack(images) / 255.0, malignant.astype(np.int64), patients


def separability(
    features: FloatArray, target: npt.NDArray[np.int64], patients: npt.NDArray[np.int64]
) -> float:
    """Balanced accuracy of a ridge classifier, always on patients that it has not seen."""
    predicted = np.empty_like(target)
    for fold in range(6):
        test = patients % 6 == fold
        mean, spread = features[~test].mean(axis=0), features[~test].std(axis=0)
        x = np.column_stack([(features - mean) / spread, np.ones(len(features))])
        sign = 2.0 * target - 1
        weight = np.where(target == 1, 1 / target.mean(), 1 / (1 - target.mean()))[:, None]
        left = (x[~test] * weight[~test]).T @ x[~test] + 0.1 * np.eye(x.shape[1])
        coefficients = np.linalg.solve(left, (x[~test] * weight[~test]).T @ sign[~test])
        predicted[test] = x[test] @ coefficients > 0
    return float(np.mean([(predicted[target == c] == c).mean() for c in (0, 1)]))


def test_mean_colour_does_not_tell_the_classes_apart(
    pictures: tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> None:
    images, target, patients = pictures
    assert separability(images.mean(axis=(1, 2)), target, patients) < 0.7


def test_under_one_stain_both_classes_have_the_same_mean_colour() -> None:
    gaps = []
    for seed in range(16):
        stain = tissue.Stain.draw(np.random.default_rng(seed))
        benign, malignant = (
            tissue.paint(
                np.random.default_rng([6, seed]), subtype=subtype, stain=stain, height=64, width=96
            ).mean(axis=(0, 1))
            for subtype in (BENIGN_SUBTYPES[seed % 4], "DC")
        )
        gaps.append((malignant - benign) / 255)
    assert np.all(np.abs(np.mean(gaps, axis=0)) < 0.03)  # patients lie 0.05 apart


def test_texture_does(
    pictures: tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> None:
    images, target, patients = pictures
    bands, fine = [], np.log(images[..., 0] + 0.05)
    for sigma in (0.7, 1.4, 2.8, 5.6):
        coarse = ndimage.gaussian_filter(fine, (0, sigma, sigma))
        bands.append(np.log((fine - coarse).var(axis=(1, 2))))
        fine = coarse
    assert separability(np.stack(bands, axis=1), target, patients) > 0.93


# Who has what.


@given(st.integers(24, 400))
def test_mix_of_subtypes(n_patients: int) -> None:
    mix = Counter(map(subtype_of, range(n_patients)))
    benign = sum(mix[subtype] for subtype in BENIGN_SUBTYPES)
    others = n_patients - benign - mix["DC"]
    assert others == (n_patients - 24) // 4
    assert abs(benign / (benign + mix["DC"]) - 5 / 12) < 0.05  # 644 of 1547 in Li & Liu 2023
    if n_patients >= 40:
        assert set(mix) == set(SUBTYPES)


def test_two_patients_are_enough_for_both_classes() -> None:
    assert subtype_of(0) in BENIGN_SUBTYPES
    assert subtype_of(1) in MALIGNANT_SUBTYPES


@given(st.integers(0, 9998), st.integers(1, 999))
def test_names_are_official(patient: int, image: int) -> None:
    path = image_path(patient, image)
    name = parse_name(path.name)
    assert name.subtype == subtype_of(patient)
    assert name.malignant == (path.parts[3] == "malignant")
    assert (name.magnification, name.sequence) == (100, image)
    assert name.patient == f"14-{FIRST_CASE + patient}"
    assert path.parts[-3] == f"SOB_{'M' if name.malignant else 'B'}_{name.subtype}_{name.slide}"


@pytest.mark.shared_data
def test_tree_and_case_numbers_beside_the_real_ones(shared_data: Path) -> None:
    lists = (shared_data / "breakhis_folds").glob("dsfold*.txt")
    lines = [line for file in lists for line in file.read_text().splitlines() if line]
    real = {parse_name(line.split("|")[0]) for line in lines}
    assert real
    assert max(int(name.number) for name in real) < FIRST_CASE

    tree = shared_data / "breakhis_100x_half"
    folders = {path.relative_to(tree).parent.parent.parent for path in tree.rglob("*.png")}
    assert folders == {image_path(patient, 1).parent.parent.parent for patient in range(40)}


# The tree.


def test_same_arguments_same_bytes_and_more_images_change_none(tmp_path: Path) -> None:
    first = pngs(small_tree(tmp_path / "a"))
    assert len(first) == 6
    assert first == pngs(small_tree(tmp_path / "b"))
    more = pngs(small_tree(tmp_path / "c", n_patients=4, images_per_patient=3))
    assert len(more) == 12
    assert {name: more[name] for name in first} == first
    assert len(set(more.values())) == 12


def test_every_patient_has_a_stain_of_their_own(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, n_patients=6, images_per_patient=3)
    means: dict[str, list[FloatArray]] = {}
    for path in sorted(tree.rglob("*.png")):
        with Image.open(path) as image:
            colour = np.asarray(image, dtype=np.float64).mean(axis=(0, 1))
        means.setdefault(parse_name(path.name).patient, []).append(colour)
    grouped = np.array(list(means.values()))
    assert grouped.shape == (6, 3, 3)
    assert np.all(grouped.mean(axis=1).std(axis=0) > 1.5 * grouped.std(axis=1).mean(axis=0))


def test_every_file_says_that_it_is_synthetic(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    for path in tree.rglob("*.png"):
        with Image.open(path) as image:
            assert image.size == (48, 32)
            assert str(image.info["Description"]).startswith("SYNTHETIC")
    assert (tree / "SYNTHETIC.txt").read_text(encoding="utf-8").startswith("SYNTHETIC")


def test_a_finished_tree_is_reused_and_other_arguments_get_another(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    assert small_tree(tmp_path) == tree
    other = small_tree(tmp_path, n_patients=2)
    assert other != tree
    assert before == {path: path.stat().st_mtime_ns for path in tree.rglob("*")}


def test_a_tree_that_lost_an_image_is_not_reused(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    next(tree.rglob("*.png")).unlink()
    with pytest.raises(BcadvError, match="5 of 6"):
        small_tree(tmp_path)


def test_killed_half_way_leaves_no_tree(tmp_path: Path) -> None:
    arguments = "n_patients=12, images_per_patient=6, seed=3, height=40, width=56, progress=False"
    call = f"write_tree(Path({str(tmp_path)!r}), {arguments})"
    code = f"from pathlib import Path; from bcadv.data.sources.synthetic import write_tree; {call}"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not any(tmp_path.rglob("*.png")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".")
    assert len(pngs(leftover)) < 72

    long_ago = time.time() - 86400
    os.utime(leftover, (long_ago, long_ago))
    tree = write_tree(
        tmp_path,
        n_patients=12,
        images_per_patient=6,
        seed=3,
        height=40,
        width=56,
        progress=False,
    )
    assert len(pngs(tree)) == 72
    assert list(tmp_path.iterdir()) == [tree]


def test_an_error_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint = tissue.paint
    calls = iter(range(100))

    def full_disk(*args: object, **kwargs: object) -> npt.NDArray[np.uint8]:
        if next(calls) == 3:
            raise OSError("no space left")
        return paint(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(tissue, "paint", full_disk)
    with pytest.raises(OSError, match="no space left"):
        small_tree(tmp_path)
    assert not list(tmp_path.iterdir())


def test_two_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        trees = list(pool.map(small_tree, [tmp_path, tmp_path]))
    assert trees[0] == trees[1]
    assert list(tmp_path.iterdir()) == [trees[0]]
    assert len(pngs(trees[0])) == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_patients", 1),
        ("n_patients", 10_000),
        ("images_per_patient", 0),
        ("images_per_patient", 1000),
        ("seed", -1),
        ("height", 31),
        ("width", 31),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, name: str, value: int) -> None:
    arguments = {"n_patients": 2, "images_per_patient": 1, "seed": 0, "height": 32, "width": 32}
    with pytest.raises(BcadvError, match=f"{name}={value}"):
        write_tree(tmp_path, progress=False, **{**arguments, name: value})
    assert not list(tmp_path.iterdir())
