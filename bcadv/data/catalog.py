"""The catalog of image sources: a row each, read by the configuration, the data module and results.

Imports no torch. A new source is a module that finds its images, with the settings that are its
own, and a row here; ``conf/data/NAME.yaml`` says how it is chosen on the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bcadv.config import DataConfig


@dataclass(frozen=True)
class Source:
    """A row of the catalog.

    Attributes:
        name: in files and on the command line.
        place: of its settings, ``module:class``, a `bcadv.config.DataConfig` that finds the images.
        words: what the images are, for a sentence.
        label: the same in a word or two, for a table.
        splits: the rules it can be split by.
        synthetic: whether the images are painted, so that nothing medical follows from them.
        tumours: whether a positive class is a cancer.
        stained: whether they show tissue stained with haematoxylin and eosin.
    """

    name: str
    place: str
    words: str
    label: str
    splits: tuple[str, ...] = ("paper", "patient", "patient_cv")
    synthetic: bool = False
    tumours: bool = False
    stained: bool = False

    @property
    def settings(self) -> type[DataConfig]:
        """The class of its settings."""
        module, _, name = self.place.partition(":")
        found: type[DataConfig] = getattr(import_module(module), name)
        return found


_ROWS = (
    Source(
        name="breakhis",
        place="bcadv.data.sources.breakhis:BreakHisData",
        words="BreakHis, real microscope images of breast tumours",
        label="breakhis",
        splits=("paper", "patient", "patient_cv", "official"),
        tumours=True,
        stained=True,
    ),
    Source(
        name="folder",
        place="bcadv.data.sources.folder:FolderData",
        words="Images from the user's own folder",
        label="own images",
        splits=("parts", "patient", "patient_cv", "paper"),
    ),
    Source(
        name="synthetic",
        place="bcadv.data.sources.painted:SyntheticData",
        words="Synthetic tissue, painted by a program and not by nature",
        label="synthetic",
        synthetic=True,
        tumours=True,
        stained=True,
    ),
)

SOURCES: dict[str, Source] = {row.name: row for row in _ROWS}
"""Every source by its name."""
