"""Attacks that look for the nearest adversarial image; one run serves every radius."""

from __future__ import annotations

from bcadv.perturb.row import Attack

ROWS: tuple[Attack, ...] = ()
