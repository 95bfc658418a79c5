"""What the README shows runs as it stands: each command, made small, and each piece of Python.

A command is read from the page, judged as it is written, and run with smaller settings appended
(`tests.readme.SMALLER`) in a folder where what it names exists: FOLDER and data/breakhis hold
painted tissue under official names, chest_xray and images noise. Pictures are drawn for the first
job alone.
"""

from __future__ import annotations

import logging
import re
import runpy
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from PIL import Image

from bcadv import job
from bcadv.config import validate
from bcadv.data.sources.synthetic import write_tree
from bcadv.explain import option_names, owners
from bcadv.options import register
from bcadv.overrides import read
from bcadv.run import MULTIRUN, compose_job, conf_dir, precheck, settings
from bcadv.store.fingerprint import describe, fingerprint
from tests.conftest import REPOSITORY
from tests.jobs import compose_config
from tests.readme import JOB, Written, commands, parted, programs, replaced, smaller

PAGE = (REPOSITORY / "README.md").read_text(encoding="utf-8")
GUIDE = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
COMMANDS = commands(PAGE)
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

NOT_RUN = {
    "make": "tests/test_makefile.py runs it",
    "make setup": "installs packages; whoever runs these tests has run it",
    ". .venv/bin/activate": "belongs to the shell",
    "make test": "these are the tests",
    "make data": "4 GB; tests/data/sources/test_download.py downloads from a server of its own",
    "make ui": "serves until it is stopped; tests/tracking opens it in a browser",
    "make notebooks": "opens a browser; tests/test_notebooks.py runs what it shows",
    "jupyter lab notebooks": "opens a browser",
    "make docs": "has a place of its own in .ci/run",
}
"""Command -> why it is not run here. Installing is judged below."""


def installs(written: Written) -> bool:
    return written.words[:2] == ("pip", "install")


RUN = [w for w in COMMANDS if str(w) not in NOT_RUN and not installs(w)]


def test_every_reason_is_about_a_command_of_the_page() -> None:
    assert NOT_RUN.keys() <= {str(written) for written in COMMANDS}
    assert len(RUN) > len(NOT_RUN)


def test_what_is_installed_is_offered() -> None:
    places = [written.words[2] for written in COMMANDS if installs(written)]
    extras = {extra for place in places for extra in re.findall(r"\w+", place)}
    assert places
    assert all(re.fullmatch(r"\.(\[\w+\])?", place) for place in places)
    assert extras <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("page", [PAGE, GUIDE], ids=["README", "CONTRIBUTING"])
def test_every_target_is_one_of_the_makefile(page: str) -> None:
    targets = {
        word
        for written in commands(page)
        if written.words[0] == "make"
        for word in written.words[1:]
        if "=" not in word
    }
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.M))


