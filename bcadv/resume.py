"""Finds the job that `resume=true` goes on with. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from bcadv.config import Config

log = logging.getLogger(__name__)

IGNORED = ("resume", "tracking", "paths")
"""What may differ between a job and its continuation: none of it changes a result."""


def unfinished(raw: Mapping[str, Any], config: Config) -> Path | None:
    """The newest job folder of the same settings that a training has left something in.

    Args:
        raw: the resolved configuration of the new command.
        config: the same, validated.

    Returns:
        The folder (of a killed job, or of one that ended already), or ``None`` with a word.
    """
    candidates = []
    for folder in (config.paths.outputs / config.experiment).glob("*"):
        saved = folder / ".hydra" / "config.yaml"
        last = folder / "checkpoints" / "last.ckpt"
        if saved.is_file() and last.is_file() and _same(saved, raw):
            candidates.append((last.stat().st_mtime, folder))
    if not candidates:
        log.warning("resume=true: no earlier job of these settings was found; starting anew.")
        return None
    return max(candidates)[1]


def _same(saved: Path, raw: Mapping[str, Any]) -> bool:
    try:
        cfg = OmegaConf.load(saved)
        plain = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else None
    except (OSError, yaml.YAMLError):
        return False  # killed while it was written: nothing had been trained yet
    return isinstance(plain, dict) and _compared(plain) == _compared(raw)


def _compared(raw: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in raw.items() if key not in IGNORED}
