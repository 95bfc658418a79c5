"""Which changes of the code rename a trained model, judged on a copy of the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bcadv.store.code import PACKAGE, MissingRootError, used, version_of_files, version_of_use
from bcadv.store.fingerprint import NOT_FOLLOWED, STATISTICS, TRAINING

WITHOUT = tuple(NOT_FOLLOWED)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's sources, to be changed."""
    place = tmp_path / "one" / "bcadv"
    shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__", "*.j2"))
    return place


def name_of(package: Path, *, statistics: bool = False) -> str:
    """Of the training, from a fresh copy: what was parsed is kept by its place."""
    number = len(list(package.parent.parent.iterdir()))
    place = package.parent.parent / str(number) / "bcadv"
    shutil.copytree(package, place)
    return version_of_use((*TRAINING, *(STATISTICS if statistics else ())), WITHOUT, place)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) >= 1, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1))


def test_the_copy_has_the_name_of_the_package(copy: Path) -> None:
    assert name_of(copy) == version_of_use(TRAINING, WITHOUT)


def test_adding_an_attack_a_source_or_words_renames_nothing(copy: Path) -> None:
    before = name_of(copy)
    (copy / "perturb" / "attacks" / "cw.py").write_text(
        "from bcadv.perturb.loop import GradientAttack\n\n\nclass CW(GradientAttack):\n    pass\n"
    )
    edit(copy / "perturb" / "catalog.py", "_ROWS = (", "_ROWS = (\n    None,")
    (copy / "data" / "dicom.py").write_text("def find(root):\n    return None\n")
    edit(copy / "data" / "datamodule.py", "def select(", "def _other():\n    pass\n\n\ndef select(")
    edit(
        copy / "data" / "datamodule.py", "    root = config.root\n", "    root = config.root or 1\n"
    )
    edit(copy / "models" / "classifier.py", '"""DenseNet121 fine-tuned', '"""A net, fine-tuned')
    edit(copy / "train.py", "    common: dict", "    # Why it is so.\n    common: dict")
    edit(copy / "data" / "folder.py", "SUFFIXES = ", "SUFFIXES = OTHERS = ")
    edit(copy / "perturb" / "loop.py", "_ROUNDING = 1e3", "_ROUNDING = 1e4")
    (copy / "train.py").write_text(
        (copy / "train.py").read_text() + "\n\ndef unused():\n    pass\n"
    )
    assert name_of(copy) == before


CHANGES = {
    "loss": ("task.py", "reduction=reduction)", "reduction=reduction) * 2"),
    "training step": (
        "models/classifier.py",
        "weight_of(len(batch.target)",
        "weight_of(2 * len(batch.target)",
    ),
    "optimiser": ("models/classifier.py", "torch.optim.Adam(", "torch.optim.AdamW("),
    "network": ("models/densenet.py", "self.net(self.scale(image))", "self.net(image)"),
    "pixel range": ("models/preprocess.py", "1024", "1025"),
    "noise": ("perturb/noise.py", "noise = unit.to(image)", "noise = unit.to(image) * 2"),
    "seeds of noise": ("perturb/random.py", "digest_size=8", "digest_size=16"),
    "share of noise": (
        "callbacks/inject.py",
        "draws[index] < self.probability",
        "draws[index] > 0",
    ),
    "crops": ("data/batches.py", "int(down * (free_rows + 1))", "int(down * free_rows)"),
    "order": ("data/batches.py", "[self.seed, self.epoch, 2]", "[self.seed, self.epoch, 3]"),
    "scaling": ("data/batches.py", "div_(255)", "div_(256)"),
    "resizing": ("data/cache.py", "LANCZOS", "BILINEAR"),
    "ragged batches": ("data/datamodule.py", "min(8, size)", "min(4, size)"),
    "initial weights": ("build.py", "torch.manual_seed(config.seed)", "torch.manual_seed(1)"),
    "trainer": ("train.py", "num_sanity_val_steps=0", "num_sanity_val_steps=1"),
    "averaged weights": ("train.py", "EMAWeightAveraging(decay=", "EMAWeightAveraging(0.1 *"),
}


@pytest.mark.parametrize(("file", "old", "new"), CHANGES.values(), ids=CHANGES)
def test_a_changed_line_that_trains_renames(copy: Path, file: str, old: str, new: str) -> None:
    before = name_of(copy)
    edit(copy / file, old, new)
    assert name_of(copy) != before


def test_statistics_follow_their_own_code_and_that_of_the_training(copy: Path) -> None:
    training, statistics = name_of(copy), name_of(copy, statistics=True)
    edit(copy / "models" / "batchnorm.py", "torch.no_grad()", "torch.inference_mode()")
    assert name_of(copy) == training
    assert name_of(copy, statistics=True) != statistics
    again = name_of(copy, statistics=True)
    edit(copy / "data" / "batches.py", "div_(255)", "div_(256)")
    assert name_of(copy, statistics=True) != again


def test_a_root_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingRootError, match=r"train\.fitt"):
        used([("train", "fitt")], {})


def test_what_is_not_followed_exists_and_says_why() -> None:
    for name, why in NOT_FOLLOWED.items():
        module = PACKAGE.joinpath(*name.split("."))
        if not (module.is_dir() or module.with_suffix(".py").is_file()):
            module, _, definition = name.rpartition(".")  # type: ignore[assignment]
            assert used([(str(module), definition)], {})
        assert why


def test_files_are_named_by_what_they_do(copy: Path) -> None:
    before = version_of_files(("task.py", "perturb"), copy)
    edit(copy / "task.py", '"""One of K classes', '"""Any of K classes')
    other = copy.parent.parent / "other" / "bcadv"
    shutil.copytree(copy, other)
    assert version_of_files(("task.py", "perturb"), other) == before
    edit(other / "perturb" / "loop.py", "_ROUNDING = 1e3", "_ROUNDING = 1e4")
    last = copy.parent.parent / "last" / "bcadv"
    shutil.copytree(other, last)
    assert version_of_files(("task.py", "perturb"), last) != before
