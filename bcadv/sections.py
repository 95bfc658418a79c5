"""What every job is asked beside its images and its network: noise, attack, training, places."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bcadv.section import NormName, Section, as_list, number_as_text


class InjectionConfig(Section):
    """What is mixed into the training images."""

    perturbation: Literal["gaussian", "gaussian_clipped"] | None = Field(
        description="Give gaussian, gaussian_clipped or null."
    )
    """Noise that is mixed into training images; gaussian_clipped stays within [0, 1]."""
    probability: float = Field(default=1.0, ge=0, le=1, description="Give a share from 0 to 1.")
    """Share of training images that get it; the paper's is 1."""


class EvaluationConfig(Section):
    """How test images are attacked and corrupted; `attacks` and `corruptions` say with what."""

    norm: Annotated[tuple[NormName, ...], BeforeValidator(as_list)] = Field(
        default=("inf",), min_length=1, description="Give inf, 2, 1, 0, or a list of them."
    )
    """What measures the change of an image: inf its largest pixel (eps_px), 2 its Euclidean length
    (eps_l2), 1 the sum of all changes (eps_l1), 0 the number of values that change (eps_l0). Each
    attack runs in those of them that it exists in.
    """
    noise: bool = Field(default=False, description="Give true or false.")
    """Whether test images with Gaussian noise of sigma are judged too."""
    severities: Annotated[
        tuple[Annotated[int, Field(ge=1, le=5)], ...], BeforeValidator(as_list)
    ] = Field(
        default=(1, 2, 3, 4, 5), min_length=1, description="Give 1 to 5, or a list such as [1,3,5]."
    )
    """How bad each corruption is, from 1 (hardly) to 5 (very)."""
    batch_size: int = Field(default=32, ge=1, description="Give a whole number of at least 1.")
    """Images of an evaluation batch."""
    n_boot: int = Field(default=1000, ge=100, le=100_000, description="Give 100 to 100000 draws.")
    """Bootstrap draws behind the interval of the calibration error: of patients, or of images."""
    check_images: int = Field(default=64, ge=0, le=100_000, description="Give 0 to 100000 images.")
    """Test images that checks ask the model about, at most one in 24, or 16; 0: nothing is
    checked, and so no defence is called robust.
    """
    precision: Annotated[Literal["32", "bf16"], BeforeValidator(number_as_text)] = Field(
        default="32", description="Give 32 or bf16."
    )
    """Of attacks of several steps: bf16 is faster where the hardware has it natively. What an
    attack finds is confirmed in float32, which every answer in the results is of.
    """
    examples: int = Field(default=4, ge=1, le=16, description="Give 1 to 16 images.")
    """Test images that are kept for the figures."""


class OptimizerConfig(Section):
    """Adam, as in the paper; a schedule only on demand."""

    lr: float = Field(gt=0, le=1e30, description="Give a number above 0, at most 1e30.")
    """Learning rate of Adam."""
    weight_decay: float = Field(
        default=0.0, ge=0, le=1e30, description="Give a number from 0 to 1e30."
    )
    """Weight decay of Adam."""
    scheduler: Literal["cosine"] | None = Field(default=None, description="Give cosine or null.")
    """How the learning rate falls: cosine, down to zero over the epochs; null: it does not."""


class TrainerConfig(Section):
    """How long, how exact, and on what."""

    max_epochs: int = Field(ge=1, le=1_000_000, description="Give 1 to 1000000 epochs.")
    """Epochs of training; the paper's are 400."""
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(number_as_text)] = Field(
        default="auto", description="Give auto, 32 or bf16."
    )
    """Of training: auto is bf16 where the hardware has it natively. Attacks run in float32."""
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="Give auto, cpu or gpu."
    )
    """What trains: auto is a GPU where there is one."""
    threads: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None, description="Give a number of threads, or null."
    )
    """CPU threads of torch; null: all cores. 1 is faster beside other work."""
    devices: int = Field(default=1, ge=1, le=4096, description="Give 1 to 4096.")
    """GPUs, or CPU processes, of each machine that share every batch."""
    nodes: int = Field(default=1, ge=1, le=4096, description="Give 1 to 4096.")
    """Machines; more than one is started with srun or torchrun."""
    checkpoint: Literal["best", "last"] = Field(default="last", description="Give best or last.")
    """Which epoch is tested: the last, or the best by validation loss, which misleads for a model
    trained on noise.
    """
    early_stopping: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Give epochs of patience, or null."
    )
    """Epochs without a better validation loss before training ends; null: never."""
    weight_averaging: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Give a decay between 0 and 1, or null."
    )
    """Decay of a moving average of the weights; null: none is kept."""


class TrackingConfig(Section):
    """Where runs are logged besides their result files."""

    enabled: bool = Field(default=True, description="Give true or false.")
    """Whether the job is logged to MLflow."""
    uri: str | None = None
    """An MLflow server or database, such as http://host:port; null: SQLite below paths.outputs."""
    experiment: str = "baseline"
    """Name of the MLflow experiment."""


class PathsConfig(Section):
    """Where things are written."""

    outputs: Path = Field(description="Give a folder.")
    """Where results, trained models and the MLflow store are written."""
    cache: Path = Field(description="Give a folder.")
    """Where decoded images are kept, and the answers of an evaluation under way."""
