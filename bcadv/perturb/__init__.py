"""Attacks and noise: anything that changes an image. Imports torch only."""

from bcadv.perturb.base import CheckedPerturbation, Sweep
from bcadv.perturb.gradient import FGSM, GradientAttack
from bcadv.perturb.noise import GaussianNoise
from bcadv.perturb.threat import ThreatModel

__all__ = [
    "FGSM",
    "CheckedPerturbation",
    "GaussianNoise",
    "GradientAttack",
    "Sweep",
    "ThreatModel",
]
