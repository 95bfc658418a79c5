"""The command: `python -m bcadv.run +experiment=defense sigma=0.1`.

A thin main around `bcadv.job.run`. What it adds to Hydra: mistakes are answered in a sentence
before anything heavy is imported, and `resume=true` goes on in the folder of the unfinished job.
"""

from __future__ import annotations

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
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bcadv import help, hydra_patches, interrupt, sweep
from bcadv.badge import worn
from bcadv.config import Config, validate
from bcadv.errors import BcadvError
from bcadv.explain import explain, option_names, owners
from bcadv.keys import result_key
from bcadv.opening import opening
from bcadv.options import register
from bcadv.overrides import count_jobs, quoted, read, settled, twice, with_plus
from bcadv.results.files import FAILED
from bcadv.store.fingerprint import flatten
from bcadv.sweep import Sweep
from bcadv.text import first_line, is_utf8, printable, shorten
from bcadv.world import started_outside


def conf_dir() -> Path:
    """The conf tree: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


register()
help.register(conf_dir())


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
        if hydra_cfg.job.chdir:
            _refuse_relative(config)
        # Jobs that were handed to a cluster outlive a command that is killed and begun again.
        with sweep.own(folder) if in_sweep else nullcontext():
            badge = "" if number is None else sweep.badge_of(folder, number)
            if (in_sweep or config.resume) and sweep.finished(folder, raw):
                sweep.say(f"finished before; used as it is: {folder}", badge or "bcadv:")
                return
            (folder / FAILED).unlink(missing_ok=True)
            if badge:
                sweep.say(opening(config), badge)
            from bcadv.console import warnings_logged
            from bcadv.job import run
            from bcadv.results.origin import Origin

            name = folder.parent.name if in_sweep else None
            with worn(badge), warnings_logged():
                run(config, folder, Origin(overrides, result_key(raw), name, number))
    except Exception as error:
        if number is None:
            raise
        sweep.note_failure(folder, error)
        # A plain one: not every exception survives the way back from another process.
        raise sweep.JobFailed(str(error)) from None


def _refuse_relative(config: Config) -> None:
    """A relative path would mean another place in the job's folder than it did in the command."""
    given = flatten(config.model_dump(mode="python", include={"data", "paths"}))
    relative = [
        f"{name}={path}"
        for name, path in given.items()
        if isinstance(path, Path) and not path.is_absolute()
    ]
    if relative:
        raise BcadvError(
            f"hydra.job.chdir=true makes each job's folder the current one, and {relative[0]} "
            "would lie there: give a whole path, or leave hydra.job.chdir out (a job's files go to "
            "its folder anyway)."
        )


def compose_job(overrides: Sequence[str]) -> DictConfig:
    """The configuration of a command line, with Hydra's own part.

    Raises:
        BcadvError: Hydra cannot make one, and has no words for it.
        HydraException, OmegaConfBaseException: Hydra cannot make one.
    """
    try:
        return compose("config", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, OSError):
        raise
    except Exception as error:  # an assertion, a recursion: its composing trusts what it is given
        cause = first_line(str(error))
        raise BcadvError(
            f"Hydra makes no configuration of this command line: {type(error).__name__}: "
            f"{shorten(cause, 200)}."
        ) from error


def settings(cfg: DictConfig) -> Mapping[str, Any]:
    """A composed configuration without Hydra's own part, as plain containers."""
    return resolve(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))


