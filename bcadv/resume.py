"""Finds the job that `resume=true` goes on with. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bcadv.config import Config
from bcadv.keys import job_key
from bcadv.store.models import REFERENCE

log = logging.getLogger(__name__)


def unfinished(raw: Mapping[str, Any], config: Config) -> Path | None:
    """The newest job folder of the same settings that had got as far as its model.

    Args:
        raw: the resolved configuration of the new command.
        config: the same, validated.

    Returns:
        The folder (of a killed job, or of one that ended already), or ``None`` with a word.
    """
    wanted = job_key(raw)
    candidates = []
    for reference in (config.paths.outputs / config.experiment).glob(f"*/{REFERENCE}"):
        if _key(reference.parent / ".hydra" / "config.yaml") == wanted:
            candidates.append((reference.stat().st_mtime, reference.parent))
    if not candidates:
        log.warning("resume=true: no earlier job of these settings was found; starting anew.")
        return None
    return max(candidates)[1]


def _key(saved: Path) -> str | None:
    try:
        cfg = OmegaConf.load(saved)
        plain = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else None
    except (OSError, yaml.YAMLError, OmegaConfBaseException):
        return None  # damaged, or of another version: not the same job
    return job_key({str(k): v for k, v in plain.items()}) if isinstance(plain, dict) else None
