"""Attacks that follow the gradient within a ball."""

from __future__ import annotations

from bcadv.perturb.row import Attack, Option

ROWS = (
    Attack(
        name="fgsm",
        place="bcadv.perturb.attacks.fgsm:FGSM",
        label="FGSM",
        words="Fast gradient sign method (Goodfellow et al. 2015): one full step.",
        access="white box",
        family="gradient",
        how="one step",
        norms=("inf", "2"),
        steps=1,
    ),
    Attack(
        name="pgd",
        place="bcadv.perturb.attacks.pgd:PGD",
        label="PGD-{steps}",
        words="Projected gradient descent (Madry et al. 2018): many small steps.",
        access="white box",
        family="gradient",
        how="projected steps along the gradient, {steps} from each start",
        norms=("inf", "2"),
        options=(
            Option("steps", 20, "whole number", "Gradients per restart.", low=1),
            Option("restarts", 1, "whole number", "Attempts from different points.", low=1),
            Option("random_start", True, "true or false", "Begin at a random point of the ball."),
            Option(
                "step_size",
                None,
                "number",
                "Length of every step as a share of epsilon; null: from 2 down to 0.05.",
                low=1e-6,
                high=2,
                optional=True,
            ),
        ),
    ),
)
