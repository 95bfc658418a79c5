"""What Hydra's tree takes from the program: the options of attacks and objectives, and counting.

A new attack or objective is a row of its catalog; it needs no file of its own in the conf tree.
"""

from __future__ import annotations

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from bcadv.defend.catalog import OBJECTIVES
from bcadv.perturb.catalog import ATTACKS


def register() -> None:
    """Puts the options of all attacks and objectives into Hydra's store, once or again."""
    tree = {name: row.settings({}) for name, row in ATTACKS.items() if row.options}
    ConfigStore.instance().store(name="attack_options", node={"attack": tree}, provider="bcadv")
    objectives = {name: row.settings({}) for name, row in OBJECTIVES.items() if row.options}
    node = {"objective_options": objectives}
    ConfigStore.instance().store(name="objective_options", node=node, provider="bcadv")
    OmegaConf.register_new_resolver("numbers", _numbers, replace=True)


def _numbers(most: int) -> str:
    """A list for a sweep: ``1,2,3``; of what is no number the schema says so."""
    whole = isinstance(most, int) and most >= 1
    return ",".join(str(n) for n in range(1, most + 1)) if whole else str(most)
