"""The sections of the report in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bcadv.report import pictured
from bcadv.report.document import Album, Block, Bullets, Command, Paragraph, Section, section
from bcadv.study.study import Study
from bcadv.report.tabular import Table
from bcadv.report.words import Words


def sections(
    study: Study, said: Words, made: Sequence[Table], album: Album, command: str
) -> tuple[Section, ...]:
    """Everything that the report says, from top to bottom.

    Args:
        study: what to draw from.
        said: what is said in words.
        made: the tables.
        album: takes the figures.
        command: what to type to make this report again.
    """
    left = {table.name: table for table in made}

    def take(*names: str) -> list[Block]:
        return [left.pop(name) for name in names if name in left]

    def drawn(
        anchor: str, title: str, part: Callable[[Study, Album], list[Block]], *more: Block
    ) -> list[Section]:
        """A section with figures; where making it fails, a sentence says so in their stead."""
        try:
            blocks = part(study, album)
        except Exception as error:
            blocks = [Paragraph(album.fail(title, error), strong=True)]
        return section(anchor, title, [*blocks, *more])

    return (
        *section("what", "What was run", _what(said)),
        *section("verdict", "Verdict", [Paragraph(said.verdict)]),
        *section(
            "paper", "Beside the paper", take("table1_counts", "table2_clean", "table3_malignant")
        ),
        *section("calibration", "Calibration of epsilon", take("calibration")),
        *drawn("robustness", "Robustness curves", pictured.robustness, *take("robustness")),
        *section("paired", "Paired comparison", take("comparisons")),
        *section("consequences", "What it means for patients", take("consequences")),
        *drawn("heatmap", "Sigma and epsilon", pictured.heat),
        *drawn("noise", "Gaussian noise (the paper’s Fig. 4)", pictured.noise),
        *drawn("training", "Accuracy against epoch (the paper’s Fig. 5)", pictured.epochs),
        *drawn("attacked", "Original and attacked images (the paper’s Fig. 6)", pictured.attacked),
        *drawn("flips", "Images that flip first and last", pictured.flips),
        *section("left-out", "Left out", _bullets(study.left_out)),
        *section("method", "How it was made", _bullets(said.method)),
        *section("environment", "Environment", take("environment")),
        *section(
            "remake",
            "Make this page again",
            [Paragraph("From the same folder as before:"), Command(command)],
        ),
    )


def _what(said: Words) -> list[Block]:
    """What was run; what the splits share may not be overlooked."""
    return [
        *_bullets(said.what),
        *(Paragraph(text, strong=True) for text in (*said.leakage, *said.suspect)),
    ]


def _bullets(items: tuple[str, ...]) -> list[Block]:
    return [Bullets(items)] if items else []
