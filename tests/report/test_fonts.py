from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib import font_manager
from matplotlib.font_manager import fontManager
from matplotlib.image import imread

from bcadv.report import fonts
from bcadv.report.style import new_figure, svg_of

HAS, LACKS = "\U00020000", "\U00020001"  # Chinese characters that few fonts have


def _write_font(path: Path, family: str) -> None:
    """A font whose only character is a filled square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(HAS): "square"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900)
    builder.setupPost()
    builder.save(path)


def _forget() -> None:
    for known in (fonts._own, fonts._covered, fonts._add_new_fonts):
        known.cache_clear()
    fonts._told.clear()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fonts as matplotlib brings them, and nothing said yet."""
    own = str(Path(font_manager.findfont("DejaVu Sans")).parent)
    before = fontManager.ttflist
    # `findfont` follows links, such as one to an environment; the list does not.
    brought = [entry for entry in before if Path(entry.fname).resolve().is_relative_to(own)]
    monkeypatch.setattr(fontManager, "ttflist", brought)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    _forget()
    yield
    _forget()


@pytest.fixture
def installed(fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A font that was installed after matplotlib listed the fonts, and one that is damaged."""
    paths = [tmp_path / "square.ttf", tmp_path / "damaged.ttf"]
    _write_font(paths[0], "WenQuanYi Zen Hei")
    paths[1].write_bytes(b"no font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path) for path in paths])


def _ink(text: str) -> float:
    figure = new_figure(1, 1, "", synthetic=False)
    figure.text(0.1, 0.3, text, fontsize=40)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    stream.seek(0)
    return float((imread(stream)[..., 0] < 0.5).mean())


def test_a_font_that_has_the_character_is_found_and_used(
    installed: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert fonts.fallback_families({HAS}) == ["WenQuanYi Zen Hei"]
    assert _ink(HAS) == pytest.approx((36 / 72) ** 2, abs=0.01)
    assert caplog.records == []


def test_only_what_is_written_in_it_gets_the_font(installed: None) -> None:
    figure = new_figure(3, 2, HAS, synthetic=True)
    svg = svg_of(figure, "it")
    assert svg.count("WenQuanYi Zen Hei") == 1


def test_what_no_font_has_is_said_once_with_the_remedy(
    fresh: None, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            _ink(f"{HAS}{LACKS} \n\u200f")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"No font of this machine has {HAS} {LACKS}: " in record.message
    assert "Noto Sans CJK" in record.message
    _ink(LACKS)
    assert len(caplog.records) == 1


def test_many_characters_without_a_font_make_no_long_warning(
    fresh: None, caplog: pytest.LogCaptureFixture
) -> None:
    fonts.fallback_families({chr(0x20000 + i) for i in range(500)})
    assert "and 480 more" in caplog.text
    assert len(caplog.records[0].message) < 400


def test_latin_greek_and_the_marks_of_the_report_need_no_other_font(fresh: None) -> None:
    assert fonts.lacking("σ = 0.1, ε × “é” – … \n\x1b\u200f") == set()
    assert fonts.lacking(f"a{HAS}") == {HAS}
