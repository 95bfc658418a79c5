"""The command ``bcadv``: its verbs, and what it says of what it does not understand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest

import bcadv
from bcadv.arguments import WIDTH
from bcadv.cli.catalog import VERBS, Verb
from bcadv.cli.main import main
from bcadv.report.__main__ import Arguments
from bcadv.report.options import PREVALENCE

Said = tuple[int, str, str]
TABLED = [verb for verb in VERBS.values() if not verb.hands_on]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    status = main(arguments)
    read = capsys.readouterr()
    return status, read.out, read.err


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_every_verb(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, *arguments)
    assert (status, err) == (0, "")
    assert all(f"\n  {verb.name} " in out and verb.words in out for verb in VERBS.values())
    assert max(map(len, out.splitlines())) <= WIDTH


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version") == (0, f"bcadv {bcadv.__version__}\n", "")


@pytest.mark.parametrize("verb", TABLED, ids=lambda verb: verb.name)
def test_each_verb_has_a_table_of_its_options(
    verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    name, command = verb.name, import_module(verb.place).COMMAND
    more = dict.fromkeys(place for place in verb.second.values() if place != verb.place)
    whole = [command, *(import_module(place).COMMAND for place in more)]
    assert said(capsys, name, "--help") == (0, "\n".join(f"{one.help()}\n" for one in whole), "")
    for second, place in verb.second.items():
        helped = f"{import_module(place).COMMAND.help()}\n"
        assert said(capsys, name, second, "--help") == (0, helped, "")
    assert command.name == f"bcadv {name}"
    assert len({option.name for option in command.options}) == len(command.options) > 0
    assert said(capsys, name, "no=1", "-h")[0] == 0
    assert all(option.words.endswith(".") for option in command.options)
    assert all(
        example.startswith(f"bcadv {name} ") or example == f"bcadv {name}"
        for example, _ in command.examples
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reprot"], "did you mean bcadv report?"),
        (["--sync"], "did you mean bcadv sync?"),
        (["xyz"], "there are run, report, models, sync, data, ui."),
        (["sigma=0.1"], "write bcadv run sigma=0.1"),
        ([""], "there is no verb an empty argument"),
        (["a\x1b[31mb"], r"a\x1b[31mb"),
        (["report", "run=x"], "did you mean runs=x?"),
        (["models", "outputs=nowhere"], "outputs=nowhere cannot be used"),
        (["sync", "--outputs", "x"], "write outputs="),
        (["sync", "outputs=nowhere"], "outputs=nowhere is not a folder"),
        (["ui", "port=http"], "port=http cannot be used"),
        (["data", "download=x", "data=folder"], "data=folder cannot be used with download="),
        (
            ["data", "download=x", "near=true"],
            "near= cannot be used with download=",
        ),
        (["data", "url=http://x"], "url= is about fetching BreakHis: add download=DIR"),
        (["data", "data.rot=x"], "unknown option data.rot: did you mean data.root?"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_mistake_is_answered_in_one_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = said(capsys, *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert err.startswith("bcadv: ")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_run_takes_what_python_m_bcadv_run_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr("sys.argv", ["bcadv", "run", "-m", "sigma=0,1", "--cfg", "job"])
    monkeypatch.setattr("bcadv.run.main", lambda: given.append(sys.argv[1:]))
    assert main() == 0
    assert main(["run", "--help"]) == 0
    assert given == [["-m", "sigma=0,1", "--cfg", "job"], ["--help"]]
    assert capsys.readouterr().out == ""


def test_a_stop_by_ctrl_c_has_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bcadv.run.main", stopped)
    monkeypatch.setattr("sys.argv", ["bcadv"])
    assert main(["run"]) == 130


def test_report_is_made_of_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Arguments] = []
    monkeypatch.setattr("bcadv.report.__main__.report", lambda given, _: asked.append(given))
    runs = [f"runs={tmp_path}", f"runs={tmp_path.parent}"]
    assert main(["report", *runs, f"out={tmp_path / 'new'}", "prevalence=0.3"]) == 0
    assert asked == [Arguments((tmp_path, tmp_path.parent), tmp_path / "new", 0.3)]


def test_report_counts_missed_cases_as_the_page_does() -> None:
    options, _ = import_module(VERBS["report"].place).COMMAND.parse([])
    assert options["prevalence"] == PREVALENCE


def test_no_verb_is_misplaced() -> None:
    """Every row names a module that has what a verb needs."""
    for verb in VERBS.values():
        assert callable(import_module(verb.place).run)


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from bcadv.cli.catalog import VERBS\n"
        "from bcadv.cli.main import main\n"
        "main(['--help'])\n"
        "print('loaded', *sorted({'hydra', 'pydantic', 'rich', 'numpy'} & set(sys.modules)))\n"
        "for verb in VERBS.values(): verb.hands_on or main([verb.name, '--help'])\n"
        "heavy = {'torch', 'pytorch_lightning', 'mlflow', 'pandas', 'matplotlib', 'numpy'}\n"
        "print('loaded', *sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("loaded")] == [
        "loaded"
    ] * 2
