"""Attacks that look for the nearest adversarial image; one run serves every radius."""

from __future__ import annotations

from bcadv.perturb.row import Attack, Option

_DEEPFOOL = (
    Option("steps", 50, "whole number", "Steps at most.", low=1),
    Option(
        "overshoot",
        0.02,
        "number",
        "By which share each step goes beyond the linear model's boundary.",
        low=0,
        high=1,
    ),
    Option(
        "candidates",
        10,
        "whole number",
        "Classes, by their logits, to whose boundaries it looks.",
        low=1,
    ),
)

ROWS: tuple[Attack, ...] = (
    Attack(
        name="deepfool",
        place="bcadv.perturb.attacks.deepfool:DeepFool",
        label="DeepFool",
        words="DeepFool (Moosavi-Dezfooli et al. 2016): steps to the linear model's boundary.",
        access="white box",
        family="minimal norm",
        how="steps to the nearest boundary of the linear model, {steps} at most",
        norms=("inf", "2"),
        options=_DEEPFOOL,
    ),
    Attack(
        name="superdeepfool",
        place="bcadv.perturb.attacks.superdeepfool:SuperDeepFool",
        label="SuperDeepFool",
        words="SuperDeepFool (Abdollahpoor et al. 2024): DeepFool, then along the boundary.",
        access="white box",
        family="minimal norm",
        how="DeepFool, then projections onto the boundary's tangent plane, {rounds} at most",
        norms=("2",),
        options=(
            *_DEEPFOOL,
            Option("rounds", 50, "whole number", "Projections at most.", low=1),
        ),
    ),
    Attack(
        name="ddn",
        place="bcadv.perturb.attacks.ddn:DDN",
        label="DDN",
        words="Decoupled direction and norm (Rony et al. 2019): steps on a sphere that adapts.",
        access="white box",
        family="minimal norm",
        how="steps along the gradient on a sphere that adapts, {steps} at most",
        norms=("2",),
        options=(Option("steps", 300, "whole number", "Steps at most.", low=1),),
    ),
    Attack(
        name="fmn",
        place="bcadv.perturb.attacks.fmn:FMN",
        label="FMN",
        words="Fast minimum norm (Pintor et al. 2021): steps in a ball that adapts.",
        access="white box",
        family="minimal norm",
        how="steps along the gradient in a ball that adapts, {steps} at most",
        norms=("inf", "2", "1", "0"),
        options=(Option("steps", 300, "whole number", "Steps at most.", low=1),),
    ),
    Attack(
        name="cw",
        place="bcadv.perturb.attacks.cw:CW",
        label="C&W",
        words="Carlini and Wagner (2017): distance and missing lead, weighed by a constant.",
        access="white box",
        family="minimal norm",
        how="Adam on distance and missing lead, {search_steps} constants of {steps} steps at most",
        norms=("2",),
        options=(
            Option("steps", 100, "whole number", "Steps for each constant at most.", low=1),
            Option("search_steps", 9, "whole number", "Constants at most.", low=1),
            Option(
                "lr",
                0.1,
                "number",
                "First step in each pixel, as a share of the distance spread over all pixels.",
                low=1e-6,
                high=10,
            ),
            Option("confidence", 0.0, "number", "Lead that the result must have.", low=0),
        ),
    ),
)
