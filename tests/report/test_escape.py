from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bcadv.report.escape import code_block, markdown_text
from tests.outside import ACTING, NAMES

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _inline(tokens: list[Token]) -> list[str]:
    """The text of each block; fails where it holds more than text, emphasis or a figure."""
    found = []
    for token in tokens:
        if token.type != "inline":
            continue
        assert token.children is not None
        parts = [child for child in token.children if child.content or child.type != "text"]
        kinds = {child.type for child in parts}
        assert kinds <= {"text", "text_special", "strong_open", "strong_close", "image"}
        found.append("".join(child.content for child in parts))
    return found


def _seen(name: str) -> str:
    return " ".join(name.split(" ")).strip()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_rendered_text_is_the_text(name: str) -> None:
    for before, after in (("", ""), ("- ", ""), ("# ", ""), ("**", "**")):
        tokens = RENDERER.parse(f"{before}{markdown_text(name)}{after}\n")
        assert _inline(tokens) == [_seen(name)]
        assert {token.type for token in tokens if token.type.endswith("open")} <= {
            "paragraph_open",
            *(["bullet_list_open", "list_item_open"] if before == "- " else []),
            *(["heading_open"] if before == "# " else []),
        }


@pytest.mark.parametrize(("name", "escaped"), ACTING.values(), ids=ACTING)
def test_what_acts_is_an_escape_in_markdown(name: str, escaped: str) -> None:
    assert _inline(RENDERER.parse(markdown_text(name))) == [escaped]


def test_github_finds_no_formula_and_no_footnote() -> None:
    assert markdown_text("$x$ [^1]") == r"\$x\$ \[^1]"


@pytest.mark.parametrize(
    "text", ["27.5 [19.4, 37.4]", "p < 0.001", "snake_case.csv", "ε = 1/255", "-1.5", "a & b", "3"]
)
def test_what_does_not_act_stays_readable(text: str) -> None:
    assert markdown_text(text) in {text, f"\\{text}"}
    assert markdown_text(text) == text or text.startswith("-")


def test_code_is_fenced_by_more_than_it_holds() -> None:
    text = "runs='a\n````\n# b'"
    lines = code_block(text, "console")
    (token,) = RENDERER.parse("\n".join(lines))
    assert (token.type, token.content) == ("fence", f"{text}\n")
