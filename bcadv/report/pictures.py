"""Image figures: what noise and attack look like, beside the original (Li & Liu 2023, fig. 4, 6).

Both read ``examples.npz``, k test images and m epsilons:

==================  =====================  =====================================================
array               shape, type            meaning
==================  =====================  =====================================================
image               (k, 3, H, W) uint8     the clean image exactly as the model saw it, times 255
noisy               (k, 3, H, W) float32   the image with training noise
sigma               () float               standard deviation of that noise, in [0, 1] units
adversarial         (m, k, 3, H, W) f32    the attacked image, in [0, 1]
condition           (m,) str               id of the condition that it was attacked under
target              (k,) int               true class
index               (k,) int               number of the image in the data set
prediction          (k,) int               the class that the clean image is called
prob_clean          (k, K) float           the model's probabilities for it
prediction_adversarial, prob_adversarial   the same for the attacked images, (m, k), (m, k, K)
==================  =====================  =====================================================

The perturbation is shown as ``adversarial - image / 255``; an ``image`` rounded to grey levels
after cropping would show rounding instead of attack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from bcadv.errors import BcadvError
from bcadv.report.arrays import Array, Arrays, load_arrays
from bcadv.report.style import BLUE, ORANGE, RUST, new_figure, short, spread
from bcadv.results.schema import Condition

Examples: TypeAlias = Arrays

ARRAYS = {
    "image": Array(("k", 3, "H", "W"), "u1"),
    "noisy": Array(("k", 3, "H", "W"), "f"),
    "sigma": Array((), "f", 0),
    "adversarial": Array(("m", "k", 3, "H", "W"), "f", 0, 1),
    "condition": Array(("m",), "U"),
    "target": Array(("k",), "i", 0),
    "index": Array(("k",), "i", 0),
    "prediction": Array(("k",), "i", 0),
    "prob_clean": Array(("k", "K"), "f", 0, 1),
    "prediction_adversarial": Array(("m", "k"), "i", 0),
    "prob_adversarial": Array(("m", "k", "K"), "f", 0, 1),
}
_SHOWN_IMAGES = 3
_FRAME = ORANGE  # stands out from the pink and violet of stained tissue


def load_examples(path: Path, classes: int) -> Examples:
    """Reads ``examples.npz``.

    Args:
        path: of the file.
        classes: number of classes of the job.

    Raises:
        BcadvError: if the file cannot be read or an array is not what it should be.
    """
    examples = load_arrays(path, ARRAYS, {"K": classes})
    if not len(examples["image"]):
        raise BcadvError(f"{path} holds no image; run the job again.")
    check_classes(path, examples["target"], classes)
    return examples


def check_classes(path: Path, target: NDArray[Any], classes: int) -> None:
    """Raises a `BcadvError` where a class has no name."""
    if target.size and target.max() >= classes:
        raise BcadvError(
            f"The array target of {path} has class {target.max()}, the job has {classes} classes "
            "from 0; run the job again."
        )


def noise_figure(
    examples: Examples, classes: Sequence[str], title: str, *, synthetic: bool
) -> Figure:
    """One image per class beside itself with training noise, each with a zoomed inset.

    Args:
        examples: from `load_examples`.
        classes: class names.
        title: title of the figure.
        synthetic: whether the images are made up.
    """
    shown = one_per_class(examples["target"])
    sigma = float(examples["sigma"])
    figure = new_figure(5.2, 2.75 * len(shown) + 0.5, title, synthetic=synthetic, fontsize=10)
    for row, i in zip(figure.subplots(len(shown), 2, squeeze=False), shown, strict=True):
        what = f"{short(classes[int(examples['target'][i])], 20)}, no. {int(examples['index'][i])}"
        clean = examples["image"][i] / 255
        for axes, image, name in (
            (row[0], clean, f"original: {what}"),
            (row[1], examples["noisy"][i], f"noise of σ = {sigma:g} ({255 * sigma:g}/255)"),
        ):
            show(axes, image)
            axes.set_title(name, fontsize=9)
            _zoom(axes, image)
    return figure


def adversarial_figure(
    examples: Examples,
    known: Mapping[str, Condition],
    classes: Sequence[str],
    title: str,
    *,
    synthetic: bool,
) -> Figure:
    """Original, perturbation (amplified) and attacked image, for a few images and strengths.

    Each heading gives the class that the image is called and its probability, and whether it is
    right.

    Args:
        examples: from `load_examples`, with at least one strength above 0.
        known: the job's conditions by their ids.
        classes: class names.
        title: title of the figure.
        synthetic: whether the images are made up.
    """
    images = one_per_class(examples["target"])
    attacks = spread_attacks(examples, known)
    columns = 1 + 2 * len(attacks)
    figure = new_figure(2.5 * columns, 3.0 * len(images) + 0.6, title, synthetic=synthetic)
    for row, i in zip(figure.subplots(len(images), columns, squeeze=False), images, strict=True):
        target = int(examples["target"][i])
        clean = examples["image"][i] / 255
        show(row[0], clean)
        row[0].set_title(f"original: {short(classes[target], 18)}", fontsize=9)
        verdict(row[0], int(examples["prediction"][i]), examples["prob_clean"][i], target, classes)
        for j, a in enumerate(attacks):
            condition = known[str(examples["condition"][a])]
            show_change(row[1 + 2 * j], examples["adversarial"][a, i] - clean)
            attacked = row[2 + 2 * j]
            show(attacked, examples["adversarial"][a, i])
            attacked.set_title(short(condition.text, 24), fontsize=9)
            called = int(examples["prediction_adversarial"][a, i])
            verdict(attacked, called, examples["prob_adversarial"][a, i], target, classes)
    return figure


def one_per_class(target: NDArray[Any]) -> list[int]:
    """Positions of the first image of each class, at most a few."""
    first = np.unique(target, return_index=True)[1]
    return [int(i) for i in first[:_SHOWN_IMAGES]]


def spread_attacks(examples: Examples, known: Mapping[str, Condition]) -> list[int]:
    """Numbers of at most three strengths above 0: the smallest, a middle one, the largest.

    Raises:
        BcadvError: the file is about a condition that the job does not know.
    """
    strengths = []
    for name in examples["condition"]:
        if str(name) not in known:
            raise BcadvError(
                f"The example images are of {name}, which the job's results do not know; run the "
                "job again."
            )
        strengths.append(known[str(name)].strength)
    order = sorted((i for i, s in enumerate(strengths) if s > 0), key=lambda i: strengths[i])
    return spread(order, 3)


def show(axes: Axes, image: NDArray[Any]) -> None:
    """Shows an image, (3, H, W) in [0, 1]; SVG files keep its very pixels."""
    axes.imshow(np.clip(np.moveaxis(image, 0, -1), 0, 1), interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])


def show_change(axes: Axes, change: NDArray[Any]) -> None:
    """Shows what an attack added, amplified, with its scale.

    The largest change becomes black or white whatever epsilon is; grey is no change.

    Args:
        axes: to draw in.
        change: (3, H, W) attacked minus original.
    """
    largest = float(np.abs(change).max())
    show(axes, 0.5 + (change * 0.5 / largest if largest > 0 else change))
    axes.set_title(f"change × {0.5 / largest:.3g}" if largest > 0 else "no change", fontsize=9)
    axes.set_xlabel(f"largest: {255 * largest:.3g}/255", fontsize=9)


def _zoom(axes: Axes, image: NDArray[Any]) -> None:
    """Magnifies the middle seventh of the image into its lower right corner."""
    height, width = image.shape[1:]
    side = max(4, min(height, width) // 7)
    top, left = (height - side) // 2, (width - side) // 2
    inset = axes.inset_axes((0.57, 0.02, 0.41, 0.41))
    show(inset, image[:, top : top + side, left : left + side])
    for spine in inset.spines.values():
        spine.set(color=_FRAME, linewidth=2)
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=_FRAME, linewidth=2)
    )


def verdict(
    axes: Axes, prediction: int, probability: NDArray[Any], target: int, classes: Sequence[str]
) -> None:
    """Writes the prediction below the image and frames the image by whether it is right."""
    right = prediction == target
    color = BLUE if right else RUST
    name = short(classes[prediction], 18)
    axes.set_xlabel(
        f"{name} {probability[prediction]:.3f}\n{'right' if right else 'WRONG'}",
        color=color,
        fontsize=9,
    )
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=2.5)
