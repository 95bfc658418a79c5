"""The worst case of several attacks."""

from __future__ import annotations

from bcadv.perturb.row import Attack, Option

ROWS = (
    Attack(
        name="worst",
        place="bcadv.perturb.worst:WorstCase",
        label="{preset} worst case",
        words="Attacks in order on the images still standing (after Croce and Hein 2020).",
        access="white box",
        family="worst case",
        how="attacks in order, each on the images that still stand",
        norms=("inf", "2", "1"),
        options=(
            Option(
                "preset",
                "standard",
                "choice",
                "Which attacks: quick (seconds per image on a CPU), standard or thorough.",
                choices=("quick", "standard", "thorough"),
            ),
        ),
    ),
)
