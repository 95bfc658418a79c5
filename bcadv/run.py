"""The command: `python -m bcadv.run +experiment=defense sigma=0.1`.

A thin main around `bcadv.job.run`. What it adds to Hydra: mistakes are answered in a sentence
before anything heavy is imported, and `resume=true` goes on in the folder of the unfinished job.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bcadv import sweep
from bcadv.config import validate
from bcadv.errors import BcadvError
from bcadv.explain import explain, option_names
from bcadv.options import register
from bcadv.sweep import Sweep
from bcadv.world import started_outside

register()


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
    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    # Without the overlays that would make a sweep of this one job again.
    overrides = tuple(
        str(item)
        for item in hydra_cfg.overrides.task
        if not str(item).startswith(("+sweep=", "+launcher="))
    )
    in_sweep = str(hydra_cfg.mode).endswith("MULTIRUN")
    number = int(hydra_cfg.job.num) if in_sweep else None
    raw = resolve(cfg)
    try:
        config = validate(raw)
        # Jobs that were handed to a cluster outlive a command that is killed and begun again.
        with sweep.own(folder) if in_sweep else nullcontext():
            if (in_sweep or config.resume) and sweep.finished(folder, raw):
                what = "This job" if number is None else f"Job {number}"
                sweep.say(f"{what} has ended already; its results are in {folder}.")
                return
            (folder / sweep.FAILED).unlink(missing_ok=True)
            from bcadv.job import run
            from bcadv.results.origin import Origin

            name = folder.parent.name if in_sweep else None
            run(config, folder, Origin(overrides, sweep.result_key(raw), name, number))
    except Exception as error:
        if number is None:
            raise
        sweep.note_failure(folder, error)
        # A plain one: not every exception survives the way back from another process.
        raise sweep.JobFailed(str(error)) from None


def compose_job(overrides: Sequence[str]) -> DictConfig:
    """The configuration of a command line, with Hydra's own part."""
    return compose("config", overrides=list(overrides), return_hydra_config=True)


def settings(cfg: DictConfig) -> Mapping[str, Any]:
    """A composed configuration without Hydra's own part, as plain containers."""
    return resolve(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))


