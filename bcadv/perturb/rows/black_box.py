"""Attacks that ask the model for answers alone."""

from __future__ import annotations

from bcadv.perturb.row import Attack

ROWS: tuple[Attack, ...] = ()
