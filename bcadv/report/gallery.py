"""Original, change and attacked image in a row: fig. 6 of Li & Liu 2023, and the gallery.

The gallery reads ``gallery.npz``, k test images that are right when clean:

==================  =====================  =====================================================
array               shape, type            meaning
==================  =====================  =====================================================
image               (k, 3, H, W) uint8     the clean image, times 255
adversarial         (k, 3, H, W) float32   the attacked image, in [0, 1]
condition           (k,) str               id of the condition that it was attacked under: the
                                           weakest that flips it, or the strongest tried
flipped             (k,) bool              whether any epsilon flips it
first               (k,) bool              among the first to flip, or among the last
target              (k,) int               true class
image_id            (k,) str               name of the image
prediction          (k,) int               the class that the clean image is called
prob_clean          (k, K) float           the model's probabilities for it
prediction_adversarial, prob_adversarial   the same for the attacked image
==================  =====================  =====================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from bcadv.errors import BcadvError
from bcadv.report.arrays import Array, load_arrays
from bcadv.report.pictures import (
    Examples,
    check_classes,
    one_per_class,
    show,
    show_change,
    verdict,
)
from bcadv.report.style import new_figure, short
from bcadv.results.schema import Condition

_ARRAYS = {
    "image": Array(("k", 3, "H", "W"), "u1"),
    "adversarial": Array(("k", 3, "H", "W"), "f", 0, 1),
    "condition": Array(("k",), "U"),
    "flipped": Array(("k",), "b"),
    "first": Array(("k",), "b"),
    "target": Array(("k",), "i", 0),
    "image_id": Array(("k",), "U"),
    "prediction": Array(("k",), "i", 0),
    "prob_clean": Array(("k", "K"), "f", 0, 1),
    "prediction_adversarial": Array(("k",), "i", 0),
    "prob_adversarial": Array(("k", "K"), "f", 0, 1),
}


@dataclass(frozen=True)
class Triplet:
    """An image before and after an attack.

    Attributes:
        name: of the image.
        clean: (3, H, W) in [0, 1].
        attacked: the same.
        target: true class.
        condition: that it was attacked under.
        remark: stands beside its strength.
        called_clean: class that the clean image is called.
        called_attacked: class that the attacked image is called.
        prob_clean: (K,) the model's probabilities for the clean image.
        prob_attacked: (K,) for the attacked image.
    """

    name: str
    clean: NDArray[Any]
    attacked: NDArray[Any]
    target: int
    condition: Condition
    remark: str
    called_clean: int
    called_attacked: int
    prob_clean: NDArray[Any]
    prob_attacked: NDArray[Any]


def triplets_figure(
    triplets: Sequence[Triplet], classes: Sequence[str], title: str, *, synthetic: bool
) -> Figure:
    """A row for each image: original, change (amplified, with its scale), attacked.

    Below the images stand the likeliest class with its probability and whether it is right.

    Args:
        triplets: one or more.
        classes: class names.
        title: title of the figure.
        synthetic: whether the images are made up.
    """
    figure = new_figure(5.2, 2.45 * len(triplets) + 0.4, title, synthetic=synthetic, fontsize=10)
    grid = figure.subplots(len(triplets), 3, squeeze=False)
    for (original, change, attacked), triplet in zip(grid, triplets, strict=True):
        show(original, triplet.clean)
        truth = short(f"truly {classes[triplet.target]}", 24)
        original.set_title(f"{short(triplet.name, 24)}\n{truth}", fontsize=8.5)
        verdict(original, triplet.called_clean, triplet.prob_clean, triplet.target, classes)
        show_change(change, triplet.attacked - triplet.clean)
        show(attacked, triplet.attacked)
        remark = f"\n{triplet.remark}" if triplet.remark else ""
        attacked.set_title(f"{short(triplet.condition.text, 24)}{remark}", fontsize=8.5)
        verdict(attacked, triplet.called_attacked, triplet.prob_attacked, triplet.target, classes)
    return figure


def example_triplets(
    examples: Examples, attack: int, known: Mapping[str, Condition]
) -> list[Triplet]:
    """One image of each class under the attack of this number."""
    return [
        Triplet(
            name=f"test image no. {int(examples['index'][i])}",
            clean=examples["image"][i] / 255,
            attacked=examples["adversarial"][attack, i],
            target=int(examples["target"][i]),
            condition=known[str(examples["condition"][attack])],
            remark="",
            called_clean=int(examples["prediction"][i]),
            called_attacked=int(examples["prediction_adversarial"][attack, i]),
            prob_clean=examples["prob_clean"][i],
            prob_attacked=examples["prob_adversarial"][attack, i],
        )
        for i in one_per_class(examples["target"])
    ]


def gallery_triplets(
    path: Path, classes: int, known: Mapping[str, Condition]
) -> tuple[list[Triplet], list[Triplet]]:
    """Reads ``gallery.npz``.

    Args:
        path: of the file.
        classes: number of classes of the job.
        known: the job's conditions by their ids.

    Returns:
        The images that flip first, and those that flip last or never.

    Raises:
        BcadvError: if the file cannot be read or an array is not what it should be.
    """
    kept = load_arrays(path, _ARRAYS, {"K": classes})
    check_classes(path, kept["target"], classes)
    sides: tuple[list[Triplet], list[Triplet]] = ([], [])
    for i in range(len(kept["image"])):
        flipped, name = bool(kept["flipped"][i]), str(kept["condition"][i])
        if name not in known:
            raise BcadvError(
                f"{path} is about {name}, which the job's results do not know; run the job again."
            )
        triplet = Triplet(
            name=str(kept["image_id"][i]),
            clean=kept["image"][i] / 255,
            attacked=kept["adversarial"][i],
            target=int(kept["target"][i]),
            condition=known[name],
            remark="the weakest tried that flips it" if flipped else "never flipped",
            called_clean=int(kept["prediction"][i]),
            called_attacked=int(kept["prediction_adversarial"][i]),
            prob_clean=kept["prob_clean"][i],
            prob_attacked=kept["prob_adversarial"][i],
        )
        sides[0 if kept["first"][i] else 1].append(triplet)
    return sides
