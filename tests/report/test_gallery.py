from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcadv.errors import BcadvError
from bcadv.report.gallery import example_triplets, gallery_triplets, triplets_figure
from tests.metrics.tables import fgsm
from tests.outside import ACTING
from tests.report.jobs_on_disk import CLASSES, examples
from tests.report.studies import gallery

KNOWN = {condition.id: condition for condition in map(fgsm, (0, 1, 4))}


def test_gallery_is_divided_and_captioned(tmp_path: Path) -> None:
    arrays = gallery(side=16)
    np.savez(tmp_path / "gallery.npz", **arrays)
    first, last = gallery_triplets(tmp_path / "gallery.npz", 2, KNOWN)
    assert [t.name for t in first] == ["image-0", "image-1"]
    assert [t.name for t in last] == ["image-2", "image-3"]
    assert [t.remark for t in (*first, *last)] == [
        *["the weakest tried that flips it"] * 3,
        "never flipped",
    ]
    figure = triplets_figure(last, CLASSES, "title", synthetic=True)
    original, change, attacked = figure.axes[:3]
    assert original.get_title() == "image-2\ntruly benign"
    assert original.get_xlabel() == "benign 0.953\nright"
    assert attacked.get_title() == "FGSM 1/255\nthe weakest tried that flips it"
    assert attacked.get_xlabel() == "malignant 0.900\nWRONG"
    scale = float(change.get_title().removeprefix("change × "))
    assert scale == pytest.approx(0.5 * 255, rel=0.01)
    assert change.get_xlabel() == "largest: 1/255"
    shown = np.asarray(attacked.images[0].get_array())
    assert np.allclose(shown, arrays["adversarial"][2].transpose(1, 2, 0))
    assert figure.axes[5].get_title().endswith("never flipped")
    assert figure.axes[5].get_xlabel() == "malignant 0.600\nright"


def test_a_gallery_may_be_empty(tmp_path: Path) -> None:
    empty = {name: values[:0] for name, values in gallery(side=16).items()}
    np.savez(tmp_path / "gallery.npz", **empty)
    assert gallery_triplets(tmp_path / "gallery.npz", 2, KNOWN) == ([], [])


def test_a_damaged_gallery_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gallery.npz"
    np.savez(path, image=np.zeros((1, 3, 4, 4), np.uint8))
    with pytest.raises(BcadvError, match=r"gallery\.npz lacks the array.*flipped"):
        gallery_triplets(path, 2, KNOWN)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BcadvError, match=r"gallery\.npz cannot be read"):
        gallery_triplets(path, 2, KNOWN)


def test_examples_of_one_attack_have_its_images_and_probabilities() -> None:
    arrays: dict[str, Any] = examples([fgsm(0), fgsm(1), fgsm(4)], side=16)
    triplets = example_triplets(arrays, 2, KNOWN)
    assert [(t.target, t.condition) for t in triplets] == [(0, fgsm(4)), (1, fgsm(4))]
    for i, triplet in enumerate(triplets):
        assert np.array_equal(triplet.attacked, arrays["adversarial"][2, i])
        assert np.array_equal(triplet.prob_attacked, arrays["prob_adversarial"][2, i])
        assert np.array_equal(triplet.clean, arrays["image"][i] / 255)


def test_names_too_long_for_a_heading_are_cut() -> None:
    (triplet, *_) = example_triplets(examples([fgsm(0), fgsm(1)], side=16), 1, KNOWN)
    long = triplet.__class__(**(vars(triplet) | {"name": "x" * 60}))
    figure = triplets_figure([long], CLASSES, "title", synthetic=False)
    assert len(figure.axes[0].get_title().splitlines()[0]) <= 24


@pytest.mark.parametrize(("name", "escaped"), ACTING.values(), ids=ACTING)
def test_file_names_that_act_are_escapes_in_a_heading(
    tmp_path: Path, name: str, escaped: str
) -> None:
    arrays = gallery(side=16)
    # Not at the end: numpy drops what it pads with.
    arrays["image_id"] = np.array([f"{name}."] * 4)
    np.savez(tmp_path / "gallery.npz", **arrays)
    first, _ = gallery_triplets(tmp_path / "gallery.npz", 2, KNOWN)
    figure = triplets_figure(first, [name, name], "title", synthetic=False)
    assert figure.axes[0].get_title() == f"{escaped}.\ntruly {escaped}"
    assert figure.axes[0].get_xlabel() == f"{escaped} 0.953\nright"


def test_pictures_of_an_unknown_condition_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "gallery.npz", **gallery(side=16))
    with pytest.raises(BcadvError, match="about fgsm_linf_1, which the job's results do not know"):
        gallery_triplets(tmp_path / "gallery.npz", 2, {})
