from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcadv.errors import BcadvError
from bcadv.study.photographs import gallery_triplets, load_examples
from tests.metrics.tables import fgsm
from tests.report.jobs_on_disk import examples
from tests.report.studies import gallery

KNOWN = {condition.id: condition for condition in map(fgsm, (0, 1, 4))}
Change = Callable[[dict[str, Any]], None]
READERS: dict[str, Callable[[Path, int], object]] = {
    "examples.npz": load_examples,
    "gallery.npz": lambda path, classes: gallery_triplets(path, classes, KNOWN),
}
MADE: dict[str, Callable[[], dict[str, Any]]] = {
    "examples.npz": lambda: examples(list(KNOWN.values()), side=8),
    "gallery.npz": lambda: gallery(side=8),
}


def _put(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda arrays: arrays.update({name: change(arrays[name])})


def _nan(array: Any) -> Any:
    array = array.astype(float)
    array.flat[0] = np.nan
    return array


CHANGES: dict[str, tuple[Change, str]] = {
    "absent": (lambda arrays: arrays.pop("prob_clean"), "lacks the array.*prob_clean"),
    "text": (_put("prob_clean", lambda a: a.astype(str)), "prob_clean .* type .U32, not float"),
    "objects": (_put("target", lambda a: a.astype(object)), "no archive of plain arrays"),
    "float image": (_put("image", lambda a: a / 255), "image .* type float64, not uint8"),
    "float target": (_put("target", lambda a: a / 2), "target .* type float64, not integer"),
    "complex": (_put("prob_clean", lambda a: a + 1j), "prob_clean .* type complex128"),
    "grey": (_put("image", lambda a: a[:, :1]), r"image .* shape \(4, 1, 8, 8\), not \(4, 3, H, W"),
    "one fewer": (_put("target", lambda a: a[1:]), r"target .* shape \(3,\), not \(4\)"),
    "scalar": (_put("condition", lambda _: np.str_("x")), r"condition .* shape \(\), not"),
    "numbers": (
        _put("condition", lambda a: np.ones(len(a))),
        "condition .* type float64, not text",
    ),
    "another side": (_put("adversarial", lambda a: a[..., :4]), "adversarial .* shape"),
    "more classes": (
        _put("prob_clean", lambda a: np.hstack([a, a])),
        r"prob_clean .* shape \(4, 4\), not \(4, 2\)",
    ),
    "nan": (_put("adversarial", _nan), "adversarial .* no numbers"),
    "infinite": (_put("prob_clean", lambda a: a + np.inf), "prob_clean .* no numbers"),
    "grey levels": (_put("adversarial", lambda a: 255 * a), r"adversarial .* outside \[0, 1\]"),
    "logits": (_put("prob_adversarial", lambda a: a - 5), r"prob_adversarial .* outside \[0, 1\]"),
    "negative class": (_put("target", lambda a: a - 1), "target .* from -1 to 0"),
    "unnamed class": (_put("target", lambda a: a + 2), "class 3, the job has 2 classes"),
    "negative prediction": (
        _put("prediction", lambda a: -1 - a),
        "prediction .* outside",
    ),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_an_array_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, name: str, change: Change, said: str
) -> None:
    arrays = MADE[name]()
    change(arrays)
    np.savez(tmp_path / name, **arrays)
    with pytest.raises(BcadvError, match=said) as caught:
        READERS[name](tmp_path / name, 2)
    message = str(caught.value)
    assert name in message
    assert message.endswith("run the job again.")
    assert "\n" not in message
    assert "allow_pickle" not in message


def _saved(name: str, path: Path) -> bytes:
    np.savez_compressed(path, **MADE[name]())
    return path.read_bytes()


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "its start": lambda content: content[: len(content) // 2],
    "four bytes": lambda _: b"PK\x03\x04",
    "a byte changed": _flipped,
    "text": lambda _: b"no archive\n",
    "pickle": lambda _: pickle.dumps({"image": 1}),
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", BYTES.values(), ids=BYTES)
def test_a_damaged_file_is_named(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(damage(_saved(name, path)))
    with pytest.raises(
        BcadvError, match=rf"{name} cannot be read \(.+\); run the job again\.$"
    ) as e:
        READERS[name](path, 2)
    assert "pickle" not in str(e.value)
    assert len(str(e.value)) < 300 + len(str(path))


@pytest.mark.parametrize("name", READERS)
def test_other_files_of_that_name_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(BcadvError, match=rf"{name} cannot be read \(No such file"):
        READERS[name](path, 2)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BcadvError, match=rf"{name} cannot be read \(it is no archive"):
        READERS[name](path, 2)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"no array")
    with pytest.raises(BcadvError, match=rf"{name} cannot be read|lacks"):
        READERS[name](path, 2)


def test_examples_without_an_image_are_no_examples(tmp_path: Path) -> None:
    arrays = examples([fgsm(0), fgsm(1)], side=8)
    empty = {
        name: values[:, :0]
        if name in {"adversarial", "prob_adversarial", "prediction_adversarial"}
        else values[:0]
        for name, values in arrays.items()
        if name not in {"sigma", "condition"}
    }
    np.savez(tmp_path / "examples.npz", **(arrays | empty))
    with pytest.raises(BcadvError, match="holds no image"):
        load_examples(tmp_path / "examples.npz", 2)


def test_noise_may_leave_the_range_of_pixels(tmp_path: Path) -> None:
    arrays = examples([fgsm(0), fgsm(1)], side=8)
    arrays["noisy"] = arrays["noisy"] - 0.5
    np.savez(tmp_path / "examples.npz", **arrays)
    assert load_examples(tmp_path / "examples.npz", 2)["noisy"].min() < 0