def precheck(overrides: list[str], *, multirun: bool = False) -> tuple[list[str], Sweep | None]:
    """Judges a command line before Hydra makes a folder for it.

    Args:
        overrides: Hydra's, as on the command line.
        multirun: whether `-m` was given.

    Returns:
        Overrides to add (the folder to go on in), and the sweep that the command asks for.

    Raises:
        BcadvError: when the configuration cannot be used.
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        parser = OverridesParser.create()
        parsed = parser.parse_overrides(overrides)
        single = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
        cfg = compose_job(single)
        if multirun or str(cfg.hydra.mode).endswith("MULTIRUN"):
            if started_outside(os.environ) is not None:
                raise BcadvError(
                    "srun and torchrun start one job, not a sweep: for a sweep on several devices "
                    "set trainer.devices, and let a launcher start the jobs."
                )
            return _precheck_sweep(cfg, overrides)
        raw = settings(compose_job(overrides))
    config = validate(raw)
    if not config.resume or any(item.startswith("hydra.run.dir") for item in overrides):
        return [], None
    from bcadv.resume import unfinished

    folder = unfinished(raw, config)
    return ([] if folder is None else [f"hydra.run.dir='{folder}'"]), None


def _precheck_sweep(cfg: DictConfig, overrides: list[str]) -> tuple[list[str], Sweep | None]:
    # Other sweepers choose values as they go; only Hydra's own is known beforehand.
    if not str(cfg.hydra.sweeper._target_).endswith("BasicSweeper"):
        return [], None
    # Loaded here because a single job does without it.
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    unresolved: Any = OmegaConf.to_container(cfg.hydra.sweep, resolve=False)
    if unresolved["subdir"] != "${hydra.job.num}":
        raise BcadvError(
            f"hydra.sweep.subdir={unresolved['subdir']}: the jobs of a sweep lie in folders "
            "named by their numbers; leave the option out."
        )
    params = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()]
    parsed = OverridesParser.create().parse_overrides([*params, *overrides])
    [batch] = BasicSweeper.split_arguments(parsed, None)
    jobs = [sweep.judge(job, settings(compose_job(job))) for job in batch]
    named = any(item.startswith("hydra.sweep.dir=") for item in overrides)
    planned = sweep.plan(
        jobs,
        Path(str(settings(cfg)["paths"]["outputs"])),
        Path(str(cfg.hydra.sweep.dir)) if named else None,
    )
    planned.start()
    return [f"hydra.sweep.dir='{planned.folder}'"], planned


def follow(overrides: list[str], *, multirun: bool = False) -> None:
    """What the command is in a process that srun or torchrun started beside the leading one.

    It makes no folder of its own, and leaves mistakes to the leader to explain.

    Args:
        overrides: Hydra's, as on the command line.
        multirun: whether `-m` was given.
    """
    try:
        more, _ = precheck(overrides, multirun=multirun)
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose_job([*overrides, *more])
            folder, raw = Path(str(cfg.hydra.run.dir)), settings(cfg)
    except (BcadvError, HydraException, OmegaConfBaseException):
        sys.exit(2)
    config = validate(raw)
    if not (config.resume and sweep.finished(folder, raw)):
        from bcadv.job import run

        run(config, folder)


def complain(message: str) -> NoReturn:
    """Ends with status 2 and the message, without a traceback."""
    sys.stderr.write(f"bcadv: {message}\n")
    sys.exit(2)


MULTIRUN = ("-m", "--multirun")

ENVIRONMENT = {
    # Hydra then hands errors on instead of ending the process with its own words.
    "HYDRA_FULL_ERROR": "1",
    # Ray reports its use to its makers unless told not to.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray leaves out lines that two jobs both print, such as rows of their tables.
    "RAY_DEDUP_LOGS": "0",
}
"""Set unless the user has set it; workers inherit it."""


def main() -> None:
    """Runs the command line."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Python 3.14 checks help texts and refuses the lazy one that Hydra 1.3 passes.
    container: Any = argparse._ActionsContainer
    if hasattr(container, "_check_help"):
        container._check_help = lambda self, action: None
    planned: Sweep | None = None
    try:
        overrides = [item for item in sys.argv[1:] if item not in MULTIRUN]
        if not any(item.startswith("-") for item in overrides):
            flags = [item for item in sys.argv[1:] if item in MULTIRUN]
            world = started_outside(os.environ)
            if world is not None and world.rank > 0:
                follow(overrides, multirun=bool(flags))
                return
            more, planned = precheck(overrides, multirun=bool(flags))
            # Flags first: argparse takes no options on both sides of one.
            sys.argv[1:] = [*flags, *overrides, *more]
        # With nothing missing, workers or a cluster would be started only to be stopped.
        if planned is None or planned.missing():
            with planned.watched() if planned else nullcontext():
                hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(
                    task
                )()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if planned is None:
            _explain(error)
        if not isinstance(error, sweep.JobFailed):
            # The launcher, or a worker that was killed.
            cause = (str(error).splitlines() or [""])[0]
            sweep.say(f"the sweep stopped: {type(error).__name__}: {cause}")
    if planned is not None:
        summary, status = planned.summary()
        sweep.say(summary)
        sys.exit(status)


def _explain(error: Exception) -> NoReturn:
    """Ends the process with a sentence where one can be given."""
    if isinstance(error, BcadvError):
        complain(str(error))
    if isinstance(error, HydraException | OmegaConfBaseException):
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            known = option_names(OmegaConf.to_container(compose("config"), resolve=False))
        complain(explain(error, known))
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = "" if error.filename is None else f" ({error.filename})"
        complain(
            f"the disk is full{where}: results go below paths.outputs and decoded images to "
            "paths.cache. Free some space and give the same command again, or name other folders."
        )
    if isinstance(error, OSError) and error.filename is not None:
        complain(
            f"{error.filename}: {error.strerror}. Results go below paths.outputs and decoded "
            "images to paths.cache: if it is one of these, name folders that can be written."
        )
    raise error


if __name__ == "__main__":
    main()
