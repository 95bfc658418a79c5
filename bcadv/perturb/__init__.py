"""Attacks and noise: anything that changes an image."""
from __future__ import annotations
import importlib
from typing import Any
_PLACES = {"FGSM": "gradient", "PGD": "gradient", "GradientAttack": "gradient", "GaussianNoise": "noise", "ThreatModel": "threat", "CheckedPerturbation": "base", "Sweep": "base"}
__all__ = list(_PLACES)
def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"bcadv.perturb.{_PLACES[name]}"), name)
    raise AttributeError(name)
