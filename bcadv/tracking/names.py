"""The names of metrics in MLflow, defined once. Pure.

========================================  ========================================================
``accuracy_at_02``                        accuracy left at strength 2, whichever attack does worst;
                                          ``accuracy_at_00`` is that of clean images
``accuracy_l2_at_00.5``                   the same in the Euclidean norm
``as_trained/clean/auroc``                a metric of clean images
``as_trained/fgsm_linf/auroc_at_02``      a metric under one attack in one norm at one strength
``as_trained/fgsm_linf_by_1000_eps/auroc``  its curve; the step is 1000 times epsilon
``mean_corruption_error``                 of all corruptions of the job, at all severities
``as_trained/jpeg/corruption_error``      of one corruption, the mean over its severities
``as_trained/jpeg/accuracy_at_03``        a metric under one corruption at one severity
``as_trained/jpeg_by_severity/auroc``     its curve; the step is the severity
``by_epoch/val_loss``                     of training; the step is the epoch
========================================  ========================================================

The first ones have no prefix, so that MLflow, which groups metrics by what stands before the last
slash, shows them in a group of their own; they are of all attacks that the job ran, under its first
choice of BatchNorm statistics. The first part of a group is the choice of BatchNorm statistics, and
a name never depends on what else the job did: below equal names the numbers of two runs are
comparable. (Not so the steps of a curve that numbers its strengths, because no whole number tells
them apart.)

A strength is in the unit of its condition: grey levels of 255 in the maximum norm, of a corruption
its severity, else pixels in [0, 1]. It is written such that the alphabetical order of names is the
order of strengths.
"""

from __future__ import annotations

from decimal import Decimal

from bcadv.results.condition import Condition, Norm

MAIN = "accuracy"
"""The metric that has names without a prefix."""

# Before a number of three, four or five digits: it sorts behind all digits.
_LONGER = "xyz"
# MLflow takes names of 250 characters.
_DIGITS = 60


def strength_text(strength: float) -> str:
    """A strength with two digits before the point: ``02``, ``00.25``, ``16``; then ``x128``.

    Numbers so written sort as texts like their values. (Those below 1e-50 are told apart, and no
    more.)

    Args:
        strength: from 0 to below 100000.
    """
    whole, _, fraction = f"{Decimal(f'{strength:.9g}'):f}".partition(".")
    if len(fraction) > _DIGITS:
        return f"00.{strength:.9g}"
    longer = _LONGER[len(whole) - 3] if len(whole) > 2 else ""
    return f"{longer}{whole:0>2}{'.' if fraction else ''}{fraction}"


def main_name(norm: Norm, strength: float) -> str:
    """Of the accuracy that attacks in a norm leave at a strength; 0: clean."""
    where = "" if norm == "inf" else f"_l{norm}"
    return f"{MAIN}{where}_at_{strength_text(strength)}"


def clean_name(batchnorm: str, metric: str) -> str:
    """Of a metric of clean images."""
    return f"{batchnorm}/clean/{metric}"


def corruption_name(batchnorm: str | None, series: str | None) -> str:
    """Of a corruption error.

    Args:
        batchnorm: choice of BatchNorm statistics; ``None``: the first.
        series: the corruption; ``None``: all of them.
    """
    error = "corruption_error" if series else "mean_corruption_error"
    return "/".join(part for part in (batchnorm, series, error) if part)


def point_name(batchnorm: str, condition: Condition, metric: str) -> str:
    """Of a metric under a condition, as a number of its own."""
    return f"{batchnorm}/{condition.series}/{metric}_at_{strength_text(condition.strength)}"


def curve_group(condition: Condition, scale: int | None) -> str:
    """Names the curves of a condition's series by what their step means.

    Args:
        condition: any one of the series.
        scale: steps per unit of the strength; ``None``: strengths are numbered in their order.
    """
    if condition.unit == "severity":
        return f"{condition.series}_by_severity"
    symbol = "sigma" if condition.kind == "noise" else "eps"
    return f"{condition.series}_by_{'place_of' if scale is None else scale}_{symbol}"


def epoch_name(metric: str) -> str:
    """Of a metric of training."""
    return f"by_epoch/{metric}"
