"""``--help`` says every option in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bcadv.arguments import WIDTH
from bcadv.config import Config, fields_of
from bcadv.data.catalog import SOURCES
from bcadv.defend.catalog import OBJECTIVES
from bcadv.help import words_of, words_of_file
from bcadv.models.catalog import NETWORKS
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.corrupt.catalog import CORRUPTIONS
from bcadv.run import conf_dir, main

Help = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Help:
    def ask(*line: str) -> str:
        monkeypatch.setattr("sys.argv", ["bcadv.run", "--help", *line])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
        return capsys.readouterr().out

    return ask


def sections() -> dict[Any, str]:
    """Every class that has options -> where they stand on the command line."""
    inner = {
        field.annotation: f"{name}."
        for name, field in Config.model_fields.items()
        if hasattr(field.annotation, "model_fields")
    }
    rows = {row.settings: "data." for row in SOURCES.values()}
    return inner | rows | {row.settings: "model." for row in NETWORKS.values()} | {Config: ""}


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_option_has_words_beside_its_definition(section: Any) -> None:
    words = words_of(section)
    plain = {
        name: field
        for name, field in section.model_fields.items()
        if not hasattr(field.annotation, "model_fields")
    }
    assert [name for name in plain if len(words.get(name, "")) < 10] == []


def test_every_option_stands_in_the_help_which_fits_a_terminal(shown: Help) -> None:
    said = shown()
    assert max(map(len, said.splitlines())) <= WIDTH
    names = [
        f"{prefix}{name}"
        for section, prefix in sections().items()
        for name, field in fields_of(section).items()
        if not hasattr(field.annotation, "model_fields")
        and name not in {"attack", "objective_options"}
    ]
    names += [f"attack.{row.name}.{one.name}" for row in ATTACKS.values() for one in row.options]
    assert len(names) > 60
    assert [name for name in names if f"\n  {name}=" not in said] == []
    for rows in (ATTACKS, CORRUPTIONS, OBJECTIVES):
        assert all(f"\n  {name} " in said for name in rows)


def test_it_shows_the_values_that_a_command_line_gives(shown: Help) -> None:
    said = shown(
        "data=folder", 'data.group_regex="^(p[0-9]+)$"', "sigma=0.25", "attack.pgd.steps=7"
    )
    assert "data=folder (chosen)" in said
    assert "  +sweep=seed " in said
    assert "data.group_regex=^(p[0-9]+)$ " in said
    assert "  sigma=0.25 " in said
    assert "  attack.pgd.steps=7 " in said
    assert "  with data=synthetic:" in said


def test_every_file_that_can_be_chosen_says_what_it_is() -> None:
    folders = [folder for folder in conf_dir().iterdir() if folder.is_dir()]
    several = [sorted(folder.glob("*.yaml")) for folder in folders]
    files = [file for found in several if len(found) > 1 for file in found]
    assert len(files) > 10
    assert [file.name for file in files if not words_of_file(file).endswith((".", "'"))] == []
