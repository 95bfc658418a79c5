"""Finished jobs made by hand, and the tracker's calls in the order of a real job."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Result, Row, write_result
from bcadv.sections import TrackingConfig
from bcadv.store.models import save
from bcadv.tracking import Tracker
from tests.metrics.tables import fgsm
from tests.results.made import result as whole
from tests.results.made import row

if TYPE_CHECKING:
    from mlflow.entities import Run

    from bcadv.models.classifier import Classifier

CLASSES = ["benign", "malignant"]
TINY: dict[str, Any] = {"block_config": [2, 2], "growth_rate": 8, "init_features": 8}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = {"train": "a" * 64, "val": "b" * 64, "test": "c" * 64}
"""Digests of the parts of the images."""
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")


def results(strengths: Sequence[float] = (0, 0.25, 1, 8), rows: Sequence[Row] = ()) -> Result:
    """The results of a job that was attacked with FGSM."""
    named = {row.condition for row in rows}
    conditions = [fgsm(eps) for eps in (*strengths, 2, 4) if not named or fgsm(eps).id in named]
    conditions = conditions if named else conditions[: len(strengths)]
    made = [result_row(condition) for condition in (CLEAN, *conditions)]
    finished = datetime.now(UTC).isoformat()
    run = {"finished": finished}
    return whole(conditions, rows or made, run=run, data={"digests": CONTENT}, crop=32)


def result_row(condition: Condition, batchnorm: str = "as_trained", **values: float | None) -> Row:
    """Numbers that fall with the strength, or those given."""
    falling = {"accuracy": 1 - condition.strength / 16, "auroc": 1 - condition.strength / 32}
    return row(condition, batchnorm, **(falling | values))


def history(epochs: int) -> list[dict[str, float]]:
    """Five metrics per epoch, all of them different."""
    return [
        {"epoch": e, **{name: 1 / (1 + e + k / 10) for k, name in enumerate(METRICS)}}
        for e in range(epochs)
    ]


def params(sigma: float = 0.1) -> dict[str, Any]:
    """Nested settings."""
    return {
        "experiment": "baseline",
        "seed": 0,
        "sigma": sigma,
        "resume": False,
        "injection": {"perturbation": "gaussian", "probability": 1.0},
        "data": {"crop": 32, "resize": None, "augment": ["crop"]},
        "tracking": {"uri": None},
    }


def write_files(folder: Path, epochs: int = 3, **more: Any) -> Result:
    """Fills a job folder as a finished job does; returns the results."""
    made = results(**more)
    for place in (".hydra", "figures", "checkpoints", "model"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text("sigma: 0.1\n")
    (folder / "results.json").write_text(write_result(made))
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    (folder / "split.csv").write_text("image_id,split\n")
    (folder / "report.html").write_text("<h1>report</h1>")
    (folder / "figures" / "robustness_curve.svg").write_text("<svg/>")
    # What must stay behind.
    (folder / "results.part").write_text("{")
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"0")
    (folder / "model" / "last.ckpt").write_bytes(b"0")
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *METRICS])
        writer.writeheader()
        writer.writerows(history(epochs))
    return made


def write_checkpoint(path: Path) -> Classifier:
    """A checkpoint as Lightning writes it, with the state of an optimiser that is twice as big."""
    # Here, because processes that train nothing use this module as well.
    import torch

    from bcadv.models.classifier import Classifier

    torch.manual_seed(0)
    model = Classifier(2, **TINY)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    # With statistics of images, the answers differ from image to image.
    model.train()(torch.rand(16, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adam = torch.optim.Adam(model.parameters())
    adam.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": version("pytorch-lightning"),
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "optimizer_states": [adam.state_dict()],
        "callbacks": {"History": {"rows": []}},
    }
    save(whole, path)
    return model.eval()


def data_sets(run: Run) -> list[dict[str, Any]]:
    """What a run was given, each data set with its tags."""
    given = [] if run.inputs is None else run.inputs.dataset_inputs
    return [dict(one.to_dictionary()) for one in given]


def tracker(
    folder: Path, outputs: Path, *, uri: str | None = None, tags: Mapping[str, str] | None = None
) -> Tracker:
    """Of an experiment named after the folder's parent."""
    config = TrackingConfig(uri=uri, experiment=folder.parent.name)
    return Tracker(folder, outputs, config, tags or {"sweep": "s1", "git_commit": COMMIT})


def run_job(
    folder: Path,
    outputs: Path,
    *,
    uri: str | None = None,
    epochs: int = 3,
    checkpoint: Path | None = None,
    sigma: float = 0.1,
    tags: Mapping[str, str] | None = None,
    **more: Any,
) -> Tracker:
    """The tracker's calls in the order of a real job."""
    followed = tracker(folder, outputs, uri=uri, tags=tags)
    followed.start(params(sigma))
    for line in history(epochs):
        followed.epoch(line)
    made = write_files(folder, epochs, **more)
    followed.finish(params(sigma), history(epochs), made, checkpoint)
    return followed
