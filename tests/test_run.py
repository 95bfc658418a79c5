"""The command line: what cannot be used is answered in a sentence, before anything is made."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from bcadv.config import validate
from bcadv.errors import BcadvError
from bcadv.explain import near_name, option_names, owners
from bcadv.overrides import fragment, quoted, with_plus
from bcadv.run import compose_job, conf_dir, main, precheck, settings
from bcadv.text import SCREENFUL
from tests.jobs import tiny_overrides

ODD = (
    "chest xray (1)",
    "~/x",
    "a#b",
    "a=b",
    "a&b?c",
    "a:b,c",
    "50%20",
    "[x]",
    "{a: 1}",
    "肺炎",
    "Jürgen",
    "o'brien",
    'say "x"',
    'it\'s "x"',
    "back\\slash",
    "back\\",
    "\\'",
    '\\\\"',
    "null",
    "1",
    "$HOME",
    " blank ",
    "two\nlines",
    r"^(person\d+)",
    r"^(?:a|b)\.[^\s'\"]{2,}(\d+)$",
)
"""Names of folders, and patterns, that Hydra's grammar takes for something else or refuses."""


def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """What the command says of a line that it refuses."""
    monkeypatch.setattr("sys.argv", ["bcadv.run", *line])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    return said


WRONG: list[tuple[list[str], str]] = [
    # What names no option, or is none.
    (["=1"], "names no option"),
    ([""], "an empty argument"),
    ([" "], "an empty argument"),
    (["sigma"], "name=value"),
    (["a b"], "name=value"),
    (["sigam=="], "did you mean sigma?"),
    (["ä=1"], "name=value"),
    (["sigam=0.1"], "did you mean sigma?"),
    (["++a.b.c=1"], "unknown option a"),
    (["hydra=1"], "one of Hydra's options"),
    (["hydra.foo=1"], "unknown option hydra.foo: bcadv run --help"),
    # Groups take the name of one of their files.
    (["trainer=[1,2]"], "trainer can be default"),
    (["data=5"], "breakhis, chexpert, folder, "),
    (["data=null"], "breakhis, chexpert, folder, "),
    (["data="], "breakhis, chexpert, folder, "),
    (["data=tissue"], "breakhis, chexpert, folder, "),
    (["~data"], "one of them is needed"),
    (["+data=folder"], "write data=folder"),
    (["model=[]"], "model can be densenet121"),
    (["paths=5"], "paths can be default"),
    (["paths={outputs: x}"], "paths can be default"),
    (["experiment=nope"], "experiment can be baseline, defense"),
    (["experiment"], "name=value"),
    (["+experiment=[baseline,defense]"], "add -m and write +experiment=baseline,defense"),
    (["+sweep=nope"], "epsilon, epsilon_sigma, folds, seed, sigma"),
    (["hydra.launcher=foo"], "write hydra/launcher=foo"),
    (["hydra/launcher=foo"], "there is no hydra/launcher/foo: hydra/launcher can be basic"),
    (["hydra.launcher.n_jobs=2"], "+launcher=joblib"),
    # An option that another source has.
    (["data=breakhis", "data.patients=10"], "an option of data=synthetic alone"),
    (["data.table=x.csv"], "an option of data=table alone"),
    (["data.group_regex=x"], "an option of data=folder and data=table alone"),
    (["data=folder", "data.magnification=40"], "data=breakhis and data=synthetic alone"),
    # Values that are none.
    (["sigma=" + "[" * 40 + "]" * 40], "nested more than 20 deep"),
    (["sigma=" + "[" * 5000 + "]" * 5000], "nested more than 20 deep"),
    (["seed=" + "9" * 5000], "4300 digits"),
    (["seed=" + "x" * 200_000], "200005 characters"),
    (["x" * 90_000 + "=1"], "unknown option"),
    (["eps_px=[" + ",".join(["a"] * 20_000) + "]"], "20000 values, more than 2000"),
    (["eps_px=[" + ",".join(["a"] * 999) + "]"], "eps_px=a"),
    (["sigma=\0"], "null character"),
    (["paths.outputs='a\0b'"], "null character"),
    (["data.root=\udce4"], "\\xe4 holds bytes that are not UTF-8"),
    (["sigma=${nothing}"], "there is no such option"),
    (["sigma=${nobody:1}"], "which nobody knows"),
    (["data.root=${oc.env:NO_SUCH_NAME}"], "NO_SUCH_NAME of the shell, which is not set"),
    (["sigma=${sigma}"], "Recursive interpolation"),
    (["~sigma"], "sigma is missing"),
    (["sigma=nan"], "sigma=nan"),
    (["sigma=1e400"], "sigma=inf"),
    (["sigma=[0.1]"], "sigma=[0.1]"),
    (["seed=true"], "seed=true cannot be used: a truth value is no number"),
    (["eps_px=[true]"], "a truth value is no number"),
    (["eps_px=[]"], "Give grey levels"),
    (["eps_px={a:1}"], "eps_px={a:1} cannot be used"),
    (["optimizer.lr=1e300"], "optimizer.lr=1e+300 cannot be used"),
    (["optimizer.weight_decay=1e300"], "optimizer.weight_decay=1e+300"),
    (["trainer.max_epochs=99999999999999999999"], "1000000 epochs"),
    (["model.growth_rate=1000000"], "1 to 512 channels"),
    (["data.subtypes=[A,QQ]"], "'QQ' is none of them"),
    (["data.subtypes=[]"], "not an empty one"),
    (["data=folder", "data.root=.", "data.group_regex='('"], "not a regular expression"),
    (["data=folder", "data.root=2024"], "'data.root=\"2024\"'"),
    (["model.weights=densenet121-res224-al"], "did you mean densenet121-res224-all"),
    (["model.weights=densenet121-res224-rsna"], "model.weights_sha256="),
    (["model.weights=own", "model.weights_url=http://x/y"], "model.weights_sha256="),
    # Nothing is no folder.
    (["paths.outputs="], "paths.outputs= cannot be used: it is empty"),
    (["paths.outputs=' '"], "it is empty"),
    (["paths.cache="], "paths.cache= cannot be used: it is empty"),
    (["data.root="], "data.root= cannot be used: it is empty"),
    (["hydra.run.dir="], "it is empty"),
    (["tracking.uri="], "tracking.uri= cannot be used: it is empty"),
    # Sweeps.
    (["sigma=0.1,0.2"], "add -m"),
    (["sigma=range(0,1,0.1)"], "add -m"),
    (["-m", "sigma=range(0,1,0)"], "its step is 0"),
    (["-m", "sigma=range(1,0,0.1)"], "no value at all"),
    (["-m", "seed=range(0,100000000)"], "more than 10000 jobs"),
    (["-m", "seed=range(0,2000)", "sigma=range(0,1,0.01)"], "more than 10000 jobs"),
    (["-m", "sigma=interval(0,1)"], "write the values out"),
    (["-m", "seed=glob(*)"], "write the values out"),
    (["-m", "sigma=choice(0.1,0.2"], "brackets and quotes go in pairs"),
    # Hydra's own.
    (["hydra.mode=foo"], "expected one of"),
    (["hydra.job.chdir=maybe"], "hydra.job.chdir=maybe cannot be used"),
    (["hydra.job.chdir=true"], "data.root=outputs/synthetic"),
    (["--cfg", "job", "trainer=[1,2]"], "trainer can be default"),
    (["-c", "job", "trainer=[1,2]"], "trainer can be default"),
]


