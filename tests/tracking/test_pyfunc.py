"""The logged model: loaded by MLflow, fed with images."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from bcadv.data import cache
from bcadv.data.batches import Crops
from bcadv.data.records import Record
from bcadv.errors import BcadvError
from bcadv.models.classifier import Classifier
from bcadv.store.statistics import write_statistics
from bcadv.tracking import record, store_uri
from bcadv.tracking.model import log_model
from bcadv.tracking.pyfunc import ImageClassifier
from tests.tracking import made


def images(n: int = 3, height: int = 50, width: int = 71) -> Any:
    """Smooth colours, whose resized pixels depend on how one resizes."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (n, 6, 8, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((width, height))) for c in coarse])


def trained_on(image: Any, tmp_path: Path, model: Classifier, *, resize: int | None) -> Any:
    """Probabilities by the way that training and evaluation take: file, cache, crop, network."""
    found = []
    for i, pixels in enumerate(image):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        found.append(Record(tmp_path / f"{i}.png", str(i), "benign", None))
    cached = cache.build(found, tmp_path / "cache", resize=resize, progress=False)
    crops = Crops(cached, np.zeros(len(image), np.int64), 32)
    batch = crops.__getitems__([(0, i) for i in range(len(image))])
    with torch.inference_mode():
        return model(batch.image).softmax(1).numpy()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return made.write_checkpoint(tmp_path_factory.mktemp("trained") / "last.ckpt")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> str:
    """Address of a model that a job has logged."""
    outputs = tmp_path_factory.mktemp("outputs")
    folder = outputs / "baseline" / "it"
    made.run_job(folder, outputs, checkpoint=checkpoint)
    kept = record.read(folder)
    assert kept is not None
    mlflow.set_tracking_uri(store_uri(outputs))
    return f"runs:/{kept.runs[0].run_id}/model"


@pytest.mark.parametrize("resize", [None, 40, 64])
def test_images_are_prepared_as_in_training(
    tmp_path: Path, model: Classifier, resize: int | None
) -> None:
    image = images()
    expected = trained_on(image, tmp_path, model, resize=resize)
    assert np.ptp(expected[:, 0]) > 1e-3, "the images must matter"
    table = ImageClassifier(model, made.CLASSES, 32, resize).predict(image)
    assert list(table) == [*made.CLASSES, "predicted"]
    np.testing.assert_allclose(table[made.CLASSES].to_numpy(), expected, atol=1e-6)
    assert list(table["predicted"]) == [made.CLASSES[k] for k in expected.argmax(1)]


def test_floats_and_whole_numbers_mean_the_same(model: Classifier) -> None:
    image = images()
    as_it_is = ImageClassifier(model, made.CLASSES, 32, None)
    expected = as_it_is.predict(image)
    for same in (image / 255, image.astype(np.int64), list(image), image.tolist()):
        given = as_it_is.predict(same)
        np.testing.assert_allclose(given[made.CLASSES], expected[made.CLASSES], atol=1e-6)
    resized = ImageClassifier(model, made.CLASSES, 32, 40)
    np.testing.assert_allclose(
        resized.predict(image / 255)[made.CLASSES],
        resized.predict(image)[made.CLASSES],
        atol=0.02,  # bytes are rounded after resizing
    )


def test_floats_between_the_grey_levels_are_kept(model: Classifier) -> None:
    """A perturbation of a quarter of a grey level must reach the network."""
    moved = images()[:1] / 255 + np.float32(0.25 / 255)
    classifier = ImageClassifier(model, made.CLASSES, 50, None)
    rounded = (moved * 255).round() / 255
    assert not classifier.predict(moved.clip(0, 1)).equals(classifier.predict(rounded.clip(0, 1)))


