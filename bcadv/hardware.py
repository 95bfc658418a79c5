"""What the machine can do: precision, threads, and a record of what a result was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "bcadv",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchxrayvision",
    "torchmetrics",
    "hydra-core",
    "mlflow",
    "numpy",
)

NAMES = {"32": "float32", "bf16": "bfloat16, confirmed in float32"}
"""What `evaluation.precision` means."""


def has_native_bf16(gpu: bool) -> bool:
    """Whether the hardware multiplies bfloat16 itself; emulation would be slower than float32."""
    if gpu:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def use_gpu(accelerator: str) -> bool:
    """Whether `accelerator` (auto, cpu, gpu) means the GPU here."""
    return accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())


def training_precision(precision: str, gpu: bool) -> str:
    """Lightning's name for the precision of training: `auto` is bf16 where it is native."""
    if precision == "auto":
        precision = "bf16" if has_native_bf16(gpu) else "32"
    return "bf16-mixed" if precision == "bf16" else "32-true"


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, or `None` outside of one."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def environment(gpu: bool) -> dict[str, Any]:
    """Versions, processor and threads, as plain values."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if gpu else (platform.processor() or "cpu"),
        "threads": torch.get_num_threads(),
        "packages": {name: installed(name) for name in PACKAGES},
    }