def test_every_option_in_the_table_exists() -> None:
    register()
    named = re.findall(r"^\| `([\w.]+)=(?:\w+)?` \|", PAGE, re.M)
    known = {*option_names(compose_config().model_dump()), *owners(conf_dir())}
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert len(named) > 10
    assert {name for name in named if name not in known | groups} == set()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the page names."""
    place = tmp_path_factory.mktemp("readme")
    tree = write_tree(
        place / "painted",
        n_patients=12,
        images_per_patient=3,
        seed=0,
        height=48,
        width=64,
        progress=False,
    )
    (place / "FOLDER").symlink_to(tree)
    (place / "data").mkdir()
    (place / "data" / "breakhis").symlink_to(tree)
    for part, number in (("train", 10), ("test", 6)):
        noise(place / "chest_xray" / part, number, NORMAL="IM-{}.jpeg", PNEUMONIA="person{}_1.jpeg")
    noise(place, 12, images="{}.png")
    rows = [f"{i},{('naevus', 'melanoma')[i % 2]},p{i}" for i in range(12)]
    (place / "labels.csv").write_text("\n".join(["id,diagnosis,patient", *rows]))
    return place


def noise(folder: Path, number: int, **classes: str) -> None:
    """Writes images of noise, a folder per class."""
    rng = np.random.default_rng(0)
    for label, name in classes.items():
        (folder / label).mkdir(parents=True)
        for i in range(number):
            pixels = rng.integers(0, 256, (64, 80, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / name.format(i))


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That folder as the current one of a process that is found again as it was."""
    monkeypatch.chdir(place)
    for name in ("HYDRA_FULL_ERROR", "RAY_USAGE_STATS_ENABLED", "RAY_DEDUP_LOGS"):
        monkeypatch.setenv(name, "1")
    threads, root = torch.get_num_threads(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found in sys.modules after import.*")
        yield place
    root.handlers[:], root.level = handlers, level
    torch.set_num_threads(threads)


def start(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """What a shell would start, in this process, which has imported everything; its exit status."""
    begin: Callable[[], Any]
    if words[:2] == ["python", "-m"]:
        name, arguments = words[2], words[3:]
        begin = lambda: runpy.run_module(name, run_name="__main__", alter_sys=True)  # noqa: E731
    else:
        place = PROJECT.get("scripts", {}).get(words[0])
        assert place, f"{words[0]} is no command of ours: say in NOT_RUN why it is not run"
        module, _, function = place.partition(":")
        name, arguments = words[0], words[1:]
        begin = getattr(import_module(module), function)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    try:
        begin()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def judge(items: list[str], remark: str) -> None:
    """The settings of a job can be used as they are written, and make what is said behind them."""
    items = [item for item in items if item not in MULTIRUN]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        parsed = read(items, conf_dir(), list)
        single = [str(one.input_line) for one in parsed if not one.is_sweep_override()]
        validate(settings(compose_job(single)))
    # Each job of a grid is composed only where their number is said, for that takes a while.
    if counts := re.search(r"(\d+) jobs, (\d+) trainings", remark):
        items += ["paths.outputs=judged", "tracking.enabled=false"]
        _, planned = precheck(items, multirun=True)
        assert planned is not None
        configs = [one.config for one in planned.jobs if one.config]
        models = {fingerprint(describe(c, content="", precision="32")) for c in configs}
        assert (len(configs), len(models)) == (int(counts[1]), int(counts[2]))


def results(place: Path) -> set[Path]:
    return set(place.glob("outputs/**/results.json"))


STARTED: set[tuple[str, ...]] = set()
"""What has been run: `make demo` ends as another command of the page begins."""


@pytest.mark.long
@pytest.mark.parametrize("written", RUN, ids=str)
def test_the_commands_run_one_after_the_other(
    written: Written, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = programs(written)
    assert found, f"{written} starts nothing of ours: run it otherwise, or say in NOT_RUN why not"
    for words in found:
        if tuple(words) in STARTED:
            continue
        before = results(here)
        if before:
            monkeypatch.setattr(job, "render", lambda *_: None)
        begin, items = parted(words)
        if items:
            if replaced(items) or " trainings" in written.remark:
                judge(items, written.remark)
            assert start([*begin, *smaller(items)], monkeypatch) == 0
            assert results(here)
        else:
            if not before:
                assert start([*JOB, *smaller(["+experiment=baseline"])], monkeypatch) == 0
            assert start(words, monkeypatch) == 0
            if {"report", "bcadv.report"} & set(words):
                assert (here / "outputs" / "report" / "report.html").is_file()
        STARTED.add(tuple(words))


@pytest.mark.long
def test_a_job_leaves_behind_what_is_listed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [listed] = re.findall(r"^```\noutputs/.*\n((?:  .*\n)+)```", PAGE, re.M)
    names = [
        name for line in listed.splitlines() for name in re.split(r"\s{2,}", line)[1].split(", ")
    ]
    assert "results.json" in names
    jobs = sorted((here / "outputs" / "baseline").glob("*"))
    if not jobs:
        assert start([*JOB, *smaller(["+experiment=baseline"])], monkeypatch) == 0
        jobs = sorted((here / "outputs" / "baseline").glob("*"))
    assert [name for name in names if not (jobs[0] / name).exists()] == []


def test_the_snippets_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noise(tmp_path / "images", 20, benign="{}.png", malignant="{}.png")
    names: dict[str, Any] = {}
    for snippet in SNIPPETS:
        exec(snippet, names)
    image, eps = names["image"], names["threat"].eps
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    fast, strong = (
        float((names[name] - image).abs().max()) for name in ("adversarial", "stronger")
    )
    assert fast == pytest.approx(eps, abs=1e-6)
    assert 0 < strong <= eps + 1e-6
    assert len(names["curve"]) == 2
    assert names["noisy"].shape == image.shape