def test_images_of_several_sizes_and_none_at_all(model: Classifier) -> None:
    classifier = ImageClassifier(model, made.CLASSES, 32, None)
    mixed = classifier.predict([images(1)[0], images(1, 40, 90)[0]])
    alone = classifier.predict(images(1, 40, 90))
    np.testing.assert_allclose(mixed[made.CLASSES].loc[1], alone[made.CLASSES].loc[0], atol=1e-6)
    assert classifier.predict(np.empty((0, 50, 71, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize("resize", [None, 40])
def test_every_way_to_give_an_image_has_the_same_answer(
    tmp_path: Path, model: Classifier, resize: int | None
) -> None:
    image = images()
    classifier = ImageClassifier(model, made.CLASSES, 32, resize)
    expected = classifier.predict(image)
    assert expected[made.CLASSES[0]].nunique() == len(image)
    paths = [tmp_path / f"{i}.png" for i in range(len(image))]
    for pixels, path in zip(image, paths, strict=True):
        Image.fromarray(pixels).save(path)
    texts = [str(path) for path in paths]
    opened = [Image.open(path) for path in paths]
    several = [
        paths,
        texts,
        tuple(texts),
        np.array(texts),
        pd.Series(texts),
        pd.DataFrame({"any name": texts}),
        pd.DataFrame({"image": pd.Series(list(image), dtype=object)}),
        opened,
        list(image),
        [np.moveaxis(one, -1, 0) for one in image],
        np.moveaxis(image, -1, 1),
        torch.from_numpy(image).permute(0, 3, 1, 2),
        [paths[0], opened[1], image[2]],
    ]
    for given in several:
        assert classifier.predict(given).equals(expected), type(given)
    for alone in (paths[0], texts[0], opened[0], image[0], np.moveaxis(image[0], -1, 0)):
        np.testing.assert_allclose(
            classifier.predict(alone)[made.CLASSES], expected[made.CLASSES][:1], atol=1e-6
        )


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16"])
def test_files_of_any_mode_are_read_as_in_training(
    tmp_path: Path, model: Classifier, mode: str
) -> None:
    grey = Image.fromarray(images(1)[0]).convert("L")
    wide = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)
    (wide if mode == "I;16" else grey.convert(mode)).save(tmp_path / "it.png")
    found = [Record(tmp_path / "it.png", "it", "benign", None)]
    cached = cache.build(found, tmp_path / "cache", progress=False)
    classifier = ImageClassifier(model, made.CLASSES, 32, None)
    assert classifier.predict(tmp_path / "it.png").equals(classifier.predict(cached.image(0)))


@pytest.mark.parametrize("resize", [None, 40])
def test_16_bits_are_prepared_as_in_training(
    tmp_path: Path, model: Classifier, resize: int | None
) -> None:
    wide = images(1)[0][..., 0].astype(np.uint16) * 16 + 3
    path = tmp_path / "it.png"
    Image.fromarray(wide).save(path)
    cached = cache.build(
        [Record(path, "it", "benign")],
        tmp_path / "cache",
        resize=resize,
        white=4095,
        progress=False,
    )
    batch = Crops(cached, np.zeros(1, np.int64), 32)[0, 0]
    with torch.inference_mode():
        expected = model(batch.image).softmax(1).numpy()
    classifier = ImageClassifier(model, made.CLASSES, 32, resize, white=4095)
    for given in (path, Image.open(path)):
        found = classifier.predict(given)[made.CLASSES].to_numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    dark = ImageClassifier(model, made.CLASSES, 32, resize).predict(path)
    assert not np.allclose(dark[made.CLASSES].to_numpy(), expected, atol=1e-3)


def test_arrays_of_16_bits_go_to_65535(model: Classifier) -> None:
    classifier = ImageClassifier(model, made.CLASSES, 32, None)
    wide = images(1).astype(np.uint16) * 257
    np.testing.assert_allclose(
        classifier.predict(wide)[made.CLASSES],
        classifier.predict(images(1))[made.CLASSES],
        atol=1e-6,
    )
    with pytest.raises(BcadvError, match="uint16, whose white is 65535, that go to 2"):
        classifier.predict(images(1).astype(np.uint16))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((50, 71), np.uint8), "shape (50, 71) cannot be classified"),
        (np.zeros((50, 71, 1), np.uint8), "image 0 has shape (50, 71, 1): give RGB"),
        (np.zeros((3, 71, 3), np.uint8), "image 0 has shape (3, 71, 3), and its colours may"),
        (np.zeros((1, 3, 71, 3), np.uint8), "the batch has shape (1, 3, 71, 3), and its colours"),
        (np.zeros((1, 50, 71, 4), np.uint8), "RGB"),
        ([np.zeros((50, 71, 3)), np.zeros((50, 71))], "image 1 has shape (50, 71): give RGB"),
        (np.full((1, 50, 71, 3), 200.0), "200.0"),
        (np.full((1, 50, 71, 3), np.nan), "nan"),
        (np.full((1, 50, 71, 3), -1), "-1"),
        (np.full((1, 50, 71, 3), "a"), "<U1"),
        (np.zeros((1, 20, 71, 3), np.uint8), "71 x 20"),
        ("nowhere.png", "image 0, nowhere.png, cannot be read: No such file"),
        ([images(1)[0], Path("nowhere.png")], "image 1, nowhere.png, cannot be read"),
        ([__file__], "test_pyfunc.py, cannot be read: it is text"),
        ("a\0b", "cannot be read"),
        (Image.new("F", (71, 50)), "image 0 cannot be decoded: 32-bit numbers"),
        (b"png", "bytes cannot be classified: give a path, a Pillow image"),
        ([b"png"], "image 0 is of type bytes"),
        ([None], "image 0 is of type NoneType"),
        ([[[1, 2], [3]]], "image 0 is a list of unequal parts"),
        (pd.Series(["nowhere.png", float("nan")]).iloc[1:], "image 0 is of type float"),
        ({"image": []}, "dict cannot be classified"),
        (7, "int cannot be classified"),
        (pd.DataFrame({"path": ["a"], "label": ["b"]}), "2 columns (path, label)"),
    ],
)
def test_other_things_are_refused(model: Classifier, wrong: Any, said: str) -> None:
    with pytest.raises(BcadvError) as refused:
        ImageClassifier(model, made.CLASSES, 32, None).predict(wrong)
    assert said in str(refused.value)