@pytest.mark.parametrize(("line", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_what_cannot_be_used_is_answered_in_a_sentence(
    line: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = answer(monkeypatch, capsys, *line)
    assert words in said
    assert said.startswith("bcadv: ")
    assert "Traceback" not in said
    assert len(said) < SCREENFUL + 20
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_none_of_these_answers_needs_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from bcadv.run import main\n"
        "from tests.test_run import WRONG\n"
        "for line, _ in WRONG[::7]:\n"
        "    sys.argv = ['bcadv', *line]\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "print(sorted({'torch', 'pytorch_lightning', 'mlflow', 'pandas'} & set(sys.modules)))\n"
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("text", ODD)
def test_what_the_program_adds_is_read_back_as_it_was(text: str) -> None:
    """The folder of a job or a sweep, through Hydra's grammar and OmegaConf."""
    places = {
        "hydra.run.dir": text,
        "hydra.sweep.dir": f"{text}/${{x}}",
        "hydra.sweep.subdir": f"{text}\\${{x}}",
    }
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose_job([f"{name}={quoted(value)}" for name, value in places.items()])
    assert {name: OmegaConf.select(cfg, name) for name in places} == places


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("name", ["data.root", "data.group_regex", "paths.outputs"])
def test_the_quoting_that_is_shown_works(name: str, text: str) -> None:
    [argument] = shlex.split(fragment(name, text))
    override = OverridesParser.create().parse_override(argument)
    assert (override.key_or_group, override.value()) == (name, text)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("data.root=chest xray (1)", "chest xray (1)"),
        ("data.root=/x/Jürgen", "/x/Jürgen"),
        ("data.root=a#b", "a#b"),
        ("data.root=a=b", "a=b"),
        ("data.root=肺炎", "肺炎"),
        ("data.root=o'brien", "o'brien"),
        ("paths.outputs='o'brien'", "o'brien"),
        ("data.root=~/x", "/home/me/x"),
        (r"data.group_regex=^(person\d+)", r"^(person\d+)"),
        (r"hydra.run.dir=a#b", "a#b"),
        ("data.positive=o'brien", ["o'brien"]),
        ("data.positive=[lesion (x),b]", ["lesion (x)", "b"]),
    ],
)
def test_an_argument_that_hydra_refuses_is_shown_as_it_works(
    argument: str,
    value: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    said = answer(monkeypatch, capsys, argument)
    name = argument.split("=", maxsplit=1)[0]
    assert said.startswith(f"bcadv: {argument} cannot be read as it stands: write '{name}=")
    [shown] = shlex.split(said.partition(": write ")[2])
    assert OverridesParser.create().parse_override(shown).value() == value


def test_without_a_home_a_tilde_means_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(*_: object) -> str:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert "no home folder is known" in answer(monkeypatch, capsys, "data.root=~/x")


def test_a_suggestion_is_another_name() -> None:
    assert near_name("sigma", ["sigma"]) is None
    assert near_name("sigma", ["sigma", "sigmas"]) == "sigmas"


def test_only_what_is_chosen_gets_a_plus() -> None:
    assert with_plus(["sweep=seed", "launcher=joblib", "experiment={a: 1}"]) == [
        "+sweep=seed",
        "+launcher=joblib",
        "+experiment={a: 1}",
    ]
    alone = ["-m", "+sweep=seed", "~experiment", "experiment", "experiments=1", "data=sweep=x"]
    assert with_plus(alone) == alone


def test_every_option_of_a_source_is_known() -> None:
    owned = owners(conf_dir())
    assert owned["data.patients"] == ["data=synthetic"]
    assert owned["data.folds_dir"] == ["data=breakhis", "data=synthetic"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        names = option_names(settings(compose_job(["data=folder"])), "")
    assert {name for name in names if name.startswith("data.")} <= set(owned)


def test_the_current_folder_must_be_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = os.fsencode(tmp_path) + b"/J\xfcrgen"
    os.mkdir(folder)  # noqa: PTH102  a name in bytes
    monkeypatch.chdir(os.fsdecode(folder))
    assert "J\\xfcrgen, holds bytes that are not UTF-8" in answer(monkeypatch, capsys)
    assert os.listdir(folder) == []  # noqa: PTH208  as above


def test_an_option_given_twice_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checked, _ = precheck(["seed=1", "seed=2"])
    assert checked == ["seed=1", "seed=2"]
    assert "seed is given 2 times: the last one counts, seed=2" in capsys.readouterr().err
    precheck(["seed=1", "sigma=2"])
    assert "times" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("swept", "values"),
    [
        ("range(0.1,0.31,0.1)", [0.1, 0.2, 0.3]),
        ("range(-0.2,0.25,0.1)", [-0.2, -0.1, 0.0, 0.1, 0.2]),
        ("range(0.3,0.05,-0.1)", [0.3, 0.2, 0.1]),
        ("range(0,0.3,0.1)", [0, 0.1, 0.2]),
        ("range(0,3)", [0, 1, 2]),
    ],
)
def test_a_range_holds_the_numbers_a_person_means(
    swept: str, values: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checked, found = precheck(
        tiny_overrides(tmp_path, "tracking.enabled=false", f"sigma={swept}"), multirun=True
    )
    assert found is not None
    assert [job.raw["sigma"] for job in found.jobs] == values
    assert [float(job.overrides[-1].split("=")[1]) for job in found.jobs] == values
    # What Hydra gets, so that what runs is what was judged.
    [line] = [item for item in checked if item.startswith("sigma=")]
    if swept != "range(0,3)":
        assert line == f"sigma={','.join(map(str, map(float, values)))}"


def test_a_sweep_may_have_one_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a script fills in the values."""
    monkeypatch.chdir(tmp_path)
    _, found = precheck(tiny_overrides(tmp_path, "seed=1"), multirun=True)
    assert found is not None
    assert [job.raw["seed"] for job in found.jobs] == [1]


@pytest.mark.parametrize(
    ("more", "split", "folds"),
    [
        ([], "patient_cv", [1, 2, 3, 4, 5]),
        (["data.folds=3"], "patient_cv", [1, 2, 3]),
        (["data.folds=3", "data.fold=2,3"], "patient_cv", [2, 3]),
        (["data=breakhis", "data.root=.", "data.split=official"], "official", [1, 2, 3, 4, 5]),
    ],
)
def test_a_sweep_over_folds_has_as_many_jobs_as_there_are_folds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    split: str,
    folds: list[int],
) -> None:
    monkeypatch.chdir(tmp_path)
    _, found = precheck(["+sweep=folds", f"paths.outputs={tmp_path}", *more])
    assert found is not None
    assert [job.raw["data"]["fold"] for job in found.jobs] == folds
    assert {job.raw["data"]["split"] for job in found.jobs} == {split}
    assert all(job.config for job in found.jobs)


def test_a_sweep_over_folds_of_a_split_without_folds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BcadvError, match=r"data\.fold=1 means nothing with data\.split=paper"):
        precheck(["+sweep=folds", "data.split=paper", f"paths.outputs={tmp_path}"])


def test_a_shuffled_list_is_shuffled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = tiny_overrides(tmp_path, "tracking.enabled=false", "seed=shuffle(1,2,3,4,5,6,7,8,9)")
    checked, found = precheck(line, multirun=True)
    assert found is not None
    order = [job.raw["seed"] for job in found.jobs]
    assert sorted(order) == list(range(1, 10)) != order
    assert f"seed={','.join(map(str, order))}" in checked


@pytest.mark.parametrize("value", [0.30000000000000004, 0.1 + 0.2, "0.3", 0.3])
def test_a_sum_in_binary_is_the_decimal_it_stands_for(value: object) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = {**settings(compose_job([])), "sigma": value, "eps_px": [value, 1e-9, 1 / 3]}
    config = validate(raw)
    assert config.sigma == 0.3
    assert config.eps_px == (0.3, 1e-9, 0.333333333333)


def test_a_long_list_of_mistakes_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    said = answer(
        monkeypatch, capsys, "-m", f"sigma={','.join(f'x{n}' + 'y' * 200 for n in range(12))}"
    )
    first, _, mistakes = said.partition("\n")
    assert "a sweep of 12 jobs" in first
    assert len(mistakes) < SCREENFUL + 20
    assert "characters left out" in mistakes


def test_relative_places_do_not_move_into_the_jobs_folder(tmp_path: Path) -> None:
    whole = [f"paths.outputs={quoted(str(tmp_path))}", "hydra.job.chdir=true"]
    assert precheck(whole)[0] == whole
    with pytest.raises(BcadvError, match=r"paths\.cache=cache would lie there"):
        precheck([*whole, "paths.cache=cache"])
    with pytest.raises(BcadvError, match=r"paths\.outputs=o would lie|data\.root=o/synthetic"):
        precheck(["-m", "sigma=0,1", "paths.outputs=o", "hydra.job.chdir=true"][1:], multirun=True)
