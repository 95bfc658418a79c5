"""Writing painted tissue as a BreakHis tree, so that everything runs where no real data may be had.

Official folders and file names, case numbers that no real case has, and a note in every file that
the picture is made up. The images themselves are painted in `bcadv.data.sources.tissue`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from rich.progress import track

from bcadv.data.sources import tissue
from bcadv.errors import BcadvError

NOTICE = (
    "SYNTHETIC: painted by a program (bcadv.data.sources.tissue). Not a photograph, no patient, no "
    "slide; nothing medical can be concluded from it."
)
"""Stands in every image, under the PNG text key ``Description``, and in ``SYNTHETIC.txt``."""

FIRST_CASE = 90001
"""Case number of patient 0; the largest case number in BreakHis is 29960."""

_PARAMETERS = "synthetic.json"
_STALE_SECONDS = 3600

_FOLDERS = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}
# 5 benign to 7 ductal, as 644 to 903 in Li & Liu 2023; mixed, so that any two neighbours will do.
_CYCLE = ("F", "DC", "DC", "A", "DC", "PT", "DC", "DC", "TA", "DC", "F", "DC")
_OTHERS = ("LC", "MC", "PC")
_OTHERS_FROM = 24


def subtype_of(patient: int) -> str:
    """The subtype of a patient, whatever the number of patients.

    Patients 0 to 23 are benign or ductal carcinoma, 5 to 7, the selection of the main experiment.
    From patient 24 on every fourth one has lobular, mucinous or papillary carcinoma in turn, and
    the others go on as before.

    Args:
        patient: number of the patient, from 0.
    """
    late = patient - _OTHERS_FROM
    if late >= 0 and late % 4 == 3:
        return _OTHERS[late // 4 % len(_OTHERS)]
    return _CYCLE[(patient - max(0, late) // 4) % len(_CYCLE)]


def image_path(patient: int, image: int) -> Path:
    """Where an image lies inside a tree, by the official scheme (Spanhol et al. 2016).

    Args:
        patient: number of the patient, from 0.
        image: number of the image within its patient, from 1.
    """
    subtype = subtype_of(patient)
    tumour, kind = ("B", "benign") if subtype in ("A", "F", "PT", "TA") else ("M", "malignant")
    case = f"14-{FIRST_CASE + patient}"
    return Path(
        *("BreaKHis_v1", "histology_slides", "breast", kind, "SOB", _FOLDERS[subtype]),
        *(f"SOB_{tumour}_{subtype}_{case}", "100X"),
        f"SOB_{tumour}_{subtype}-{case}-100-{image:03d}.png",
    )


def write_tree(
    root: Path,
    *,
    n_patients: int,
    images_per_patient: int,
    seed: int,
    height: int,
    width: int,
    progress: bool = True,
) -> Path:
    """Writes a tree of painted images, or finds the one that the same arguments made before.

    Every set of arguments has a folder of its own below `root`, so nothing is ever overwritten.
    The folder appears under its name only when it is complete: a process that is killed, or several
    that want the same tree at once, leave no half-made one. Image i of patient p depends on the
    seed, p, i and the size alone, not on how many others there are.

    Args:
        root: the folder that holds the trees; made if it is missing.
        n_patients: number of patients, 2 to 9999; `subtype_of` says who has what.
        images_per_patient: images of each patient, 1 to 999.
        seed: of everything random, 0 or greater.
        height: rows of each image, 32 or more.
        width: columns of each image, 32 or more.
        progress: whether to show a progress bar on standard error.

    Returns:
        The folder of the complete tree, which holds ``BreaKHis_v1`` and ``SYNTHETIC.txt``.

    Raises:
        BcadvError: for an argument out of range, or where images of a complete tree have gone.
    """
    for name, value, low, high in (
        ("n_patients", n_patients, 2, 9999),
        ("images_per_patient", images_per_patient, 1, 999),
        ("seed", seed, 0, None),
        ("height", height, 32, None),
        ("width", width, 32, None),
    ):
        if value < low or (high is not None and value > high):
            span = f"{low} to {high}" if high is not None else f"{low} or more"
            raise BcadvError(f"Synthetic images with {name}={value} cannot be made: give {span}.")
    parameters = {
        "synthetic": True,
        "version": tissue.VERSION,
        "n_patients": n_patients,
        "images_per_patient": images_per_patient,
        "seed": seed,
        "height": height,
        "width": width,
    }
    size = f"{n_patients}x{images_per_patient}-{height}x{width}"
    final = Path(root) / f"tissue-{size}-seed{seed}-v{tissue.VERSION}"
    if _is_complete(final, parameters):
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final)
    partial = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    try:
        _fill(partial, parameters, progress)
        try:
            partial.rename(final)
        except OSError:
            # Another process was quicker: a complete tree is the only thing that can stand there.
            if not _is_complete(final, parameters):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def _is_complete(folder: Path, parameters: dict[str, Any]) -> bool:
    if not folder.exists():
        return False
    marker = folder / _PARAMETERS
    expected = parameters["n_patients"] * parameters["images_per_patient"]
    found = sum(1 for _ in folder.glob("BreaKHis_v1/**/*.png"))
    if (
        not marker.is_file()
        or json.loads(marker.read_text(encoding="utf-8")) != parameters
        or found != expected
    ):
        raise BcadvError(
            f"The synthetic images in {folder} are not as they were made ({found} of {expected} "
            f"images). Delete that folder and run again."
        )
    return True


def _sweep(final: Path) -> None:
    """Removes what killed processes left; a living one finishes within the time allowed."""
    for leftover in final.parent.glob(f".{final.name}.*"):
        if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)


def _fill(folder: Path, parameters: dict[str, Any], progress: bool) -> None:
    folder.mkdir()
    jobs = [
        (patient, image)
        for patient in range(parameters["n_patients"])
        for image in range(1, parameters["images_per_patient"] + 1)
    ]
    # Threads, not processes: NumPy and SciPy let go of the interpreter lock where the time is
    # spent, and a new process would import the caller's main module, with all of PyTorch.
    console = Console(stderr=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(_write_image, folder, parameters, *job) for job in jobs]
        try:
            for future in track(
                as_completed(futures),
                description="Painting synthetic tissue",
                total=len(futures),
                console=console,
                # Off a terminal it would leave an empty line.
                disable=not (progress and console.is_terminal),
                transient=True,
            ):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    (folder / "SYNTHETIC.txt").write_text(f"{NOTICE}\n", encoding="utf-8")
    (folder / _PARAMETERS).write_text(json.dumps(parameters, indent=1) + "\n", encoding="utf-8")


def _write_image(folder: Path, parameters: dict[str, Any], patient: int, image: int) -> None:
    seed = parameters["seed"]
    # A trailing zero would not change the seed: [seed, patient] is the stain's because images
    # count from 1.
    pixels = tissue.paint(
        np.random.default_rng([seed, patient, image]),
        subtype=subtype_of(patient),
        stain=tissue.Stain.draw(np.random.default_rng([seed, patient])),
        height=parameters["height"],
        width=parameters["width"],
    )
    note = PngInfo()
    note.add_text("Description", NOTICE)
    path = folder / image_path(patient, image)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, pnginfo=note, compress_level=3)
