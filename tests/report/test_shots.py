"""The example images of one model, and the pictures that are made of them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bcadv.errors import BcadvError
from bcadv.report.encoded import amplified, factor_of, uris
from bcadv.results.condition import CLEAN
from bcadv.study.jobs import Job, load_job
from bcadv.study.shots import Shot, shots_of
from tests.metrics.tables import fgsm
from tests.report.jobs_on_disk import examples, rewrite, write_job


def keep(folder: Path, arrays: dict[str, Any]) -> Job:
    np.savez(folder / "examples.npz", **arrays)
    rewrite(folder)
    return load_job(folder)


def pixels(uri: str) -> Any:
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"), validate=True)
    return np.moveaxis(np.asarray(Image.open(io.BytesIO(data)), dtype=float), -1, 0)


def test_a_change_is_amplified_alike_at_every_strength_and_never_clipped() -> None:
    kept = examples(list(map(fgsm, (0.5, 3, 8))), side=16)
    clean = kept["image"] / 255
    answers = (kept["prediction"], kept["prob_clean"])
    shots = [Shot(CLEAN, clean, *answers)]
    shots += [Shot(fgsm(8), image, *answers) for image in kept["adversarial"]]
    for n, factor in ((4, 15), (3, 42), (2, 255)):
        assert factor_of(shots[:n], 0) == factor
    # 42.5 times 3 grey levels would just fit; a whole number is easier to say.
    seen = amplified(shots[2].image[0] - clean[0], 42)
    changed = np.abs(255 * (shots[2].image[0] - clean[0])).round() == 3
    assert changed.mean() > 0.5
    assert np.allclose(np.abs(seen - 0.5)[changed], 42 * 3 / 255, atol=1e-4)
    assert seen.min() >= 0
    assert seen.max() <= 1
    far = [shots[0], Shot(fgsm(255), 1 - clean, *answers)]
    whole = amplified(far[1].image[0] - clean[0], factor_of(far, 0))
    assert whole.min() >= 0
    assert whole.max() <= 1
    assert factor_of([shots[0]] * 2, 0) > 0
    assert (pixels(uris([shots[0]] * 2, [1.0] * 4)[1][0][1]) == 128).all()


def test_a_small_change_is_not_averaged_away_in_a_smaller_picture() -> None:
    checks = np.indices((1, 3, 448, 448)).sum(axis=0) % 2 * 2 - 1.0
    clean = np.full(checks.shape, 0.5)
    answers = (np.zeros(1, int), np.ones((1, 1)))
    # Every second pixel of a board is of one colour.
    shots = [Shot(CLEAN, clean, *answers), Shot(fgsm(8), clean + 8 / 255 * checks, *answers)]
    shown = pixels(uris(shots, [15.0])[1][0][1])
    assert shown.shape[1:] == (224, 224)
    assert np.abs(np.abs(shown - 127.5) - 15 * 8).mean() < 8


def test_an_image_that_is_right_without_attack_comes_first(tmp_path: Path) -> None:
    write_job(tmp_path / "it", eps_px=(4,))
    kept = examples([fgsm(4)], side=8)
    # Of class 0 only the second image is right, of class 1 none is.
    job = keep(tmp_path / "it", kept | {"prediction": np.array([1, 0, 0, 0])})
    shots, target, index = shots_of([job])
    assert target.tolist() == [1, 0]  # the disease first
    assert index.tolist() == [17, 120]
    assert np.array_equal(shots[1].image, kept["adversarial"][0, [1, 2]])


def test_the_jobs_of_a_sweep_are_united(tmp_path: Path) -> None:
    strengths = (8, 1, 4)
    jobs = []
    for eps in strengths:
        write_job(tmp_path / str(eps), eps_px=(eps,), fingerprint="same")
        jobs.append(load_job(tmp_path / str(eps)))
    write_job(tmp_path / "other", eps_px=(2,), weights="others", fingerprint="others")
    other = load_job(tmp_path / "other")
    assert [shot.condition.strength for shot in shots_of([*jobs, other])[0]] == [0, 1, 4, 8]
    # Other images under the same numbers are not those that the first job shows.
    kept = dict(np.load(jobs[1].folder / "examples.npz"))
    strange = keep(jobs[1].folder, kept | {"image": 255 - kept["image"]})
    shots, *_ = shots_of([jobs[0], strange, jobs[2]])
    assert [shot.condition.strength for shot in shots] == [0, 4, 8]


def test_damaged_images_are_named(tmp_path: Path) -> None:
    write_job(tmp_path / "it", eps_px=(4,))
    kept = examples([fgsm(3)], side=8)
    job = keep(tmp_path / "it", kept)
    with pytest.raises(BcadvError, match=r"fgsm_linf_3, which the job's results do not know"):
        shots_of([job])
    job = keep(tmp_path / "it", kept | {"target": np.array([0, 1, 0, 9])})
    with pytest.raises(BcadvError, match=r"examples\.npz has class 9"):
        shots_of([job])
