"""How accuracy falls with the strength of each attack."""

from __future__ import annotations

from functools import partial

from bcadv.report.document import Block, Picture, Pictures, Text
from bcadv.report.draft import Draft, slug
from bcadv.report.figures import METRICS, MOST_BANDS, accuracy_by_sigma, curve, heat_map
from bcadv.report.words import say
from bcadv.results.condition import CLEAN, Series
from bcadv.study.naming import variant_name


def blocks(draft: Draft) -> list[Block]:
    """Curves and tables of the accuracy, sigma against epsilon where both were varied."""
    made: list[Block] = []
    drawn = False
    for series in draft.study.sized:
        pictures = tuple(curves(draft, series, "accuracy"))
        made += [Pictures(pictures)] if pictures else []
        drawn |= bool(pictures)
        conditions = [CLEAN, *series.conditions]
        made += draft.tables(f"Accuracy, {series.label}", conditions, draft.rates("accuracy"))
    maps = tuple(_maps(draft))
    made += [Pictures(maps)] if maps else []
    if not draft.study.attacks:
        return [Text("Nothing was attacked, so nothing can be said about robustness."), *made]
    bands = {len(arms) <= MOST_BANDS for _, arms in draft.groups()}
    curve_said = say("curve", seeds=draft.seeds, bands=True in bands, bars=False in bands)
    said = [curve_said] if drawn else []
    return [Text(" ".join([*said, say("in_percent", seeds=draft.seeds)])), *made]


def curves(draft: Draft, series: Series, metric: str) -> list[Picture]:
    """A figure for each group of arms; none of a perturbation that was tried at one strength."""
    if len(series.conditions) < 2:
        return []
    return [
        draft.album.add(
            slug("robustness", metric, series.name, title),
            partial(curve, draft.study, arms, series, metric),
            alt=f"{METRICS[metric]} against the strength of {series.label}, a line for each of "
            f"{'; '.join(arm.name for arm in arms)}. The numbers stand in the tables.",
            caption=title,
        )
        for title, arms in draft.groups()
    ]


def _maps(draft: Draft) -> list[Picture]:
    pictures = []
    for attack in draft.study.attacks:
        for variant in dict.fromkeys(arm.variant for arm in draft.study.arms if arm.sigma):
            values = accuracy_by_sigma(draft.study, attack, variant)
            if values is None:
                continue
            pictures.append(
                draft.album.add(
                    slug("heatmap", attack.name, variant),
                    partial(heat_map, draft.study, attack, variant, values),
                    alt=f"Accuracy in per cent: a row for each sigma of the training noise, a "
                    f"column for each epsilon of {attack.label}; {variant_name(variant)}.",
                    caption="σ: standard deviation of the training noise, pixels in [0, 1].",
                )
            )
    return pictures
