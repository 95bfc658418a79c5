"""Made-up results, from the same models that jobs write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bcadv.data.catalog import SOURCES
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import (
    UNDEFENDED,
    DataSection,
    Defence,
    Finding,
    Measure,
    ModelSection,
    PicturesSection,
    Result,
    Row,
    RunSection,
    TaskSection,
    TrainingSection,
)

CLASSES = ("benign", "malignant")
METRICS = ("accuracy", "robust_accuracy", "sensitivity", "specificity", "auroc", "ece")


def noise(sigma: float) -> Defence:
    """Training on Gaussian noise."""
    return Defence(
        kind="noise",
        settings={"noise": "gaussian", "sigma": sigma, "probability": 1.0},
        label=f"noise σ={sigma:g}",
    )


def row(condition: Condition, batchnorm: str = "as_trained", **values: float | None) -> Row:
    """Numbers under a condition: those given, and a falling curve for the others."""
    falling = dict.fromkeys(METRICS, 1 - 2 * condition.size) | values
    return Row(
        batchnorm=batchnorm,
        condition=condition.id,
        n=40,
        n_patients=None,
        metrics={
            name: Measure(value=value, n=40, reason="" if value is not None else "made so")
            for name, value in falling.items()
        },
    )


def result(
    conditions: Sequence[Condition] = (),
    rows: Sequence[Row] = (),
    *,
    run: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    defence: Defence = UNDEFENDED,
    weights: str = "w",
    batchnorm: Sequence[str] = ("as_trained",),
    crop: int = 224,
    series: str | None = None,
    findings: Sequence[Finding] = (),
    files: Mapping[str, str] | None = None,
) -> Result:
    """A whole ``results.json``; what is not given is made up."""
    every = (CLEAN, *(condition for condition in conditions if condition != CLEAN))
    known = tuple(rows) or tuple(row(c, variant) for variant in batchnorm for c in every)
    counts = {"train": 80, "val": 10, "test": 30}
    classes = tuple((task or {}).get("classes", CLASSES))
    source = SOURCES[(data or {}).get("source", "breakhis")]
    attacked = next((c.series for c in every if c.kind == "attack"), None)
    return Result(
        run=RunSection.model_validate(
            {
                "experiment": "baseline",
                "name": "it",
                "command": "python -m bcadv.run +experiment=baseline",
                "started": "2025-01-01T11:00:00+00:00",
                "finished": "2025-01-01T12:00:00+00:00",
                "seed": 0,
                "git_commit": "abc1234",
            }
            | dict(run or {})
        ),
        task=TaskSection.model_validate(
            {"kind": "multiclass", "classes": classes, "positive": (1,), "positive_by": "source"}
            | dict(task or {})
        ),
        data=DataSection.model_validate(
            {
                "source": source.name,
                "words": source.words,
                "label": source.label,
                "synthetic": source.synthetic,
                "tumours": source.tumours,
                "split": "paper",
                "counts": {part: dict.fromkeys(classes, n) for part, n in counts.items()},
                "patient_overlap": 2 / 3,
                "overlap": {
                    "sentence": "40 of 60 test images (66.7%) come from a patient in training.",
                    "patient_overlap": 2 / 3,
                },
            }
            | dict(data or {})
        ),
        model=ModelSection(
            architecture="densenet121",
            weights=weights,
            crop=crop,
            resize=None,
            defence=defence,
            batchnorm=tuple(batchnorm),
        ),
        training=TrainingSection.model_validate(
            {
                "epochs": 12,
                "seconds": 60.0,
                "reused": False,
                "fingerprint": "f",
                "shape": {},
                "checkpoint": "last",
                "checkpoint_epoch": 11,
                "precision": "32-true",
                "injection": {},
                "optimizer": {},
                "batch_size": 32,
            }
            | dict(training or {})
        ),
        pictures=PicturesSection(batchnorm=batchnorm[0], series=series or attacked),
        conditions=every,
        rows=known,
        findings=tuple(findings),
        files=dict(files or {}),
        environment={"python": "3.11.7", "packages": {"torch": "2.15.0"}},
    )
