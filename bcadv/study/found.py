"""What a finding on a study is: an answer, a doubt or a limit, decided, with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bcadv.results.schema import Outcome


@dataclass(frozen=True)
class Found:
    """A finding on a study.

    Attributes:
        id: its kind; the report has a sentence for each.
        outcome: ``ok``, ``failed`` (what ought to hold does not), or ``unknown``.
        weight: how grave it is; the gravest comes first.
        section: of the report, where its evidence stands.
        facts: the numbers and names of the sentence.
        about: name of the arm; empty: the study.
        taints: ids of the conditions whose numbers it makes suspect.
    """

    id: str
    outcome: Outcome
    weight: int
    section: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    taints: tuple[str, ...] = ()
