"""What the sections of a report are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import attrgetter

from bcadv.report.document import Album, Cell, Table
from bcadv.report.figures import MOST_LINES
from bcadv.report.marks import Notes
from bcadv.results.condition import CLEAN, Condition, Series
from bcadv.study.arms import Arm, undefended
from bcadv.study.facts import Facts
from bcadv.study.found import Found
from bcadv.study.headline import Conclusion
from bcadv.study.naming import variant_name
from bcadv.study.numbers import IN_PER_CENT
from bcadv.study.prose import spread
from bcadv.study.study import Study

COLUMNS = 4
"""Models side by side in a table: as many as a phone has room for."""


@dataclass(frozen=True)
class Draft:
    """A study with what it shows, and where its figures go.

    Attributes:
        conclusion: the findings.
        album: takes the figures.
        command: what to type to make this report again.
    """

    conclusion: Conclusion
    album: Album
    command: str

    @property
    def study(self) -> Study:
        return self.conclusion.study

    @property
    def facts(self) -> Facts:
        return self.conclusion.facts

    @cached_property
    def notes(self) -> Notes:
        """Hands out the signs of suspect numbers, the same letters throughout the report."""
        return Notes(self.study.asked)

    def mark(self, arm: Arm, *conditions: Condition) -> str:
        """The sign beside a number of an arm under a condition, or several; mostly nothing."""
        return self.notes.mark(self.study.suspect(arm.name, *conditions))

    def marks_of(self, found: Found) -> dict[str, str]:
        """The signs beside the numbers in the sentence on a finding."""
        facts = found.facts
        points = {
            name: facts[name][0] for name in ("first", "lowest") if facts.get(name) is not None
        }
        points |= {name: CLEAN for name in ("clean", "before") if name in facts}
        points |= {"after": facts["condition"]} if "after" in facts else {}
        return {
            name: self.notes.mark(self.study.suspect(found.about, condition))
            for name, condition in points.items()
        }

    @cached_property
    def seeds(self) -> int:
        """Of the arm that has most."""
        return max((len(arm.seeds) for arm in self.study.arms), default=0)

    @cached_property
    def foremost(self) -> list[Arm]:
        """The arms of the first figure: undefended ones first, spread over the defended."""
        plain = undefended(self.study.arms)[:2]
        others = [arm for arm in self.study.arms if arm not in plain and not arm.defence.none]
        return [*plain, *spread(others, MOST_LINES - len(plain))]

    @cached_property
    def main_attack(self) -> Series | None:
        """The attack that leaves the first model the least accuracy, in its norm."""
        answer = self.conclusion.first.fall.facts
        shown = answer["first"] or answer["lowest"]
        of = next((a for a in self.study.attacks if shown and shown[0] in a.conditions), None)
        return of or next(iter(self.study.attacks), None)

    def groups(self) -> list[tuple[str, list[Arm]]]:
        """Arms of a figure each, by BatchNorm statistics, the reference in all; with a title."""
        arms = list(self.study.arms)
        if len(arms) <= MOST_LINES:
            return [("", arms)]
        reference = [arm for arm in arms if arm is self.study.reference]
        others = [arm for arm in arms if arm not in reference]
        by_variant: dict[str, list[Arm]] = {}
        for arm in others:
            by_variant.setdefault(arm.variant, []).append(arm)
        size = MOST_LINES - len(reference)
        return [
            (variant_name(variant), [*reference, *part])
            for variant, members in by_variant.items()
            for part in chunks(members, size)
        ]

    def tables(
        self,
        title: str,
        conditions: Sequence[Condition],
        cell: Callable[[Arm, Condition], Cell | None],
        *,
        more: Sequence[tuple[str, Callable[[Arm], Cell]]] = (),
    ) -> list[Table]:
        """Tables with a row per strength and a column per model, a few models to a table.

        Args:
            title: of the tables.
            conditions: a row each.
            cell: what stands where; ``None`` where nothing was measured. A model without any cell
                has no column.
            more: further rows, with their names.
        """
        arms = self.study.arms
        cells = {
            arm.name: [
                self._marked(cell(arm, condition), arm, condition) for condition in conditions
            ]
            for arm in arms
        }
        measured = [arm for arm in arms if any(cells[arm.name])]
        kept = [i for i in range(len(conditions)) if any(cells[a.name][i] for a in measured)]
        if len(conditions) > 1 and not any(kept):
            return []  # clean alone stands in another table
        result = []
        for part in chunks(measured, COLUMNS):
            rows = [
                (row_name(conditions[i]), tuple(cells[a.name][i] or Cell("–") for a in part))
                for i in kept
            ]
            rows += [(name, tuple(of(arm) for arm in part)) for name, of in more]
            head = ("strength", *(arm.name for arm in part))
            result.append(Table(title, head, tuple(rows)))
        return result

    def _marked(self, cell: Cell | None, arm: Arm, condition: Condition) -> Cell | None:
        """A cell with the sign of its model and condition, unless it brought another."""
        if cell is None or cell.mark:
            return cell
        return cell._replace(mark=self.mark(arm, condition))

    def rates(self, metric: str) -> Callable[[Arm, Condition], Cell | None]:
        """Cells of one metric, for `tables`."""
        write = attrgetter("rate" if metric in IN_PER_CENT else "decimals")

        def cell(arm: Arm, condition: Condition) -> Cell | None:
            number = self.facts.number(arm, condition, metric)
            return None if number is None else Cell.of(write(number))

        return cell


def row_name(condition: Condition) -> str:
    """Of a row: its strength."""
    said = condition.equation.replace(" ", "\N{NO-BREAK SPACE}")
    return "clean" if condition.clean else said


def chunks(arms: Sequence[Arm], size: int) -> list[list[Arm]]:
    """The arms in parts of at most so many, nearly equal, in their order."""
    if not arms:
        return []
    parts = -(-len(arms) // size)
    ends = [round(i * len(arms) / parts) for i in range(parts + 1)]
    return [list(arms[a:b]) for a, b in pairwise(ends)]


def slug(*parts: str) -> str:
    """A name for files and anchors made of words."""
    kept = "_".join(part for part in parts if part).lower().replace("σ", "sigma")
    return "_".join("".join(c if c.isascii() and c.isalnum() else " " for c in kept).split())
