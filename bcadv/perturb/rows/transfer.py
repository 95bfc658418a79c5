"""Attacks that are made on another model."""

from __future__ import annotations

from bcadv.perturb.row import Attack, Option

ROWS = (
    Attack(
        name="transfer",
        place="bcadv.perturb.attacks.transfer:Transfer",
        label="transfer from {surrogate!s:.8}",
        words="Transfer (Szegedy et al. 2014): what PGD makes on another, stored model is tried.",
        access="transfer",
        family="transfer",
        how="PGD-{steps} on the stored model {surrogate!s:.8}, one try at each radius",
        norms=("inf", "2"),
        options=(
            Option(
                "surrogate",
                None,
                "text",
                "The other model: its fingerprint, or the beginning, see bcadv models.",
                optional=True,
            ),
            Option("steps", 20, "whole number", "Gradients of the other model.", low=1),
        ),
        model_option="surrogate",
    ),
)
