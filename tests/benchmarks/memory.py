"""Whether the memory of an evaluation grows with the number of its images.

A process's peak never falls, so every measurement has a fresh process. The network is small: it is
not what grows. The decoded images are mapped from a file, and mapped pages that were read count
in the peak, though the system may drop them at any time.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bcadv.build import build_model
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.job import evaluate
from tests.benchmarks.measure import REPOSITORY, Options, Row
from tests.benchmarks.stand_ins import write_parts
from tests.jobs import compose_config

SIDE = 64


def config(folder: Path, n: int) -> Config:
    """A job that tests on `n` of the images in a folder."""
    return compose_config(
        "data=folder",
        f"data.root={folder / 'images'}",
        f"data.crop={SIDE}",
        "data.resize=null",
        f"data.per_class={{test:{{benign:{n // 2},malignant:{n // 2}}}}}",
        "model.weights=null",
        "model.block_config=[2,2]",
        "trainer.accelerator=cpu",
        f"paths.outputs={folder / 'outputs'}",
    )


def prepared(folder: Path, n: int) -> ImageDataModule:
    """The images of the job, decoded now or before."""
    chosen = config(folder, n)
    data = ImageDataModule(
        chosen.data, chosen.paths.cache, chosen.seed, chosen.evaluation.batch_size
    )
    data.prepare()
    return data


def peak_mb() -> float:
    """Peak resident memory of this process in MB.

    From /proc, where it begins with this program; the peak that ``getrusage`` tells begins with
    the program that started it.

    Raises:
        FileNotFoundError: outside Linux.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 1024


def child(folder: Path, n: int) -> None:
    """Evaluates `n` images and writes the peak to standard output, on its last line."""
    data, chosen = prepared(folder, n), config(folder, n)
    model = build_model(chosen, len(data.classes))
    table = evaluate(chosen, folder, model, data, injection=None)
    if table["index"].nunique() != n:
        raise RuntimeError(f"evaluated {table['index'].nunique()} images instead of {n}")
    sys.stdout.write(f"\n{peak_mb()}\n")


def peak_of_child(folder: Path, n: int) -> float:
    """Peak memory of a fresh process that evaluates `n` images, in MB.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory", str(folder), str(n)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the evaluation of {n} images failed: {done.stderr}")
    return float(done.stdout.splitlines()[-1])


def run(options: Options) -> list[Row]:
    """Peak memory of the larger evaluation against the smaller."""
    few, many = (8, 16) if options.small else (200, 2000)
    if not Path("/proc/self/status").is_file():
        return [Row("peak memory", "-", "-", "not measured: needs Linux", "<= 1.1x")]
    peaks: dict[int, list[float]] = {few: [], many: []}
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_parts(folder / "images", train=10, test=many // 2, side=SIDE)
        prepared(folder, many)  # decoding is not what is measured
        for _ in range(options.rounds):
            for n, found in peaks.items():
                found.append(peak_of_child(folder, n))
    large, small = statistics.median(peaks[many]), statistics.median(peaks[few])
    return [
        Row(
            f"peak of evaluating {many} against {few} images, {SIDE}x{SIDE}, small network",
            f"{large:.0f} MB",
            f"{small:.0f} MB",
            f"{large / small:.3f}x",
            "<= 1.1x",
        ),
        Row(
            "of which decoded images, mapped",
            f"{many * SIDE**2 * 3 / 2**20:.1f} MB",
            f"{few * SIDE**2 * 3 / 2**20:.1f} MB",
            "-",
        ),
    ]


if __name__ == "__main__":
    child(Path(sys.argv[1]), int(sys.argv[2]))
