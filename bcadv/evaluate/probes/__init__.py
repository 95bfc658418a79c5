"""Checks that ask the model itself, on a sample of the test images; each gives a `Finding`.

What they look for is collected in Carlini et al., "On evaluating adversarial robustness" (2019,
section 5), Croce and Hein's AutoAttack (ICML 2020, its checks of the model) and Pintor et al.,
"Indicators of attack failure" (NeurIPS 2022).
"""

from bcadv.evaluate.probes.probe import Budget, probe
from bcadv.evaluate.probes.subject import Subject, Tried

__all__ = ["Budget", "Subject", "Tried", "probe"]
