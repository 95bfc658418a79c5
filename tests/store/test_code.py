"""Which changes of the code rename a trained model, judged on a copy of the package."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from bcadv.build import build_injection, build_model
from bcadv.data.datamodule import ImageDataModule
from bcadv.models.classifier import Classifier
from bcadv.recalibrate import recalibrate
from bcadv.store import code
from bcadv.store.code import PACKAGE, MissingRootError, used, version_of_files, version_of_use
from bcadv.store.fingerprint import NOT_FOLLOWED, STATISTICS, TRAINING, chosen
from bcadv.trainer import fit
from tests.jobs import tiny_config

WITHOUT = tuple(NOT_FOLLOWED)
CHOSEN = (("models.densenet", "DenseNet121"),)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's sources, to be changed."""
    place = tmp_path / "one" / "bcadv"
    shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__", "*.j2"))
    return place


def name_of(package: Path, *, statistics: bool = False) -> str:
    """Of the training, as the files are now."""
    forget()
    roots = (*TRAINING, *CHOSEN, *(STATISTICS if statistics else ()))
    return version_of_use(roots, WITHOUT, package)


def forget() -> None:
    """What was parsed is kept by its place."""
    for kept in (code._file, code._parsed, version_of_files):
        kept.cache_clear()


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) >= 1, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1))


def test_the_copy_has_the_name_of_the_package(copy: Path) -> None:
    assert name_of(copy) == version_of_use((*TRAINING, *CHOSEN), WITHOUT)


def test_adding_an_attack_a_source_or_words_renames_nothing(copy: Path) -> None:
    before = name_of(copy)
    (copy / "perturb" / "attacks" / "cw.py").write_text(
        "from bcadv.perturb.loop import GradientAttack\n\n\nclass CW(GradientAttack):\n    pass\n"
    )
    (copy / "data" / "sources" / "dicom.py").write_text("def find(root):\n    return None\n")
    (copy / "models" / "resnet.py").write_text("class ResNet:\n    pass\n")
    (copy / "defend" / "trades.py").write_text("class TRADES:\n    pass\n")
    rows = copy / "perturb" / "rows" / "minimal_norm.py"
    rows.write_text(rows.read_text() + "\n\nMORE = ROWS\n")
    for room in ("data", "models", "defend"):
        edit(copy / room / "catalog.py", "_ROWS = (", "_ROWS = (\n    None,")
    edit(copy / "data" / "parts.py", "def split(", "def _other():\n    pass\n\n\ndef split(")
    edit(
        copy / "data" / "sources" / "folder.py",
        "            self.root,\n",
        "            self.root or 1,\n",
    )
    edit(copy / "models" / "classifier.py", '"""A network fine-tuned', '"""A net, fine-tuned')
    edit(copy / "trainer.py", "    common: dict", "    # Why it is so.\n    common: dict")
    edit(copy / "data" / "sources" / "choose.py", "_PLAIN = ", "_PLAIN = OTHERS = ")
    edit(copy / "perturb" / "attack.py", "_ROUNDING = 1e3", "_ROUNDING = 1e4")
    (copy / "trainer.py").write_text(
        (copy / "trainer.py").read_text() + "\n\ndef unused():\n    pass\n"
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
    "scaling": ("typing.py", "div_(255)", "div_(256)"),
    "resizing": ("pixels.py", "LANCZOS", "BILINEAR"),
    "ragged batches": ("data/datamodule.py", "min(8, size)", "min(4, size)"),
    "initial weights": ("build.py", "torch.manual_seed(config.seed)", "torch.manual_seed(1)"),
    "trainer": ("trainer.py", "num_sanity_val_steps=0", "num_sanity_val_steps=1"),
    "averaged weights": ("trainer.py", "EMAWeightAveraging(decay=", "EMAWeightAveraging(0.1 *"),
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
    edit(copy / "typing.py", "div_(255)", "div_(256)")
    assert name_of(copy, statistics=True) != again


def test_a_root_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingRootError, match=r"trainer\.fitt"):
        used([("trainer", "fitt")], {})


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
    forget()
    assert version_of_files(("task.py", "perturb"), copy) == before
    edit(copy / "perturb" / "attack.py", "_ROUNDING = 1e3", "_ROUNDING = 1e4")
    forget()
    assert version_of_files(("task.py", "perturb"), copy) != before


SNIPPET = """
LIMITS = {"a": 1}
LIMITS["b"] = 2
FIRST, (SECOND, *REST) = 1, (2, 3)
TOTAL = 0
TOTAL += 1
if FIRST:
    CHOSEN = 1
else:
    CHOSEN = 2
try:
    FOUND = 1
except ImportError:
    FOUND = 2
print("imported")


def unused():
    pass


def root():
    return LIMITS, SECOND, REST, TOTAL, CHOSEN, FOUND
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A package of one module."""
    place = tmp_path / "made"
    place.mkdir()
    (place / "it.py").write_text(SNIPPET)
    return place


def of_root(package: Path) -> str:
    forget()
    return version_of_use((("it", "root"),), (), package)


