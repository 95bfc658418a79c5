"""How long the report takes over many result folders, its memory, and the size of its page.

The report runs in a process of its own, imports included, as a person would start it. Every job
has predictions of its own, with the rates of its sigma's first: computing them is a job's work and
not the report's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from bcadv.results.files import digests
from bcadv.results.schema import Result, write_result
from tests.benchmarks.child import peak_of, tell_peak
from tests.benchmarks.measure import Options, Row
from tests.metrics.tables import fgsm

EPS_PX = (0.25, 0.5, 1, 2, 4, 8, 12, 16, 32)
VARIANTS = ("as_trained", "clean")
SIGMAS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
SWEEP = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)


@dataclass(frozen=True)
class Measured:
    """One run of the report."""

    seconds: float
    peak_mb: float
    page_mib: float


def write_jobs(
    folder: Path, *, sigmas: tuple[float, ...], seeds: int, n: int, side: int, pictured: int
) -> None:
    """Writes a folder of finished jobs: every sigma with every seed, two BatchNorm variants each.

    Args:
        folder: gets ``0``, ``1``, ...
        sigmas: 0 is the undefended training.
        seeds: of each sigma.
        n: test images; ten conditions for each variant.
        side: of the pictures, in pixels.
        pictured: the first so many seeds of each sigma keep pictures.
    """
    # Imported here, so that the process that is measured does not pay for it.
    from tests.report.jobs_on_disk import write_job

    number = 0
    for sigma in sigmas:
        template = folder / "template"
        results = write_job(
            template,
            experiment="defense" if sigma else "baseline",
            synthetic=False,
            sigma=sigma or None,
            eps_px=EPS_PX,
            side=8,
            n=n,
            patients=n // 10,
            variants=VARIANTS,
            seed=int(1000 * sigma),
        )
        frame = pd.read_parquet(template / "predictions.parquet")
        history = (template / "history.csv").read_bytes()
        for seed in range(seeds):
            job = folder / str(number)
            job.mkdir()
            _redrawn(frame, number).to_parquet(job / "predictions.parquet", index=False)
            (job / "history.csv").write_bytes(history)
            if seed < pictured:
                _write_pictures(job, side, number)
            _write_results(job, results, sigma, seed, number)
            number += 1
        for path in template.iterdir():
            path.unlink()
        template.rmdir()


def _write_results(job: Path, result: Result, sigma: float, seed: int, number: int) -> None:
    run = {"name": f"sweep/{number}", "seed": seed, "job": number}
    noise = {"injection.perturbation": "gaussian" if sigma else None, "sigma": sigma or None}
    training = {
        "fingerprint": f"{number:016x}",
        "shape": {"data.split": "paper", "seed": seed, **noise},
    }
    changed = result.model_copy(
        update={
            "run": result.run.model_copy(update=run),
            "training": result.training.model_copy(update=training),
            "files": digests(job),
        }
    )
    (job / "results.json").write_text(write_result(changed), encoding="utf-8")


def _redrawn(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same answers, handed to other images of the same class: every rate stays what it is."""
    random = np.random.default_rng(seed)
    images = frame.drop_duplicates("index").set_index("index").sort_index()
    other = np.arange(len(images))
    for target in images["target"].unique():
        members = np.flatnonzero(images["target"] == target)
        other[members] = random.permutation(members)
    index = other[frame["index"].to_numpy()]
    image_id, patient = (images[name].to_numpy()[index] for name in ("image_id", "patient"))
    return frame.assign(index=index, image_id=image_id, patient=patient)


