"""The command: `python -m bcadv.run +experiment=defense sigma=0.1`.

A thin main around `bcadv.job.run`. What it adds to Hydra: mistakes are answered in a sentence
before anything heavy is imported, and `resume=true` goes on in the folder of the unfinished job.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bcadv.config import validate
from bcadv.errors import BcadvError
from bcadv.explain import explain, option_names


def conf_dir() -> Path:
    """The conf tree: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def resolve(cfg: DictConfig) -> Mapping[str, Any]:
    """A composed configuration as plain containers."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    return {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else {}


def task(cfg: DictConfig) -> None:
    """One job, in the folder that Hydra made for it."""
    config = validate(resolve(cfg))
    from bcadv.job import run

    run(config, Path(HydraConfig.get().runtime.output_dir))


def precheck(overrides: list[str]) -> list[str]:
    """Judges the command line of a single job before Hydra makes a folder for it.

    Args:
        overrides: Hydra's, as on the command line.

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
    return [] if folder is None else [f"hydra.run.dir='{folder}'"]


def complain(message: str) -> NoReturn:
    """Ends with status 2 and the message, without a traceback."""
    sys.stderr.write(f"bcadv: {message}\n")
    sys.exit(2)


def main() -> None:
    """Runs the command line."""
    # Threads that wait must not spin: on a machine with other work that costs a factor of ten.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Hydra then hands errors on instead of ending the process with its own words.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # Python 3.14 checks help texts and refuses the lazy one that Hydra 1.3 passes.
    container: Any = argparse._ActionsContainer
    if hasattr(container, "_check_help"):
        container._check_help = lambda self, action: None
    try:
        if not any(item.startswith("-") for item in sys.argv[1:]):
            sys.argv += precheck(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(task)()
    except BcadvError as error:
        complain(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            known = option_names(OmegaConf.to_container(compose("config"), resolve=False))
        complain(explain(error, known))
    except OSError as error:
        if error.filename is None:
            raise
        complain(
            f"{error.filename}: {error.strerror}. Results go below paths.outputs and decoded "
            "images to paths.cache: name folders that can be written, with space left."
        )
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
