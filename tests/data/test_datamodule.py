"""Every source through the LightningDataModule, on real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from bcadv.config import DataConfig
from bcadv.data.datamodule import ImageDataModule
from bcadv.data.sources.breakhis import BreakHisData
from bcadv.data.sources.folder import FolderData
from bcadv.data.sources.painted import SyntheticData
from bcadv.data.sources.table import TableData
from bcadv.errors import BcadvError


def module(tmp_path: Path, config: DataConfig, seed: int = 0) -> ImageDataModule:
    data = ImageDataModule(config, tmp_path / "cache", seed)
    data.prepare()
    return data


def synthetic(tmp_path: Path, **options: object) -> DataConfig:
    settings: dict[str, object] = {
        "root": tmp_path / "tissue",
        "split": "paper",
        "patients": 10,
        "images_per_patient": 5,
        "height": 48,
        "width": 64,
        "crop": 32,
        "batch_size": 8,
    }
    return SyntheticData.model_validate(settings | options)


def class_folders(root: Path, n: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "owl"):
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"case{i // 2}_{i}.png")
    return root


def test_synthetic_tissue_is_read_like_breakhis(tmp_path: Path) -> None:
    data = module(tmp_path, synthetic(tmp_path))
    assert data.classes == ("benign", "malignant")
    assert data.positive == (1,)
    assert data.notes == ()
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (8, 3, 32, 32)
    assert batch.image.dtype == torch.float32
    assert 0 <= float(batch.image.min()) < float(batch.image.max()) <= 1
    for number, target in zip(batch.index.tolist(), batch.target.tolist(), strict=True):
        assert data.classes[target] == data.records[number].label


def test_the_seed_splits_anew_but_paints_the_same_images(tmp_path: Path) -> None:
    first = module(tmp_path, synthetic(tmp_path), seed=0)
    second = module(tmp_path, synthetic(tmp_path), seed=1)
    assert first.records == second.records
    assert first.split != second.split


def test_loaders_serve_their_part_once(tmp_path: Path) -> None:
    data = module(tmp_path, synthetic(tmp_path))
    for part, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        served = [int(i) for batch in loader for i in batch.index]
        assert served == list(data.split.by_part()[part])
    trained = [int(i) for batch in data.train_dataloader() for i in batch.index]
    assert len(set(trained)) == len(trained)
    assert set(trained) <= set(data.split.train)


def test_worker_processes_serve_the_same_images(tmp_path: Path) -> None:
    def all_of(workers: int) -> torch.Tensor:
        data = module(tmp_path, synthetic(tmp_path, workers=workers, augment=["crop", "rot90"]))
        return torch.cat([batch.image for batch in data.train_dataloader()])

    assert torch.equal(all_of(0), all_of(2))


def test_a_patient_split_has_no_patient_on_two_sides(tmp_path: Path) -> None:
    data = module(tmp_path, synthetic(tmp_path, split="patient"))
    assert data.audit.patient_overlap == 0
    assert data.audit.shared_patients == ()


def test_subtypes_as_classes(tmp_path: Path) -> None:
    data = module(tmp_path, synthetic(tmp_path, target="subtype"))
    assert set(data.classes) == {"A", "F", "PT", "TA", "DC"}
    assert [data.classes[k] for k in data.positive] == ["DC"]


def test_a_folder_per_class(tmp_path: Path) -> None:
    config = FolderData(
        root=class_folders(tmp_path / "mine"),
        split="patient",
        group_regex=r"^(case\d+)",
        positive=("owl",),
        crop=32,
    )
    data = module(tmp_path, config)
    assert data.classes == ("cat", "dog", "owl")
    assert data.positive == (2,)
    assert data.audit.shared_patients == ()


def test_a_table_of_one_finding_is_served_and_one_of_several_is_not(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "mine")
    lines = [
        f"{name}/case{i // 2}_{i}.png,{name}{i // 2},{int(name != 'cat')},{int(name == 'owl')}"
        for name in ("cat", "dog", "owl")
        for i in range(12)
    ]
    (root / "labels.csv").write_text("\n".join(["image,who,wild,bird", *lines]))
    given = {"root": root, "table": root / "labels.csv", "path": "image", "patient": "who"}
    given |= {"split": "patient", "crop": 32}
    one = TableData.model_validate(given | {"labels": ["bird"]})
    data = module(tmp_path, one)
    assert data.classes == ("no bird", "bird")
    assert data.positive == (1,)
    assert data.targets.tolist() == [int(r.path.parent.name == "owl") for r in data.records]
    assert data.audit.patient_overlap == 0
    several = TableData.model_validate(given | {"labels": ["wild", "bird"]})
    assert len(several.find().records) == 36
    cache = tmp_path / "other"
    with pytest.raises(BcadvError, match=r"trains one finding so far: add data.labels=\[X\]"):
        ImageDataModule(several, cache).prepare()
    assert not cache.exists(), "nothing was decoded"


def test_a_byte_identical_copy_on_the_other_side_is_reported(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "mine")
    for part, source in (("train", "cat"), ("test", "dog")):
        (root / part).mkdir()
        for name in ("cat", "dog"):
            (root / part / name).mkdir()
            for file in (root / source).glob("*.png"):
                (root / part / name / f"{name}_{file.name}").write_bytes(
                    file.read_bytes() + name.encode() + part.encode()
                )
    copy = next((root / "train" / "cat").glob("*.png"))
    (root / "test" / "cat" / "copy.png").write_bytes(copy.read_bytes())
    for name in ("cat", "dog", "owl"):
        for file in (root / name).glob("*.png"):
            file.unlink()
        (root / name).rmdir()
    config = FolderData(root=root, split="parts", crop=32)
    data = module(tmp_path, config)
    assert data.audit.duplicates is not None
    assert "test/cat/copy" in data.audit.sentence() or "byte-identical" in data.audit.sentence()
    assert len(data.audit.duplicates) == 1


def test_a_crop_larger_than_the_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BcadvError, match=r"data\.crop=64.*48"):
        module(tmp_path, synthetic(tmp_path, crop=64))


def test_an_unreadable_image_is_named_or_listed(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "mine")
    bad = root / "cat" / "case0_0.png"
    bad.write_bytes(bad.read_bytes()[:200])
    settings = {"root": root, "split": "paper", "crop": 32}
    with pytest.raises(BcadvError, match="case0_0"):
        module(tmp_path, FolderData.model_validate(settings))
    data = module(tmp_path, FolderData.model_validate(settings | {"on_bad_image": "skip"}))
    assert len(data.skipped) == 1
    assert "case0_0" in data.skipped[0]
    assert len(data.records) == 35


@pytest.mark.shared_data
def test_the_real_subset_is_said_to_be_one(tmp_path: Path, shared_data: Path) -> None:
    config = BreakHisData(
        root=shared_data / "breakhis_100x_half",
        subtypes="all",
        split="patient",
    )
    data = module(tmp_path, config)
    assert len(data.records) == 422
    assert data.audit.shared_patients == ()
    assert any("benign 210 of 644" in note for note in data.notes)


@pytest.mark.shared_data
@pytest.mark.parametrize("fold", [1, 5])
def test_the_real_subset_by_the_official_lists(
    tmp_path: Path, shared_data: Path, fold: int
) -> None:
    config = BreakHisData(
        root=shared_data / "breakhis_100x_half",
        subtypes="all",
        split="official",
        fold=fold,
        folds_dir=shared_data / "breakhis_folds",
    )
    data = module(tmp_path, config)
    listed = (shared_data / "breakhis_folds" / f"dsfold{fold}.txt").read_text()
    for i in data.split.test:
        assert f"{data.records[i].image_id}.png|100|{fold}|test" in listed


class Theirs(pl.LightningModule):
    """Somebody else's: knows pairs of images and targets alone, and writes down what it meets."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.met: dict[str, list[torch.Tensor]] = {"train": [], "test": []}

    def step(self, batch: tuple[torch.Tensor, torch.Tensor], part: str) -> torch.Tensor:
        image, target = batch
        self.met[part].append(image)
        return torch.nn.functional.cross_entropy(self.layer(image.mean((2, 3))), target)

    def training_step(
        self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int
    ) -> torch.Tensor:
        return self.step(batch, "train")

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self.log("loss", self.step(batch, "test"))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def test_it_serves_somebody_elses_module_and_a_plain_loop_alike(tmp_path: Path) -> None:
    data = ImageDataModule(synthetic(tmp_path), str(tmp_path / "cache"))
    plain = [image for image, _ in data.test_dataloader()]  # before any setup
    fit = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    theirs = Theirs()
    fit.fit(theirs, datamodule=data)
    fit.test(theirs, datamodule=data, verbose=False)
    assert torch.equal(torch.cat(theirs.met["test"]), torch.cat(plain))
    after = [image for image, _ in data.test_dataloader()]
    loader = data.train_dataloader()
    trained = [image for _ in range(2) for image, _ in loader]
    assert torch.equal(torch.cat(theirs.met["train"]), torch.cat(trained))
    for images in (plain, after, theirs.met["train"], theirs.met["test"]):
        for image in images:
            assert image.dtype == torch.float32
            assert 0 <= float(image.min()) < 0.5 < float(image.max()) <= 1


@pytest.mark.parametrize("loader", ["train", "val", "test", "plain_train"])
def test_a_loader_before_setup_prepares_the_images(tmp_path: Path, loader: str) -> None:
    data = ImageDataModule(synthetic(tmp_path), str(tmp_path / "cache"))
    image, target = next(iter(getattr(data, f"{loader}_dataloader")()))
    assert image.shape[1:] == (3, 32, 32)
    assert len(target) == len(image)
