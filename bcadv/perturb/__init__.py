"""Attacks and noise: anything that changes an image.

Names load when they are asked for, because the catalog beside them is read before torch is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bcadv.perturb.attacks.apgd import APGD
    from bcadv.perturb.attacks.art import ART
    from bcadv.perturb.attacks.bim import BIM
    from bcadv.perturb.attacks.cw import CW
    from bcadv.perturb.attacks.ddn import DDN
    from bcadv.perturb.attacks.deepfool import DeepFool
    from bcadv.perturb.attacks.difgsm import DIFGSM
    from bcadv.perturb.attacks.fab import FAB
    from bcadv.perturb.attacks.fgsm import FGSM
    from bcadv.perturb.attacks.fmn import FMN
    from bcadv.perturb.attacks.foolbox import Foolbox
    from bcadv.perturb.attacks.hopskipjump import HopSkipJump
    from bcadv.perturb.attacks.jsma import JSMA
    from bcadv.perturb.attacks.lbfgs import LBFGS
    from bcadv.perturb.attacks.mifgsm import MIFGSM
    from bcadv.perturb.attacks.nifgsm import NIFGSM
    from bcadv.perturb.attacks.pgd import PGD
    from bcadv.perturb.attacks.random_noise import RandomNoise
    from bcadv.perturb.attacks.rfgsm import RFGSM
    from bcadv.perturb.attacks.sigma_zero import SigmaZero
    from bcadv.perturb.attacks.spsa import SPSA
    from bcadv.perturb.attacks.square import Square
    from bcadv.perturb.attacks.superdeepfool import SuperDeepFool
    from bcadv.perturb.attacks.tifgsm import TIFGSM
    from bcadv.perturb.attacks.transfer import Transfer
    from bcadv.perturb.base import CheckedPerturbation, Sweep
    from bcadv.perturb.loop import GradientAttack
    from bcadv.perturb.noise import GaussianNoise
    from bcadv.perturb.precision import LowPrecision
    from bcadv.perturb.threat import ThreatModel
    from bcadv.perturb.worst import WorstCase

__all__ = [
    "APGD",
    "ART",
    "BIM",
    "CW",
    "DDN",
    "DIFGSM",
    "FAB",
    "FGSM",
    "FMN",
    "JSMA",
    "LBFGS",
    "MIFGSM",
    "NIFGSM",
    "PGD",
    "RFGSM",
    "SPSA",
    "TIFGSM",
    "CheckedPerturbation",
    "DeepFool",
    "Foolbox",
    "GaussianNoise",
    "GradientAttack",
    "HopSkipJump",
    "LowPrecision",
    "RandomNoise",
    "SigmaZero",
    "Square",
    "SuperDeepFool",
    "Sweep",
    "ThreatModel",
    "Transfer",
    "WorstCase",
]

_PLACES = {
    "CheckedPerturbation": "base",
    "Sweep": "base",
    "GradientAttack": "loop",
    "GaussianNoise": "noise",
    "LowPrecision": "precision",
    "ThreatModel": "threat",
}


def __getattr__(name: str) -> Any:
    from bcadv.perturb.catalog import ATTACKS

    place = f"bcadv.perturb.{_PLACES[name]}" if name in _PLACES else None
    for row in ATTACKS.values():
        module, _, attack = row.place.partition(":")
        if attack == name:
            place = module
    if place is None:
        raise AttributeError(f"module 'bcadv.perturb' has no attribute {name!r}")
    return getattr(import_module(place), name)
