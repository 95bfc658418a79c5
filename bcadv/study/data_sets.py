"""Whether two results are of the same data set."""

from __future__ import annotations

from typing import Any

from bcadv.results.schema import Result


def difference(one: Result, other: Result) -> str:
    """In what the data set of one result differs from another's, as a phrase; empty: in nothing.

    The same images in the same classes are the same data set, however a seed, a fold or another
    rule splits them. Results of an earlier program do not name their images: where both drew the
    same parts, the content of these tells them apart, else the number of images of each class.
    """
    if one.data.source != other.data.source:
        return f"data={one.data.source} instead of data={other.data.source}"
    if one.task.classes != other.task.classes:
        return f"classes {'/'.join(one.task.classes)} instead of {'/'.join(other.task.classes)}"
    return "" if _same_images(one, other) else "other images"


def _same_images(one: Result, other: Result) -> bool:
    if one.data.content is not None and other.data.content is not None:
        return one.data.content == other.data.content
    limits = _options(one, "data.per_class")
    if limits != _options(other, "data.per_class"):
        return False
    drawn, other_drawn = (
        _options(result, "seed", "data.split", "data.fold") for result in (one, other)
    )
    if drawn == other_drawn:
        return _training_images(one) == _training_images(other)
    # Limits leave other numbers of images under each seed.
    return bool(limits) or _totals(one) == _totals(other)


def _options(result: Result, *names: str) -> dict[str, Any]:
    """Those of the training that are set, with what stands below them."""
    return {
        option: value
        for option, value in result.training.shape.items()
        if value is not None and any(f"{option}.".startswith(f"{name}.") for name in names)
    }


def _training_images(result: Result) -> str:
    return str(result.training.shape.get("data.content"))


def _totals(result: Result) -> dict[str, int]:
    """Number of images of each class in all parts."""
    totals: dict[str, int] = {}
    for of_part in result.data.counts.values():
        for name, n in of_part.items():
            totals[name] = totals.get(name, 0) + n
    return totals
