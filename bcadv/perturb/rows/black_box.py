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
            Option(
                "frugal",
                False,
                "true or false",
                "Leave images early that at their pace would not break within the budget.",
            ),
        ),
    ),
    Attack(
        name="spsa",
        place="bcadv.perturb.attacks.spsa:SPSA",
        label="SPSA-{queries}",
        words="SPSA (Uesato et al. 2018): steps along gradients estimated from answers.",
        access="black box, scores",
        family="black box",
        how="steps along gradients estimated from answers, {queries} queries at most",
        norms=("inf", "2"),
        options=(
            Option("queries", 1000, "whole number", "Answers per image and radius.", low=1),
            Option("samples", 10, "whole number", "Pairs of points in an estimate.", low=1),
            Option(
                "sigma",
                0.5,
                "number",
                "How far they lie from the point, as a share of epsilon.",
                low=1e-6,
                high=1,
            ),
            Option("tile", 2, "whole number", "Side of squares that move as one, pixels.", low=1),
        ),
    ),
    Attack(
        name="hopskipjump",
        place="bcadv.perturb.attacks.hopskipjump:HopSkipJump",
        label="HopSkipJump-{queries}",
        words="HopSkipJump (Chen et al. 2020): along the boundary, from decisions alone.",
        access="black box, decisions",
        family="minimal norm",
        how="a walk along the decision boundary, {queries} queries at most",
        norms=("inf", "2"),
        options=(
            Option("queries", 1000, "whole number", "Answers per image.", low=1),
            Option("samples", 40, "whole number", "Random points in the first estimate.", low=2),
        ),
    ),
    Attack(
        name="random",
        place="bcadv.perturb.attacks.random_noise:RandomNoise",
        label="best of {draws} random points",
        words="Chance: the best of many random points of the ball's edge.",
        access="black box, scores",
        family="black box",
        how="the best of {draws} random points",
        norms=("inf", "2"),
        options=(Option("draws", 100, "whole number", "Points tried at each radius.", low=1),),
    ),
)
