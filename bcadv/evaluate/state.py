"""What an attack under way knows of a batch, on disk."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bcadv.files import beside


@dataclass(frozen=True)
class StateFile:
    """A file that the attack on one batch keeps what it knows in; see `bcadv.perturb.keep.Keeper`.

    Attributes:
        path: of the file.
    """

    path: Path

    def load(self) -> dict[str, Any] | None:
        """What was kept by a process that was killed since; ``None``: nothing that can be used."""
        try:
            state: dict[str, Any] = torch.load(self.path, weights_only=True, map_location="cpu")
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
            return None
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Keeps a state, whole or not at all."""
        with beside(self.path) as place:
            torch.save(state, place)

    def remove(self) -> None:
        """Removes the file, when the answers are written."""
        self.path.unlink(missing_ok=True)
