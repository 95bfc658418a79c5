"""The parts of a data set as its configuration wants them. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from bcadv.config import DataConfig
from bcadv.data import splits
from bcadv.data.records import Record
from bcadv.errors import BcadvError


def _folds_dir(config: DataConfig) -> Path:
    """The authors' lists: where the user says, else below the root."""
    if config.folds_dir is not None:
        return config.folds_dir
    found = sorted(config.root.rglob("dsfold1.txt")) if config.root else []
    if not found:
        raise BcadvError(
            f"data.split=official needs the authors' lists dsfold1.txt to dsfold5.txt, which are "
            f"not below {config.root}: add data.folds_dir=FOLDER, or fetch them with make data."
        )
    return found[0].parent


def split(config: DataConfig, records: tuple[Record, ...], *, seed: int) -> splits.Split:
    """Splits records as a configuration says."""
    fold = config.fold or 0  # where one is needed, the configuration was checked for it
    if config.split_file is not None:
        from bcadv.data.split_file import from_csv  # pandas takes a second to load

        drawn = from_csv(records, config.split_file, seed=seed)
    elif config.split == "official":
        drawn = splits.official(records, _folds_dir(config), fold=fold, seed=seed)
    elif config.split == "patient_cv":
        drawn = splits.patient_cv(records, folds=config.folds, fold=fold, seed=seed)
    else:
        rule = {"paper": splits.paper, "patient": splits.patient, "parts": splits.parts}
        drawn = rule[config.split](records, seed=seed)
    if config.per_class:
        limits = {str(part): counts for part, counts in config.per_class.items()}
        drawn = splits.limit(records, drawn, limits, seed=seed)
    return drawn
