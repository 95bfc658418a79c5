"""On what the jobs ran: versions, device, commit; what differs between them is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd

from bcadv.study.jobs import Job
from bcadv.report.tabular import Table
from bcadv.results.schema import Result

UNKNOWN = "unknown"


def environment_table(jobs: Iterable[Job]) -> Table:
    """What the jobs ran on.

    Args:
        jobs: one or more.

    Returns:
        A line per item; where jobs differ, every value with the number of its jobs.
    """
    of_each = [_items(job.result) for job in jobs]
    names = dict.fromkeys(name for items in of_each for name in items)
    lines = {name: Counter(items.get(name, UNKNOWN) for items in of_each) for name in names}
    mixed = [name for name, values in lines.items() if len(values) > 1]
    shown = pd.DataFrame(
        {
            "what": list(lines),
            "value": [_shown(values) for values in lines.values()],
        }
    )
    notes = [f"The jobs differ in: {', '.join(mixed)}."] if mixed else []
    return Table("environment", "Environment of the jobs", shown.copy(), shown, tuple(notes))


def _items(result: Result) -> dict[str, str]:
    """The items of one job as text; nested ones by their own names."""
    items = {"code": result.run.git_commit or UNKNOWN}
    for name, value in result.environment.items():
        if isinstance(value, Mapping):
            items |= {str(key): str(inner) for key, inner in value.items()}
        else:
            items[str(name)] = UNKNOWN if value is None else str(value)
    return items


def _shown(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "mixed: " + ", ".join(
        f"{value} ({n} job{'s' if n > 1 else ''})" for value, n in sorted(values.items())
    )
