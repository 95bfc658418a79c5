"""Whether the memory of an evaluation grows with the number of its images.

A process's peak never falls, so every measurement has a fresh process. The network is small: it is
not what grows. The decoded images are mapped from a file, and mapped pages that were read count
in the peak, though the system may drop them at any time.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bcadv.build import build_model
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.evaluate.predictions import read_frames
from bcadv.evaluate.run import evaluated
from bcadv.metrics.robustness import summarise
from bcadv.plan import plan_of
from bcadv.results.files import PREDICTIONS
from bcadv.train import digest
from tests.benchmarks.child import peak_of, tell_peak
from tests.benchmarks.measure import Options, Row
from tests.benchmarks.stand_ins import write_parts
from tests.jobs import compose_config

SIDE = 64


ATTACKS = (
    "attacks=[pgd,apgd,fmn,cw,fab,square,hopskipjump,worst]",
    "attack={apgd:{steps:20},fmn:{steps:50},cw:{steps:10,search_steps:2},fab:{steps:10,restarts:1},"
    "square:{queries:50},hopskipjump:{queries:200},worst:{preset:quick}}",
    "evaluation.norm=[inf,2]",
    "eps_px=[0,1,4]",
    "eps_l2=[0,0.5,2]",
    "evaluation.check_images=0",
)
"""One of each kind; few steps, for memory is no matter of how many."""


def config(folder: Path, n: int, *overrides: str) -> Config:
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
        *overrides,
    )


def prepared(folder: Path, n: int) -> ImageDataModule:
    """The images of the job, decoded now or before."""
    chosen = config(folder, n)
    data = ImageDataModule(
        chosen.data, chosen.paths.cache, chosen.seed, chosen.evaluation.batch_size
    )
    data.prepare()
    return data


def child(folder: Path, n: int, *overrides: str) -> None:
    """Evaluates `n` images and tells the peak."""
    data, chosen = prepared(folder, n), config(folder, n, *overrides)
    model = build_model(chosen, len(data.classes))
    plan = plan_of(chosen)
    with evaluated(chosen, folder, model, data, plan, weights=digest(model), injection=None):
        pass
    rows = summarise(
        read_frames(folder / PREDICTIONS), plan.conditions, data.classes, data.positive, n_boot=1000
    )
    if rows[0].n != n:
        raise RuntimeError(f"evaluated {rows[0].n} images instead of {n}")
    tell_peak()


def run(options: Options) -> Iterator[Row]:
    """Peak memory of the larger evaluation against the smaller, with FGSM and with each attack."""
    if not Path("/proc/self/status").is_file():
        yield Row("peak memory", "-", "-", "not measured: needs Linux", "<= 1.1x")
        return
    if options.wants("growth"):
        yield from _growth(options, "FGSM", *((8, 16) if options.small else (100, 1000)))
    if options.wants("attacks"):
        few, many = (4, 8) if options.small else (32, 64)
        yield from _growth(options, "attacks of each kind", few, many, *ATTACKS)


def _growth(options: Options, what: str, few: int, many: int, *overrides: str) -> Iterator[Row]:
    peaks: dict[int, list[float]] = {few: [], many: []}
    with TemporaryDirectory() as name:
        folder = Path(name)
        options.tell(f"writing and decoding {many} images")
        write_parts(folder / "images", train=10, test=many // 2, side=SIDE)
        prepared(folder, many)  # decoding is not what is measured
        for i in range(options.rounds):
            for n, found in peaks.items():
                options.tell(f"round {i + 1} of {options.rounds}: {n} images, {what}")
                found.append(peak_of("tests.benchmarks.memory", folder, n, *overrides))
    large, small = statistics.median(peaks[many]), statistics.median(peaks[few])
    yield Row(
        f"peak of evaluating {many} against {few} images, {SIDE}x{SIDE}, small network, {what}",
        f"{large:.0f} MB",
        f"{small:.0f} MB",
        f"{large / small:.3f}x",
        "<= 1.1x",
    )
    yield Row(
        "of which decoded images, mapped",
        f"{many * SIDE**2 * 3 / 2**20:.1f} MB",
        f"{few * SIDE**2 * 3 / 2**20:.1f} MB",
        "-",
    )


if __name__ == "__main__":
    child(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
