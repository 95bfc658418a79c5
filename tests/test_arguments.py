"""One table makes the parsing, the help and the answers to mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bcadv.arguments import (
    EXISTING,
    FOLDER,
    TEXT,
    TRUTH,
    WIDTH,
    Command,
    Option,
    aligned,
    from_flags,
    number,
    whole,
)
from bcadv.errors import BcadvError

COMMAND = Command(
    "bcadv thing",
    "Does something. " * 12,
    (
        Option("runs", EXISTING, "Where to look.", (), several=True),
        Option("out", FOLDER, "Where to write.", Path("there")),
        Option("share", number(0, 1), "How much. " * 20, 0.1),
        Option("port", whole(1, 10), "Which one.", 5),
        Option("really", TRUTH, "Whether.", default=False),
        Option("fold_lists", TEXT, "From where."),
    ),
    (("bcadv thing out=a", "an example"),),
)


def parsed(*arguments: str) -> dict[str, Any]:
    options, others = COMMAND.parse(arguments)
    assert others == []
    return options


def test_every_option_has_its_value_or_its_default(tmp_path: Path) -> None:
    assert parsed() == {
        "runs": (),
        "out": Path("there"),
        "share": 0.1,
        "port": 5,
        "really": False,
        "fold_lists": None,
    }
    here = str(tmp_path)
    given = parsed(f"runs={here}", "really=True", "share=.5", f"runs={here}", "port=10", "out=a=b ")
    assert given["runs"] == (tmp_path, tmp_path)
    assert (given["really"], given["share"], given["port"]) == (True, 0.5, 10)
    assert given["out"] == Path("a=b ")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("shar=1", ["unknown option shar", "did you mean share=1?"]),
        ("xyz=1", ["unknown option xyz", "bcadv thing --help"]),
        ("--share=0.2", ["--share=0.2", "write share=0.2"]),
        ("--fold-lists", ["--fold-lists", "write fold_lists=TEXT"]),
        ("+share=0.2", ["+share=0.2", "write share=0.2"]),
        ("share", ["share is not", "write share=NUMBER"]),
        ("there", ["there is not an option, name=value"]),
        ("", ["an empty argument"]),
        ("=1", ["unknown option"]),
        ("share=", ["share= cannot", "it is empty"]),
        ("share=0", ["share=0 cannot", "a number between 0 and 1"]),
        ("share=1", ["share=1 cannot", "a number between 0 and 1"]),
        ("share=nan", ["share=nan cannot", "a number between 0 and 1"]),
        ("share=x", ["share=x cannot", "a number between 0 and 1"]),
        ("port=0", ["port=0 cannot", "from 1 to 10"]),
        ("port=1.5", ["port=1.5 cannot", "from 1 to 10"]),
        ("really=1", ["really=1 cannot", "true or false"]),
        ("runs=/nowhere/at/all", ["runs=/nowhere/at/all cannot", "no such folder"]),
        ("out=a\0b", ["null character"]),
        ("out=" + " " * 3, ["it is empty"]),
        ("fold_list=" + "x" * 5000, ["unknown option fold_list", "characters left out"]),
    ],
)
def test_a_mistake_names_the_argument_and_what_works(argument: str, words: list[str]) -> None:
    with pytest.raises(BcadvError) as caught:
        COMMAND.parse([argument])
    said = str(caught.value)
    assert [word for word in words if word not in said] == []
    assert "convert" not in said, "Python's words on a text that is no number"
    assert len(said) < 1000


def test_an_option_is_given_once() -> None:
    with pytest.raises(BcadvError, match="share is given twice"):
        COMMAND.parse(["share=0.1", "share=0.2"])


def test_a_default_folder_must_be_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = Command("bcadv thing", "", (Option("outputs", EXISTING, "", Path("outputs")),))
    with pytest.raises(BcadvError, match="outputs=outputs cannot be used: there is no such folder"):
        command.parse([])
    (tmp_path / "outputs").mkdir()
    assert command.parse([])[0] == {"outputs": Path("outputs")}


def test_what_is_not_known_can_be_handed_on() -> None:
    command = Command("bcadv thing", "", COMMAND.options, others="all else")
    options, others = command.parse(["data=folder", "share=0.5", "-m", "+sweep=seed"])
    assert options["share"] == 0.5
    assert others == ["data=folder", "-m", "+sweep=seed"]
    assert "all else" in command.help()


def test_help_says_every_option_in_lines_that_fit() -> None:
    said = COMMAND.help()
    assert max(map(len, said.splitlines())) <= WIDTH
    for option in COMMAND.options:
        assert f"\n  {option.name}={option.kind.shown}" in said
        assert option.words.split(maxsplit=1)[0] in said
    for default in ("there", "0.1", "5", "false"):
        assert f"Default: {default}." in said
    assert "bcadv thing out=a" in said
    assert said.count("May be given several times.") == 1


def test_words_begin_at_their_column_or_below_a_long_name() -> None:
    assert list(aligned("x" * 4, "a b", 8)) == ["  xxxx  a b"]
    assert list(aligned("x" * 5, "a b", 8)) == ["  xxxxx", "        a b"]
    assert list(aligned("x", "", 8)) == ["  x"]


def test_flags_are_read_as_options() -> None:
    given = ["--fold-lists", "--odd", "--out=a-b", "share=1", "--help", "x", "--last"]
    assert from_flags(given) == ["fold_lists=--odd", "out=a-b", "share=1", "--help", "x", "--last"]
