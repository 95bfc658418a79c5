"""stand-in"""
from __future__ import annotations
from dataclasses import dataclass
from typing import Any
@dataclass(frozen=True)
class Option:
    name: str; kind: str; default: Any; low: float|None; high: float|None; description: str
@dataclass(frozen=True)
class Row:
    name: str; place: str; label: str; norms: tuple; words: str; how: str; options: tuple = ()
    def check(self, options): pass
    def settings(self, options): return {o.name: options.get(o.name, o.default) for o in self.options}
    def label_of(self, norm, settings): return (self.label if norm == "inf" or self.name != "fgsm" else "FGM") + (", L2" if norm == "2" else "")
    def how_of(self, settings): return self.how.format(**settings)
ATTACKS = {"fgsm": Row("fgsm", "bcadv.perturb.gradient:FGSM", "FGSM", ("inf","2"), "Fast gradient sign method.", "white box, one step"),
"pgd": Row("pgd", "bcadv.perturb.gradient:PGD", "PGD", ("inf","2"), "Projected gradient descent.", "white box, {steps} steps", (Option("steps","int",20,1,None,"steps"),))}
def build(name, threat, *, seed, targeted=False, options=()):
    from bcadv.perturb import gradient
    cls = gradient.FGSM if name == "fgsm" else gradient.PGD
    return cls(threat, targeted=targeted, **dict(options))