def test_mlflow_loads_it_and_it_answers_like_the_checkpoint(
    logged: str, checkpoint: Path, tmp_path: Path
) -> None:
    network = Classifier.load_from_checkpoint(checkpoint, weights_only=True).eval()
    expected = trained_on(images(), tmp_path, network, resize=None)
    assert np.ptp(expected[:, 0]) > 1e-3
    loaded = mlflow.pyfunc.load_model(logged)
    paths = [str(tmp_path / f"{i}.png") for i in range(len(images()))]
    # Through MLflow, whose signatures would refuse most of these.
    for given in (images(), images() / 255, list(images()), paths, pd.DataFrame({"path": paths})):
        table = loaded.predict(given)
        np.testing.assert_allclose(table[made.CLASSES].to_numpy(), expected, atol=1e-6)
    for alone in (paths[0], Image.open(paths[0])):
        found = loaded.predict(alone)[made.CLASSES].to_numpy()
        np.testing.assert_allclose(found, expected[:1], atol=1e-6)
    assert loaded.metadata.get_output_schema().input_names() == [*made.CLASSES, "predicted"]
    assert loaded.metadata.get_input_schema().inputs[0].shape == (-1, -1, -1, 3)


@pytest.mark.long
def test_it_brings_its_code_along(logged: str, tmp_path: Path) -> None:
    """In a process of its own, far from the checkout, only the model's copy is used."""
    folder = mlflow.artifacts.download_artifacts(logged, dst_path=str(tmp_path))
    code = (
        "import sys, mlflow, numpy as np\n"
        "loaded = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "table = loaded.predict(np.zeros((1, 40, 40, 3), np.uint8))\n"
        "import bcadv; print(bcadv.__file__); print(table.shape)\n"
        "print(*[m.__file__ for n, m in sys.modules.items() if n.startswith('bcadv.')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    package, shape, loaded = done.stdout.splitlines()
    assert package.startswith(folder)
    assert shape == "(1, 3)"
    required = (Path(folder) / "requirements.txt").read_text().splitlines()
    assert not any("://" in line or line.startswith(("-", "bcadv")) for line in required)
    names = {line.split("==")[0] for line in required}
    assert [found for found in packages(loaded.split()) if not names & set(found)] == []


def packages(files: Sequence[str]) -> list[list[str]]:
    """What some modules import, at their top or lazily: the distributions that each may be from."""
    named = re.compile(r"^ *(?:import|from) (\w+)", re.MULTILINE)
    modules = {name for file in files for name in named.findall(Path(file).read_text())}
    known = packages_distributions()
    return [[n.lower() for n in known[m]] for m in sorted(modules - {"bcadv"}) if m in known]


def test_the_run_names_the_statistics_that_its_model_answers_with(
    outputs: Path, checkpoint: Path
) -> None:
    """Those on clean images were removed from the store since."""
    folder = outputs / "defense" / "it"
    result = made.write_files(folder)
    model = result.model.model_copy(update={"batchnorm": ("clean", "as_trained")})
    rows = tuple(row.model_copy(update={"batchnorm": "clean"}) for row in result.rows)
    result = result.model_copy(update={"model": model, "rows": (*rows, *result.rows)})
    tracker = made.tracker(folder, outputs)
    tracker.start(made.params())
    gone = {"clean": outputs / "gone.pt"}
    tracker.finish(made.params(), made.history(3), result, checkpoint, gone)
    assert tracker.run is not None
    mlflow.set_tracking_uri(store_uri(outputs))
    loaded = mlflow.pyfunc.load_model(f"runs:/{tracker.run.run_id}/model")
    assert loaded.metadata.metadata["batchnorm_default"] == "as_trained"
    [run] = MlflowClient().search_runs([tracker.run.experiment_id])
    assert run.data.tags["model_batchnorm"] == "as_trained"


class _Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def test_a_checkpoint_that_holds_code_is_refused(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "hyper_parameters": {}, "bomb": _Bomb()}, tmp_path / "bad.ckpt")
    tracker = made.run_job(outputs / "baseline" / "it", outputs, checkpoint=tmp_path / "bad.ckpt")
    assert not tracker.alive
    assert not (tmp_path / "exploded").exists()


