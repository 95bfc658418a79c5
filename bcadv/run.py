"""The command: `python -m bcadv.run +experiment=defense sigma=0.1`.

A thin main around `bcadv.job.run`. What it adds to Hydra: mistakes are answered in a sentence before
anything heavy is imported, and `resume=true` goes on in the folder of the unfinished job.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bcadv.config import Config, validate
from bcadv.errors import BcadvError


def conf_dir() -> Path:
    """The conf tree: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def resolve(cfg: DictConfig) -> Mapping[str, Any]:
    """Plain containers of a composed configuration."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(plain, dict):
        raise BcadvError("the configuration is not a mapping")
    return {str(key): value for key, value in plain.items()}


def task(cfg: DictConfig) -> None:
    """One job, in the folder that Hydra made for it."""
    config = validate(resolve(cfg))
    from bcadv.job import run

    run(config, Path(HydraConfig.get().runtime.output_dir))


def precheck(overrides: list[str]) -> list[str]:
    """Judges the command line of a single job before Hydra makes a folder for it.

    Returns:
        Overrides to add: with `resume=true`, the folder of the job to go on with.

    Raises:
        BcadvError: when the configuration cannot be used.
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("config", overrides=overrides, return_hydra_config=True)
    if str(cfg.hydra.mode).endswith("MULTIRUN"):
        return []  # each job of a sweep is judged by itself
    raw = resolve(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))
    config = validate(raw)
    if not config.resume or any(item.startswith("hydra.run.dir") for item in overrides):
        return []
    from bcadv.resume import unfinished

    folder = unfinished(raw, config)
    return [] if folder is None else [f"hydra.run.dir={folder}"]


def option_names(node: Any, prefix: str = "") -> list[str]:
    """Every option's dotted name, for 'did you mean'."""
    if not isinstance(node, Mapping):
        return [prefix]
    return [
        name
        for key, value in node.items()
        for name in option_names(value, f"{prefix}.{key}" if prefix else str(key))
    ]


def explain(error: Exception) -> str:
    """Hydra's and OmegaConf's complaints as one sentence."""
    text = " ".join(str(error).split())
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        name = unknown.group(1)
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            names = option_names(OmegaConf.to_container(compose("config"), resolve=False))
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "python -m bcadv.run --help lists them all."
        return f"unknown option {name}: {hint}"
    group = re.search(r"In '[^']*': Could not find '([^']+)' Available options in '([^']+)': (.*?)(?: Config search path|$)", text)
    if group:
        return f"there is no {group.group(1)}: {group.group(2)} can be {', '.join(group.group(3).split())}."
    found = re.search(r"Could not find '([^']+)'", text)
    if found:
        return f"there is no {found.group(1)} in the conf tree: python -m bcadv.run --help lists it."
    ambiguous = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if ambiguous:
        return (
            f"{ambiguous.group(1)} names several values: add -m to run a job for each, "
            "or write a list in brackets."
        )
    return text.removesuffix(" Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.")


def complain(message: str) -> NoReturn:
    """Ends with status 2 and the message, without a traceback."""
    sys.stderr.write(f"bcadv: {message}\n")
    sys.exit(2)


def main() -> None:
    """Runs the command line."""
    arguments = sys.argv[1:]
    # Hydra then hands errors on instead of ending the process with its own words.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        if not any(item.startswith("-") for item in arguments):
            sys.argv += precheck(arguments)
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(task)()
    except BcadvError as error:
        complain(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        complain(explain(error))
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["Config", "conf_dir", "main", "precheck", "task"]

if __name__ == "__main__":
    main()