def precheck(
    overrides: list[str], *, multirun: bool = False, leading: bool = True
) -> tuple[list[str], Sweep | None]:
    """Judges a command line before Hydra makes a folder for it.

    Args:
        overrides: Hydra's, as on the command line.
        multirun: whether `-m` was given.
        leading: whether this process is the one that speaks.

    Returns:
        The overrides to hand to Hydra (with the folder to go on in), and the sweep that the
        command asks for.

    Raises:
        BcadvError: when the configuration cannot be used.
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        parsed = read(overrides, conf_dir(), every_option)
        for note in twice(parsed) if leading else ():
            sweep.say(note)
        single = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
        cfg = compose_job(single)
        in_sweep = multirun or str(cfg.hydra.mode).endswith("MULTIRUN")
        if in_sweep:
            if started_outside(os.environ) is not None:
                raise BcadvError(
                    "srun and torchrun start one job, not a sweep: for a sweep on several devices "
                    "set trainer.devices, and let a launcher start the jobs."
                )
            # Once, because a shuffled list is another at each look.
            line = settled(parsed)
            planned = _precheck_sweep(cfg, parsed, line)
            if planned is None:
                return overrides, None
            return [*line, f"hydra.sweep.dir={quoted(str(planned.folder))}"], planned
        raw = settings(compose_job(overrides))
    config = validate(raw)
    if cfg.hydra.job.chdir:
        _refuse_relative(config)
    if leading:
        sweep.say(opening(config))
    if not config.resume or any(item.startswith("hydra.run.dir") for item in overrides):
        return overrides, None
    from bcadv.resume import unfinished

    folder = unfinished(raw, config)
    if leading and folder is not None:
        sweep.say(f"resume=true: going on in {folder}")
    more = [] if folder is None else [f"hydra.run.dir={quoted(str(folder))}"]
    return [*overrides, *more], None


def every_option() -> list[str]:
    """The names of all options, whichever files of the conf tree are chosen."""
    composed = option_names(OmegaConf.to_container(compose("config"), resolve=False))
    return sorted({*composed, *owners(conf_dir())})


def _precheck_sweep(cfg: DictConfig, overrides: list[Override], line: list[str]) -> Sweep | None:
    # Other sweepers choose values as they go; only Hydra's own is known beforehand.
    if not str(cfg.hydra.sweeper._target_).endswith("BasicSweeper"):
        return None
    # Loaded here because a single job does without it.
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    unresolved: Any = OmegaConf.to_container(cfg.hydra.sweep, resolve=False)
    if unresolved["subdir"] != "${hydra.job.num}":
        raise BcadvError(
            f"hydra.sweep.subdir={unresolved['subdir']}: the jobs of a sweep lie in folders "
            "named by their numbers; leave the option out."
        )
    parser = OverridesParser.create()
    params = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()]
    grid = parser.parse_overrides(params)
    count_jobs(overrides, grid)
    parsed = parser.parse_overrides([*params, *line])
    [batch] = BasicSweeper.split_arguments(parsed, None)
    jobs_of = "1 job" if len(batch) == 1 else f"{len(batch)} jobs"
    sweep.say(f"a sweep of {jobs_of}; looking at the settings of each.")
    jobs = [sweep.judge(job, settings(compose_job(job))) for job in batch]
    if cfg.hydra.job.chdir:
        for job in jobs:
            if job.config is not None:
                _refuse_relative(job.config)
    named = any(str(item.input_line).startswith("hydra.sweep.dir=") for item in overrides)
    planned = sweep.plan(
        jobs,
        Path(str(settings(cfg)["paths"]["outputs"])),
        Path(str(cfg.hydra.sweep.dir)) if named else None,
    )
    planned.start()
    return planned


def follow(overrides: list[str], *, multirun: bool = False) -> None:
    """What the command is in a process that srun or torchrun started beside the leading one.

    It makes no folder of its own, and leaves mistakes to the leader to explain.

    Args:
        overrides: Hydra's, as on the command line.
        multirun: whether `-m` was given.
    """
    try:
        checked, _ = precheck(overrides, multirun=multirun, leading=False)
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose_job(checked)
            folder, raw = Path(str(cfg.hydra.run.dir)), settings(cfg)
    except (BcadvError, HydraException, OmegaConfBaseException):
        sys.exit(2)
    config = validate(raw)
    if not (config.resume and sweep.finished(folder, raw)):
        from bcadv.job import run

        run(config, folder)


def _refuse_folder() -> None:
    """What Hydra writes down must be text, and the current folder is part of it."""
    here = os.getcwd()  # noqa: PTH109  a path as the system gives it
    if not is_utf8(here):
        raise BcadvError(
            f"the name of the current folder, {here}, holds bytes that are not UTF-8: rename it, "
            "or start from another folder."
        )


def complain(message: str) -> NoReturn:
    """Ends with status 2 and the message, without a traceback."""
    sys.stderr.write(f"bcadv: {printable(shorten(message))}\n")
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
    interrupt.heard()
    interrupt.terminable()
    hydra_patches.apply()
    sys.argv[1:] = with_plus(sys.argv[1:])
    planned: Sweep | None = None
    try:
        overrides = [item for item in sys.argv[1:] if item not in MULTIRUN]
        if not any(item.startswith("-") for item in overrides):
            flags = [item for item in sys.argv[1:] if item in MULTIRUN]
            world = started_outside(os.environ)
            if world is not None and world.rank > 0:
                follow(overrides, multirun=bool(flags))
                return
            _refuse_folder()
            checked, planned = precheck(overrides, multirun=bool(flags))
            # Flags first: argparse takes no options on both sides of one.
            sys.argv[1:] = [*flags, *checked]
        elif not any(item.startswith(("--config", "-cp", "-cn", "-cd")) for item in overrides):
            # Shown, not run; what cannot be read is answered all the same.
            given = [item for item in overrides if "=" in item and not item.startswith("-")]
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                read(given, conf_dir(), every_option)
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
            cause = first_line(str(error))
            sweep.say(f"the sweep stopped: {type(error).__name__}: {cause}")
    if planned is not None:
        planned.show()
        summary, status = planned.summary()
        sweep.say(summary)
        sys.exit(status)


def _explain(error: Exception) -> NoReturn:
    """Ends the process with a sentence where one can be given."""
    if isinstance(error, BcadvError):
        complain(str(error))
    if isinstance(error, HydraException | OmegaConfBaseException):
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            known = every_option()
        complain(explain(error, known, owners(conf_dir())))
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
