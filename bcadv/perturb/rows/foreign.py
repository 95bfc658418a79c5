"""Attacks of other libraries, by their names there."""

from __future__ import annotations

from bcadv.perturb.row import Attack, Option

ROWS = (
    Attack(
        name="art",
        place="bcadv.perturb.attacks.art:ART",
        label="ART {method}",
        words="Any evasion attack of ART (Nicolae et al. 2018); needs bcadv[art].",
        access="white box",
        family="foreign",
        how="{method} of the Adversarial Robustness Toolbox",
        norms=("inf", "2", "1", "0"),
        options=(
            Option("method", "ProjectedGradientDescent", "text", "Class of art.attacks.evasion."),
            Option(
                "options",
                None,
                "settings",
                "Of that class, as {max_iter: 50}; null: as it comes.",
                optional=True,
            ),
        ),
        less={
            "black box, decisions": "BoundaryAttack|HopSkipJump|SignOPTAttack|Spatial.*",
            "black box, scores": "PixelAttack|SimBA|SquareAttack|ThresholdAttack|ZooAttack",
        },
    ),
    Attack(
        name="foolbox",
        place="bcadv.perturb.attacks.foolbox:Foolbox",
        label="foolbox {method}",
        words="Any attack of foolbox (Rauber et al. 2017); needs bcadv[foolbox].",
        access="white box",
        family="foreign",
        how="{method} of foolbox",
        norms=("inf", "2", "1", "0"),
        options=(
            Option(
                "method",
                "PGD",
                "text",
                "Class of foolbox.attacks; PGD is LinfPGD, L2PGD or L1PGD, as the norm is.",
            ),
            Option(
                "options",
                None,
                "settings",
                "Of that class, as {steps: 50}; null: as it comes.",
                optional=True,
            ),
        ),
        less={
            "black box, decisions": "BoundaryAttack|HopSkipJump.*|Pointwise.*"
            "|.*(Noise|Contrast|Blur|Inversion).*",
            "black box, scores": "GenAttack",
        },
    ),
)
