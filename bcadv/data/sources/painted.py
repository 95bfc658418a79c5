"""The settings of painted tissue, apart from what paints it: that takes seconds to import."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from bcadv.data.records import Selection
from bcadv.data.sources import breakhis
from bcadv.errors import BcadvError


class SyntheticData(breakhis.BreakHisData):
    """How much tissue to paint, in the shape of BreakHis."""

    source: str = "synthetic"
    patients: int = Field(default=40, ge=8, le=500, description="Give 8 to 500 patients.")
    """Patients to paint."""
    images_per_patient: int = Field(default=12, ge=1, le=200, description="Give 1 to 200 images.")
    """Images of each."""
    height: int = Field(default=92, ge=32, le=2000, description="Give 32 to 2000 pixels.")
    """Height of an image in pixels."""
    width: int = Field(default=140, ge=32, le=2000, description="Give 32 to 2000 pixels.")
    """Width of an image in pixels."""

    def check(self) -> None:
        """Unknown subtypes; what is missing is painted."""
        breakhis.chosen_subtypes(self.subtypes)

    def find(self) -> Selection:
        """The painted images; paints them if they are missing."""
        if self.root is None:
            raise BcadvError("data=synthetic needs data.root=FOLDER.")
        from bcadv.data.sources.synthetic import write_tree

        root = write_tree(
            self.root,
            n_patients=self.patients,
            images_per_patient=self.images_per_patient,
            seed=0,  # other seeds are other experiments on the same images
            height=self.height,
            width=self.width,
        )
        selection = breakhis.find(
            root,
            magnification=self.magnification,
            subtypes=self.subtypes,
            target=self.target,
        )
        # Painted tissue has no official counts to fall short of.
        return replace(selection, expected=None, notes=())
