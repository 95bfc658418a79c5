from __future__ import annotations

import shutil
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from matplotlib.image import imread

from bcadv.errors import BcadvError
from bcadv.report.curves import training_curve
from bcadv.report.figures import draw_all, read_history
from bcadv.study.jobs import load_job
from bcadv.report.style import SYNTHETIC_MARK, short, svg_of
from bcadv.results.schema import Result, write_result
from tests.outside import ACTING
from tests.outside import NAMES as OUTSIDE
from tests.report.jobs_on_disk import rewrite
from tests.report.studies import write_run
from tests.results import made

Job = tuple[Path, Result]
NAMES = ["robustness_curve", "training", "noise", "adversarial"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job") / "one"
    return folder, write_run(folder)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawn") / "job"
    write_run(folder)
    drawn_ = draw_all(load_job(folder))
    assert drawn_.failures == []
    return drawn_.files


def test_every_figure_is_drawn_twice(drawn: list[Path]) -> None:
    assert [path.name for path in drawn] == [
        f"{name}.{ending}" for name in NAMES for ending in ("png", "svg")
    ]
    for path in drawn:
        assert path.parent.name == "figures"
        if path.suffix == ".png":
            assert imread(path)[..., :3].std() > 0.02


def test_made_up_images_are_marked_in_every_figure(drawn: list[Path]) -> None:
    for path in drawn:
        if path.suffix == ".svg":
            assert f">{SYNTHETIC_MARK}</text>" in path.read_text(encoding="utf-8")


def test_real_images_are_not_marked_and_absent_files_are_no_mistake(tmp_path: Path) -> None:
    write_run(tmp_path / "job", synthetic=False)
    (tmp_path / "job" / "history.csv").unlink()
    (tmp_path / "job" / "examples.npz").unlink()
    (png, svg), _ = draw_all(load_job(tmp_path / "job"))
    assert png.name == "robustness_curve.png"
    assert SYNTHETIC_MARK not in svg.read_text(encoding="utf-8")


def test_the_same_files_give_the_same_bytes(job: Job, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(job[0] / "results.json", tmp_path / name)
    drawn_ = (draw_all(load_job(tmp_path / name)).files for name in "ab")
    for a, b in zip(*drawn_, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_a_job_that_attacked_nothing_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(write_result(made.result()), encoding="utf-8")
    assert draw_all(load_job(tmp_path)) == ([], [])


def _copy(job: Job, folder: Path) -> Path:
    shutil.copytree(job[0], folder)
    return folder


@pytest.mark.parametrize(
    ("file", "lost"),
    [("history.csv", ["training"]), ("examples.npz", ["noise", "adversarial"])],
)
@pytest.mark.parametrize("content", [b"", b"no table or archive\n", b"PK\x03\x04", b"\xff\x00\n"])
def test_a_damaged_file_costs_its_figures_alone(
    job: Job, tmp_path: Path, file: str, lost: list[str], content: bytes
) -> None:
    folder = _copy(job, tmp_path / "it")
    (folder / file).write_bytes(content)
    rewrite(folder)  # vouches for the file as it is now
    drawn_ = draw_all(load_job(folder))
    assert [path.stem for path in drawn_.files[::2]] == [n for n in NAMES if n not in lost]
    (sentence,) = drawn_.failures
    assert str(folder / file) in sentence
    assert sentence.endswith("run the job again.")


@pytest.mark.parametrize(
    ("file", "lost"),
    [("history.csv", ["training"]), ("examples.npz", ["noise", "adversarial"])],
)
def test_a_file_changed_since_is_not_drawn(
    job: Job, tmp_path: Path, file: str, lost: list[str]
) -> None:
    folder = _copy(job, tmp_path / "it")
    with (folder / file).open("ab") as out:
        out.write(b"\n")
    found = draw_all(load_job(folder))
    assert [path.stem for path in found.files[::2]] == [n for n in NAMES if n not in lost]
    (sentence,) = found.failures
    assert "changed or damaged since the results were written" in sentence


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_that_cannot_be_drawn_is_named_and_costs_no_other(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = _copy(job, tmp_path / "it")
    function = {"training": "training_curve", "robustness_curve": name}.get(name, f"{name}_figure")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("odd font")

    monkeypatch.setattr(f"bcadv.report.figures.{function}", fail)
    drawn_ = draw_all(load_job(folder))
    assert drawn_.failures == [f"This figure could not be drawn: {name} (RuntimeError: odd font)."]
    assert [path.stem for path in drawn_.files[::2]] == [n for n in NAMES if n != name]


def test_a_full_disk_costs_figures_and_ends_nothing(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bcadv.report.figures.save", full)
    drawn_ = draw_all(load_job(_copy(job, tmp_path / "it")))
    assert drawn_.files == []
    assert len(drawn_.failures) == len(NAMES)
    assert all("No space left" in sentence for sentence in drawn_.failures)


@pytest.mark.parametrize("name", [OUTSIDE["mathtext"], OUTSIDE["html"], ACTING["latin-1"][0]])
def test_names_from_outside_end_no_figure(job: Job, tmp_path: Path, name: str) -> None:
    folder = _copy(job, tmp_path / "it")
    rewrite(folder, run={"experiment": name}, task={"classes": [name, f"{name} 2"]})
    drawn_ = draw_all(load_job(folder))
    assert drawn_.failures == []
    svg = (tmp_path / "it" / "figures" / "noise.svg").read_text(encoding="utf-8")
    assert f"original: {escape(short(name, 20))}, no. 3" in svg.replace("&quot;", '"')


HISTORY = "epoch,train_loss,train_accuracy,val_loss,val_accuracy\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"cannot be read \(No columns"),
        ("epoch,train_loss\n0,1\n", r"lacks the column\(s\) train_accuracy, val_loss, val_acc"),
        (HISTORY, "holds no epoch"),
        (f"{HISTORY}0,1,0.5,1,much\n", "column val_accuracy of .* has 'much' for a number"),
        (f"{HISTORY}0,x,0.5,1,0.5\n1,1,1,1,1\n", "column train_loss of .* has 'x' for a number"),
        (f"{HISTORY}0,1,True,1,0.5\n", "column train_accuracy of .* has 'True' for a number"),
        (f"{HISTORY}first,1,1,1,0.5\n", "column epoch of .* has 'first' for a number"),
        (f"{HISTORY},1,1,1,0.5\n", "column epoch of .* no list of different epochs"),
        (f"{HISTORY}0,1,1,1,1\n0,1,1,1,1\n", "column epoch of .* no list of different epochs"),
        (f"{HISTORY}-1,1,1,1,1\n", "column epoch of .* no list of different epochs"),
        (f"{HISTORY}0,1,93,1,0.5\n", "column train_accuracy of .* from 93 to 93, outside"),
        (f"{HISTORY}0,1,-1,1,0.5\n", "column train_accuracy of .* outside"),
        (f"{HISTORY}0,1,inf,1,0.5\n", "column train_accuracy of .* outside"),
        (f"{HISTORY}0,1+2j,1,1,0.5\n", "column train_loss of .* for a number"),
        (f"{HISTORY}0,1,1,1,1,1,1,1\n1,1\n", "is no list|cannot be read|column"),
        (f"{HISTORY}0,'1\n\"2,3\n", "cannot be read"),
    ],
)
def test_a_damaged_history_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BcadvError, match=said) as caught:
        read_history(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("run the job again.")
    assert "\n" not in str(caught.value)


def test_a_history_may_lack_measurements_and_losses_may_grow_beyond_bounds(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(f"{HISTORY}0,inf,0.5,,\n1,nan,0.5,2,1\n", encoding="utf-8")
    figure = training_curve(read_history(path), "title", synthetic=False)
    assert "accuracy (%)" in svg_of(figure, "it")
