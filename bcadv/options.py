"""What Hydra's tree takes from the catalogs: options, and a line for each attack for --help.

A new attack or objective is a row of its catalog; it needs no file of its own in the conf tree.
"""

from __future__ import annotations

import textwrap

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
    OmegaConf.register_new_resolver("attacks", describe, replace=True)


def describe() -> str:
    """A line for each attack and each of its options."""
    lines = []
    for name, row in ATTACKS.items():
        lines.append(f"{name:<8} {row.words} Norms: {', '.join(row.norms)}.")
        lines += [
            textwrap.fill(
                f"attack.{name}.{option.name}={option.default}: {option.description}",
                width=96,
                initial_indent="           ",
                subsequent_indent="               ",
            )
            for option in row.options
        ]
    return "\n".join(lines)