COUNTS = [
    ('{"a": 1}', '{"a": 2}'),
    ('["b"] = 2', '["b"] = 3'),
    ("(2, 3)", "(2, 4)"),
    ("TOTAL = 0", "TOTAL = 1"),
    ("TOTAL += 1", "TOTAL += 2"),
    ("CHOSEN = 1", "CHOSEN = 3"),
    ("CHOSEN = 2", "CHOSEN = 3"),
    ("if FIRST", "if not FIRST"),
    ("FOUND = 1", "FOUND = 3"),
    ("FOUND = 2", "FOUND = 3"),
    ('print("imported")', 'print("brought in")'),
    ("return LIMITS,", "return SECOND,"),
]
COUNTS_NOTHING = [
    ("def unused():\n    pass", "def unused():\n    return 1"),
    ("def root():\n", 'def root():\n    """What it is."""\n    # Why.\n'),
    ("TOTAL = 0", "TOTAL    =    0"),
    ('{"a": 1}', "{'a': 1}"),
    ("\n\ndef unused", '\n"""A text by itself."""\n\n\ndef unused'),
]


@pytest.mark.parametrize(
    ("old", "new", "renames"),
    [(*edit, True) for edit in COUNTS] + [(*edit, False) for edit in COUNTS_NOTHING],
)
def test_a_name_follows_what_its_statements_do(
    made: Path, old: str, new: str, renames: bool
) -> None:
    before = of_root(made)
    edit(made / "it.py", old, new)
    assert (of_root(made) != before) == renames


def test_a_move_to_another_file_renames_nothing(made: Path) -> None:
    before = of_root(made)
    head, _, root = SNIPPET.partition("def root")
    (made / "other.py").write_text(head)
    names = "LIMITS, SECOND, REST, TOTAL, CHOSEN, FOUND"
    (made / "it.py").write_text(f"from made.other import {names}\n\n\ndef root{root}")
    assert of_root(made) == before


def test_every_python_gives_the_same_name(made: Path) -> None:
    """Written down by one version; `ast.dump` differs from one to the next."""
    (made / "it.py").write_text(
        "import functools\n\n\n@functools.cache\nclass Base: ...\n\n\n"
        "class root(Base):\n    def of(self, a, /, b=None, *c, d: int = 1, **e):\n"
        "        with open(f'{a!r:>{b}}') as file:\n"
        "            return {**e, 1: [x for x in file]}\n"
    )
    assert of_root(made) == "bd6c6d7a09b69d60"


def _run(work: Callable[[], object]) -> set[code.Symbol]:
    """The definitions at the top of the package's modules whose code ran."""
    ran: set[tuple[str, str]] = set()

    def see(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            ran.add((frame.f_code.co_filename, frame.f_code.co_qualname.split(".")[0]))

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return {
        (".".join(Path(file).relative_to(PACKAGE).with_suffix("").parts), name)
        for file, name in ran
        if Path(file).is_relative_to(PACKAGE) and not name.startswith("<")
    }


def test_all_that_runs_in_a_training_is_part_of_its_name(tmp_path: Path) -> None:
    """Judged by what ran: what names cannot be followed to, as from a registry, is found out."""
    config = tiny_config(
        tmp_path,
        "+experiment=defense",
        "injection.probability=0.5",
        "data.augment=[crop,hflip,vflip,rot90]",
        "trainer.max_epochs=1",
        "trainer.early_stopping=1",
    )
    data = ImageDataModule(config.data, config.paths.cache, config.seed)
    model: list[Classifier] = []

    def train() -> None:
        data.prepare()
        model.append(build_model(config, len(data.classes)))
        injection = build_injection(config)
        assert injection is not None
        fit(config, tmp_path / "model", model[0], data, callbacks=[injection])

    def estimate() -> None:
        for variant in ("clean", "noisy"):
            injection = build_injection(config)
            recalibrate(variant, config, model[0], data, injection=injection, entry=None)

    trained, estimated = _run(train), _run(estimate)
    assert {("models.classifier", "Classifier"), ("perturb.noise", "GaussianNoise")} <= trained
    assert ("models.batchnorm", "reestimate") in estimated
    for ran, roots in (
        (trained, (*TRAINING, *chosen(config))),
        (estimated, (*TRAINING, *chosen(config), *STATISTICS)),
    ):
        followed = used(roots, NOT_FOLLOWED)
        strange = {
            (module, name)
            for module, name in ran - followed.keys()
            if not any(f"{module}.{name}.".startswith(f"{each}.") for each in NOT_FOLLOWED)
        }
        assert strange == set()


def test_imports_of_the_package_are_of_the_kind_that_is_followed() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}, line {node.lineno}: from . import"
                assert (
                    not node.module
                    or not node.module.startswith("bcadv")
                    or all(alias.name != "*" for alias in node.names)
                ), f"{file}, line {node.lineno}: import *"
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("bcadv.") for alias in node.names), file


def test_nothing_followed_finds_code_by_a_text() -> None:
    for symbol, nodes in used((*TRAINING, *STATISTICS), NOT_FOLLOWED).items():
        for node in (inner for each in nodes for inner in ast.walk(each)):
            called = {"import_module", "__import__", "eval", "exec", "globals"}
            assert getattr(node, "id", "") not in called, symbol
            assert getattr(node, "attr", "") != "import_module", symbol
