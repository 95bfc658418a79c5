"""Attacks that ask the model for answers alone."""

from __future__ import annotations

from bcadv.perturb.row import Attack, Option

ROWS = (
    Attack(
        name="square",
        place="bcadv.perturb.attacks.square:Square",
        label="Square-{queries}",
        words="Square Attack (Andriushchenko et al. 2020): random search over squares of colour.",
        access="black box, scores",
        family="black box",
        how="random search over squares, {queries} queries at most",
        norms=("inf", "2"),
        options=(
            Option("queries", 1000, "whole number", "Answers per image and radius.", low=1),
            Option(
                "p_init",
                0.8,
                "number",
                "Share of the image that the first squares cover.",
                low=1e-6,
                high=1,
            ),
        ),
    ),
)
