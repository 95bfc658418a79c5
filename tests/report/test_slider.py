from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bcadv.report.slider import Bar, Slider, slider
from bcadv.report.words import per_patients, templates
from bcadv.results.condition import CLEAN, Condition
from bcadv.study.fall import Consequence, Count
from bcadv.study.jobs import Job, load_job
from tests.metrics.tables import fgsm, pgd, predictions
from tests.outside import ACTING, NAMES
from tests.report.jobs_on_disk import examples, rewrite, write_job
from tests.report.test_shots import keep, pixels


class Page(HTMLParser):
    """The elements and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def _consequence(condition: Condition) -> Consequence:
    missed, alarms = 3 + condition.strength, 100 + condition.strength
    return Consequence(Count(missed, 1, 50, 50), Count(alarms, 90, 200.4, 950), "cancers")


def _slider(*jobs: Job) -> Slider:
    made = slider(jobs, _consequence)
    assert made is not None
    return made


def _page(made: Slider | None) -> Page:
    return Page(templates().get_template("slider.html.j2").render(slider=made))


def _kept(classes: int, strengths: Sequence[float], side: int) -> dict[str, Any]:
    """An image of noise of each class, taken for the next one under attack."""
    random = np.random.default_rng(0)
    m = len(strengths)
    image = random.integers(0, 256, (classes, 3, side, side)).astype(np.uint8)
    sign = np.sign(random.normal(size=image.shape))
    target = np.arange(classes)
    wrong = (target + 1) % classes
    return examples([], 4) | {
        "image": image,
        "noisy": np.zeros(image.shape, np.float32),
        "adversarial": np.stack(
            [np.clip(image / 255 + e / 255 * sign, 0, 1).astype(np.float32) for e in strengths]
        ),
        "condition": np.array([fgsm(e).id for e in strengths]),
        "target": target,
        "index": 10 * target,
        "prediction": target,
        "prob_clean": random.dirichlet(np.ones(classes), classes),
        "prediction_adversarial": np.tile(wrong, (m, 1)),
        "prob_adversarial": random.dirichlet(np.ones(classes), (m, classes)),
    }


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("jobs") / "one"
    write_job(folder, eps_px=(0, 4, 0.25, 1, 8, 2), side=32, sigma=0.1, run_seed=7)
    return load_job(folder)


def test_every_frame_says_what_the_arrays_hold(job: Job) -> None:
    made, kept = _slider(job), dict(np.load(job.folder / "examples.npz"))
    assert [frame.amount for frame in made.frames] == [
        "ε = 0 (clean)",
        *(f"ε = {eps}/255" for eps in ("0.25", "1", "2", "4", "8")),
    ]
    assert (made.label, made.model) == ("FGSM", "noise σ=0.1, seed 7")
    # The disease first.
    assert [view.truth for view in made.frames[0].views] == ["malignant", "benign"]
    names = {str(name): n for n, name in enumerate(kept["condition"])}
    for eps, frame in zip((0, 0.25, 1, 2, 4, 8), made.frames, strict=True):
        n = names[fgsm(eps).id]
        called = kept["prediction_adversarial"][n] if eps else kept["prediction"]
        said = kept["prob_adversarial"][n] if eps else kept["prob_clean"]
        for i, view in zip((1, 0), frame.views, strict=True):
            assert view.index == kept["index"][i]
            assert view.called == job.classes[called[i]]
            assert view.right == (called[i] == kept["target"][i])
            assert [bar.probability for bar in view.bars] == said[i].tolist()
            assert [bar.called for bar in view.bars] == [c == called[i] for c in (0, 1)]
            assert view.largest == pytest.approx(eps, rel=1e-4)
            shown = kept["adversarial"][n, i] if eps else kept["image"][i] / 255
            assert np.abs(pixels(view.image) - 255 * shown).mean() < 8
        assert frame.consequence == _consequence(fgsm(eps) if eps else CLEAN)


def test_the_page_says_the_numbers(job: Job) -> None:
    page = _page(_slider(job))
    said = page.said()
    for eps in ("0.25", "1", "2", "4", "8"):
        assert f"FGSM, ε = {eps}/255" in said
        assert f"Missed cancers {3 + float(eps):.1f} [1.0, 50.0] of 50" in said
        assert f"False alarms {100 + float(eps):.0f} [90, 200] of 950" in said
    assert "benign 95.3 %" in said
    assert "change ×15, at most 8/255" in said
    widths = [attributes["width"] for attributes in page.all("rect")]
    assert len(widths) == 6 * 2 * 2
    assert widths[:4] == ["4.70", "95.30", "95.30", "4.70"]
    (control,) = page.all("input")
    assert (control["type"], control["min"], control["max"]) == ("range", "0", "5")
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))
    assert "http" not in page.text
    # No ids: several sliders may stand in one page.
    assert not any("id" in attributes for _, attributes in page.tags)


@pytest.mark.parametrize(("classes", "most"), [(2, 900_000), (8, 1_500_000)])
def test_the_pictures_stay_small(tmp_path: Path, classes: int, most: int) -> None:
    strengths = [0.25, 0.5, 1, 2, 3, 4, 8, 16, 32]
    frame = predictions(n_classes=classes, eps_px=[*strengths])
    folder = tmp_path / "it"
    ill = tuple(range(classes // 2, classes))
    write_job(folder, frame=frame, conditions=list(map(fgsm, strengths)), task={"positive": ill})
    job = keep(folder, _kept(classes, strengths, side=224))
    made = _slider(job)
    assert len(made.frames) == 10
    assert len(_page(made).text) < most
    if classes == 8:
        shown = [view.truth for view in made.frames[0].views]
        assert shown == ["class 4", "class 5", "class 0", "class 1"]
        assert made.absent == ("class 2", "class 3", "class 6", "class 7")
        assert "none of class 2, class 3, class 6, class 7" in _page(made).said()


def test_many_classes_share_a_bar(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    write_job(folder, frame=predictions(n_classes=12, n=120, eps_px=[4]), conditions=[fgsm(4)])
    kept = _kept(12, [4], side=8)
    made = _slider(keep(folder, kept))
    for frame, said in zip(
        made.frames, (kept["prob_clean"], kept["prob_adversarial"][0]), strict=True
    ):
        for i, view in zip((1, 0, 2, 3), frame.views, strict=True):
            *own, rest = view.bars
            assert rest.name == "8 others together"
            assert len(own) == 4
            assert {view.truth, view.called} <= {bar.name for bar in own}
            for bar in own:
                assert bar.probability == said[i][int(bar.name.removeprefix("class "))]
            assert sum(bar.probability for bar in view.bars) == pytest.approx(1)
            assert sum(bar.called for bar in view.bars) == 1
    bars = [[bar.name for bar in frame.views[0].bars] for frame in made.frames]
    assert bars[0] == bars[1]


def test_the_strip_has_the_first_flip_the_middle_and_the_strongest(job: Job) -> None:
    made = _slider(job)
    wrong = [[not view.right for view in frame.views] for frame in made.frames]
    assert [any(of) for of in wrong] == [False, False, True, True, True, True]
    assert [n for n, frame in enumerate(made.frames) if frame.strip] == [0, 2, 3, 5]
    page = _page(made)
    strips = [
        attributes["data-amount"]
        for attributes in page.all("div")
        if "eps-strip" in (attributes.get("class") or "").split()
    ]
    assert strips == ["ε = 0 (clean)", "ε = 1/255", "ε = 2/255", "ε = 8/255"]


def test_of_several_attacks_the_pictured_one_is_shown_and_named(tmp_path: Path) -> None:
    frame = predictions(eps_px=(4,))
    twice = frame[frame["condition"] != CLEAN.id].assign(condition=pgd(4).id)
    folder = tmp_path / "it"
    write_job(
        folder, frame=pd.concat([frame, twice], ignore_index=True), conditions=[fgsm(4), pgd(4)]
    )
    rewrite(folder, pictures={"series": pgd(4).series})
    made = _slider(load_job(folder))
    assert made.several
    assert made.label == "PGD-20"
    assert "of the attacks tried, PGD-20" in _page(made).said()


def test_nothing_is_shown_where_nothing_was_kept(tmp_path: Path) -> None:
    write_job(tmp_path / "none", eps_px=(4,))
    (tmp_path / "none" / "examples.npz").unlink()
    rewrite(tmp_path / "none")
    write_job(tmp_path / "clean", eps_px=(0,))
    jobs = [load_job(tmp_path / name) for name in ("none", "clean")]
    assert slider([], _consequence) is None
    assert slider(jobs[:1], _consequence) is None
    assert slider(jobs, _consequence) is None


@pytest.mark.parametrize(
    ("name", "said"), [(NAMES["html"], NAMES["html"]), ACTING["override"], ACTING["colour"]]
)
def test_names_from_outside_stay_text(tmp_path: Path, name: str, said: str) -> None:
    write_job(tmp_path / "it", eps_px=(8,), side=8)
    classes = (f"a {name}", f"b {name}")
    rewrite(
        tmp_path / "it",
        task={"classes": classes},
        data={"counts": {"test": dict.fromkeys(classes, 3)}},
    )
    page = _page(_slider(load_job(tmp_path / "it")))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert f"a {' '.join(said.split())} no. 3" in page.said()
    assert all(f" {said}" in str(image["alt"]) for image in page.all("img")[::2])


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "0.0 %"),
        (0.0004, "< 0.1 %"),
        (0.5, "50.0 %"),
        (0.99951, "> 99.9 %"),
        (0.9994, "99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_only_the_certain_is_said_to_be_certain(probability: float, text: str) -> None:
    assert Bar("it", probability).text == text


def test_a_consequence_that_is_undefined_says_so() -> None:
    nan = float("nan")
    assert per_patients(None) == "unknown"
    assert per_patients(Count(7.25, nan, nan, 9)) == "7.25 of 9"


def test_the_script_moves_the_frames(job: Job, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no browser here (Debian: chromium)")
    move = (
        "<script>var i = document.querySelector('input'); i.value = 3;"
        "i.dispatchEvent(new Event('input'));</script>"
    )
    (tmp_path / "page.html").write_text(_page(_slider(job)).text + move, encoding="utf-8")
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/u")
    dumped = subprocess.run(
        [browser, *options, "--dump-dom", f"file://{tmp_path}/page.html"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    page = Page(dumped)
    frames = [a for a in page.all("div") if "data-amount" in a]
    assert ["hidden" in frame for frame in frames] == [True, True, True, False, True, True]
    (control,) = page.all("input")
    assert control["aria-valuetext"] == "ε = 2/255"
    assert "ε = 2/255: 1 of 2 wrong" in page.said()
    (moved,) = (a for a in page.all("div") if a.get("class") == "eps-move")
    assert "hidden" not in moved
