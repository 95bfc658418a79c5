"""What Hydra's tree takes from the catalogs: the options of attacks and objectives.

A new attack or objective is a row of its catalog; it needs no file of its own in the conf tree.
"""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from bcadv.defend.catalog import OBJECTIVES
from bcadv.perturb.catalog import ATTACKS


def register() -> None:
    """Puts the options of all attacks and objectives into Hydra's store, once or again."""
    tree = {name: row.settings({}) for name, row in ATTACKS.items() if row.options}
    ConfigStore.instance().store(name="attack_options", node={"attack": tree}, provider="bcadv")
    objectives = {name: row.settings({}) for name, row in OBJECTIVES.items() if row.options}
    node = {"objective_options": objectives}
    ConfigStore.instance().store(name="objective_options", node=node, provider="bcadv")