def _write_pictures(job: Path, side: int, seed: int) -> None:
    """Examples and a gallery with the grain of a photograph, for a smooth one compresses well."""
    from tests.report.jobs_on_disk import examples

    arrays = examples([fgsm(eps) for eps in EPS_PX], side)
    random = np.random.default_rng(seed)
    grain = random.normal(0, 8, arrays["image"].shape)
    arrays["image"] = np.clip(arrays["image"] + grain, 0, 255).astype(np.uint8)
    np.savez(job / "examples.npz", **arrays)
    k = len(arrays["image"])
    np.savez(
        job / "gallery.npz",
        image=arrays["image"],
        adversarial=arrays["adversarial"][0],
        condition=np.array([fgsm(EPS_PX[0]).id] * k),
        flipped=np.arange(k) < k // 2,
        first=np.arange(k) < k // 2,
        target=arrays["target"],
        index=arrays["index"],
        image_id=np.array([f"image-{i}" for i in range(k)]),
        prediction=arrays["prediction"],
        prob_clean=arrays["prob_clean"],
        prediction_adversarial=arrays["prediction_adversarial"][0],
        prob_adversarial=arrays["prob_adversarial"][0],
    )


def child(runs: Path, out: Path) -> int:
    """Writes the report on these folders and tells the peak; returns the exit status."""
    from bcadv.report.__main__ import main

    status = main([f"runs={runs}", f"out={out}"])
    tell_peak()
    return status


def measure(runs: Path, out: Path) -> Measured:
    """Runs the report in a process of its own.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    begun = time.perf_counter()
    peak_mb = peak_of("tests.benchmarks.report", runs, out)
    seconds = time.perf_counter() - begun
    return Measured(seconds, peak_mb, (out / "report.html").stat().st_size / 2**20)


def run(options: Options) -> Iterator[Row]:
    """The report over many folders, over one sweep, and over a single job."""
    if not Path("/proc/self/status").is_file():
        yield Row("report", "-", "-", "not measured: needs Linux", "<= 15 s")
        return
    seeds, n = (2, 40) if options.small else (20, 1000)
    few = min(156, n)
    if options.wants("many"):
        sigmas = SIGMAS[:2] if options.small else SIGMAS
        many = _measured(options, "many", sigmas, seeds, n)
        conditions = len(VARIANTS) * (1 + len(EPS_PX))
        yield Row(
            f"report over {len(sigmas) * seeds} folders of {n} predictions x {conditions} rows",
            f"{many.seconds:.1f} s",
            "-",
            f"{many.seconds:.1f} s",
            "<= 15 s",
        )
        yield Row(
            "its peak memory", f"{many.peak_mb:.0f} MB", "-", f"{many.peak_mb:.0f} MB", "<= 1 GiB"
        )
    if options.wants("sweep"):
        sweep = _measured(options, "sweep", SWEEP, min(3, seeds), few)
        yield Row(
            f"page for one sweep, {len(SWEEP)} sigmas x {min(3, seeds)} seeds",
            f"{sweep.page_mib:.2f} MiB in {sweep.seconds:.1f} s",
            "-",
            f"{sweep.page_mib:.2f} MiB",
            "<= 3 MiB",
        )
    if options.wants("one"):
        one = _measured(options, "one", (0.1,), 1, few)
        yield Row(
            "page for one job, imports included",
            f"{one.seconds:.1f} s",
            "-",
            f"{one.seconds:.1f} s",
        )


def _measured(
    options: Options, what: str, sigmas: tuple[float, ...], seeds: int, n: int
) -> Measured:
    """The round of median seconds."""
    with TemporaryDirectory() as name:
        runs, out = Path(name) / "runs", Path(name) / "out"
        runs.mkdir()
        options.tell(f"{what}: writing {len(sigmas) * seeds} jobs")
        write_jobs(
            runs, sigmas=sigmas, seeds=seeds, n=n, side=24 if options.small else 224, pictured=1
        )
        rounds = []
        for i in range(options.rounds):
            options.tell(f"{what}: round {i + 1} of {options.rounds}")
            rounds.append(measure(runs, out))
    return sorted(rounds, key=lambda measured: measured.seconds)[options.rounds // 2]


if __name__ == "__main__":
    sys.exit(child(Path(sys.argv[1]), Path(sys.argv[2])))
