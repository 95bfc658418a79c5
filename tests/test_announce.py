"""What a job says of its images before it trains."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from bcadv.data.datamodule import ImageDataModule
from bcadv.job import _announce
from tests.jobs import compose_config


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Folders of two parts, one file that cannot be read, one that is no image."""
    root = tmp_path / "images"
    for part, patients in (("Training", range(12)), ("Testing", range(11, 16))):
        for label in ("[b]ill", "well"):
            (root / part / label).mkdir(parents=True)
            for i in patients:
                rng = np.random.default_rng(zlib.crc32(f"{part}{label}{i}".encode()))
                pixels = rng.integers(0, 256, (40, 48), np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"p{i}_1.png")
    (root / "Training" / "well" / "bad.png").write_bytes(b"")
    (root / "Training" / "well" / "scan.svs").write_bytes(b"")
    return root


def test_a_job_begins_with_what_it_took_the_images_for(images: Path, tmp_path: Path) -> None:
    config = compose_config(
        "data=folder",
        f"data.root={images}",
        "data.positive=['[b]ill']",
        "data.on_bad_image=skip",
        r'data.group_regex="^(p\d+)_"',
        "data.crop=32",
        "data.resize=32",
        f"paths.outputs={tmp_path}",
    )
    data = ImageDataModule(config.data, config.paths.cache, config.seed)
    data.prepare()
    stream = io.StringIO()
    _announce(Console(file=stream, width=200), config, data)
    said = stream.getvalue().splitlines()
    assert said == [
        f"Images from the user's own folder (data=folder), in {images}: 35 images.",
        "Folders: part/class.",
        "  Testing: part test",
        "  Training: part train",
        "Left out, for .svs is not read: 1 file.",
        "train: 11 [b]ill, 11 well, of 11 patients",
        "  val: 1 [b]ill, 1 well, of 1 patient",
        " test: 5 [b]ill, 5 well, of 5 patients",
        "Disease: [b]ill, as data.positive says.",
        "Patients: 16, named by data.group_regex; for instance p11 of Testing/[b]ill/p11_1; "
        "unknown for 1 image.",
        "Images: 38 x 32 pixels.",
        data.audit.sentence(),
        "NOTE: The patient is unknown for 1 of 35 images.",
        f"SKIPPED: {images}/Training/well/bad.png: the file is empty",
        *said[14:],
    ]
    assert [line.partition(":")[0] for line in said[14:]] == ["DOUBT"] * len(said[14:])
    assert any("The test part has 5 patients" in line for line in said[14:])
    assert len(said) <= 20


def test_what_the_decoding_showed_of_the_pixels_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("ill", "well"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 4096, (40, 40)).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.png")
    options = ["data=folder", f"data.root={tmp_path / 'images'}", "data.positive=[ill]"]
    options += ["data.split=paper", "data.crop=32", "data.resize=32", f"paths.outputs={tmp_path}"]
    for white, said in ((), "under a quarter"), (("data.white=4095",), "4/255 = 64.24 of 4095"):
        config = compose_config(*options, *white)
        data = ImageDataModule(config.data, config.paths.cache, config.seed)
        data.prepare()
        stream = io.StringIO()
        _announce(Console(file=stream, width=300), config, data)
        assert said in stream.getvalue()