def test_a_model_half_uploaded_is_gone_on_with(
    outputs: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = outputs / "baseline" / "it"

    def gone(*_: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", gone)
        tracker = made.run_job(folder, outputs, checkpoint=checkpoint)
        assert not tracker.alive
    tracker = made.run_job(folder, outputs, checkpoint=checkpoint)
    assert tracker.run is not None
    mlflow.set_tracking_uri(store_uri(outputs))
    assert mlflow.pyfunc.load_model(f"runs:/{tracker.run.run_id}/model").predict(images()).size


def test_damaged_statistics_are_not_logged(tmp_path: Path, checkpoint: Path) -> None:
    clean = tmp_path / "last.clean.pt"
    write_statistics({"x": torch.zeros(3)}, clean, "code")
    clean.write_bytes(clean.read_bytes()[:-1] + b"x")
    client, run_id = MlflowClient(), "0" * 32
    preparation = {"classes": made.CLASSES, "batchnorm": ["clean"]}
    with pytest.raises(BcadvError, match=r"last\.clean\.pt cannot be used"):
        log_model(client, run_id, checkpoint, preparation, {"clean": clean})


def test_every_choice_of_statistics_that_was_reported_can_be_loaded(
    tmp_path: Path, checkpoint: Path
) -> None:
    """The model with BatchNorm as trained is not the only one whose numbers were told."""
    kept = Classifier.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True).eval()
    shifted = {
        name: value + 0.3 for name, value in kept.state_dict().items() if "running_mean" in name
    }
    folder = tmp_path / "defense" / "it"
    clean = tmp_path / "last.clean.pt"
    write_statistics(shifted, clean, "code")
    tracker = made.tracker(folder, tmp_path)
    tracker.start(made.params())
    result = made.write_files(folder)
    model = result.model.model_copy(update={"batchnorm": ("as_trained", "clean")})
    result = result.model_copy(update={"model": model})
    tracker.finish(made.params(), made.history(3), result, checkpoint, {"clean": clean})
    run = record.read(folder)
    assert run is not None
    mlflow.set_tracking_uri(store_uri(tmp_path))
    loaded = mlflow.pyfunc.load_model(f"runs:/{run.runs[0].run_id}/model")
    image = images()
    as_trained = loaded.predict(image, params={"batchnorm": "as_trained"})
    on_clean = loaded.predict(image, params={"batchnorm": "clean"})
    assert not np.allclose(as_trained[made.CLASSES], on_clean[made.CLASSES], atol=1e-3)
    # The default is the first, is named, and does not depend on what was asked before.
    np.testing.assert_array_equal(loaded.predict(image)[made.CLASSES], as_trained[made.CLASSES])
    assert loaded.metadata.metadata["batchnorm_default"] == "as_trained"
    assert MlflowClient().get_run(run.runs[0].run_id).data.tags["model_batchnorm"] == "as_trained"
    kept.load_state_dict(kept.state_dict() | shifted)
    whole = ImageClassifier(kept, made.CLASSES, 32, None).predict(image)
    np.testing.assert_allclose(on_clean[made.CLASSES], whole[made.CLASSES], atol=1e-6)
    with pytest.raises(BcadvError, match="batchnorm=noisy: this model was kept with as_trained"):
        ImageClassifier(kept, made.CLASSES, 32, None).predict(image, {"batchnorm": "noisy"})
