"""Each probe of a model is seen to fail on what it is for, and to pass on what is sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bcadv.build import build_model
from bcadv.data.datamodule import ImageDataModule
from bcadv.evaluate.ask import tried_of
from bcadv.evaluate.probes import Budget, Subject, Tried, probe
from bcadv.evaluate.probes.gradient import reach
from bcadv.evaluate.run import evaluated
from bcadv.perturb import RandomNoise
from bcadv.perturb.threat import ThreatModel
from bcadv.plan import plan_of
from bcadv.results.schema import Finding
from bcadv.store.fingerprint import digest
from bcadv.task import Task
from tests.evaluate import zoo
from tests.jobs import tiny_config

SMALL = Budget(draws=5, steps=5, restarts=2, again=8)
N = 24


def subject(model: nn.Module) -> Subject:
    """A model and images that it has right."""
    test = zoo.images(60, 0)
    with torch.no_grad():
        right = (model(test.image).argmax(1) == test.target).nonzero()[:N, 0]
    assert len(right) == N
    return Subject(model, test.image[right], test.target[right], right, Task(), variant="clean")


def tried(**more: object) -> Tried:
    """Attacks at 1 and 4 grey levels that left every image."""
    stood = torch.ones(2, N).bool()
    given: dict[str, object] = {
        "threat": ThreatModel(0.0),
        "sizes": (1 / 255, 4 / 255),
        "texts": ("1/255", "4/255"),
        "ids": (("a",), ("b",)),
        "left": stood,
        "many": stood,
        "steps": 10,
    }
    return replace(Tried(ThreatModel(0.0), (), (), (), stood), **(given | more))  # type: ignore[arg-type]


def one(findings: list[Finding], name: str) -> Finding:
    [found] = [f for f in findings if f.id == name]
    return found


def test_attacks_that_were_too_weak_are_found_out() -> None:
    """They left everything, and the model is broken by whoever tries in earnest."""
    model = subject(zoo.trained(0))
    found = probe(model, [tried()], budget=replace(SMALL, thorough=True), ids=("a", "b"))
    converged, one_step = one(found, "converged"), one(found, "one_step")
    assert (converged.outcome, converged.taints) == ("failed", ("b",))
    assert "at 4/255" in converged.evidence
    assert converged.value is not None
    assert converged.value > 1
    assert one_step.outcome == "ok"  # at 1/255, where one step breaks nothing
    assert one(found, "repeatable").outcome == one(found, "zero_gradient").outcome == "ok"
    assert {f.batchnorm for f in found} == {"clean"}
    only_one_step = probe(model, [tried(many=None, one=tried().left, steps=1)], budget=SMALL)
    assert one(only_one_step, "converged").outcome == "unknown"


def test_one_step_that_breaks_what_many_left_is_found() -> None:
    at = {"sizes": (6 / 255,), "texts": ("6/255",), "ids": (("a",),)}
    whole = torch.ones(1, N).bool()
    found = probe(subject(zoo.trained(0)), [tried(**at, left=whole, many=whole)], budget=SMALL)
    assert (one(found, "one_step").outcome, one(found, "one_step").taints) == ("failed", ("a",))


def roughness(image: Tensor) -> Tensor:
    """Mean step from a pixel to its neighbour, shape (batch,)."""
    return (image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))


class Rough(nn.Module):
    """Right on smooth images alone, with a gradient that says nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = zoo.trained(0)
        self.limit = 1.001 * roughness(zoo.images(60, 0).image).max()

    def forward(self, image: Tensor) -> Tensor:
        still = image.detach()
        rough = roughness(still) > self.limit
        answers: Tensor = self.net(still)
        return torch.where(rough[:, None], -answers, answers) + 0 * image.mean((1, 2, 3))[:, None]


def test_noise_that_breaks_what_the_attacks_left_is_found() -> None:
    found = probe(subject(Rough()), [tried()], budget=SMALL)
    noise = one(found, "noise")
    assert (noise.outcome, noise.taints) == ("failed", ("b",))
    assert one(found, "zero_gradient").value == 1.0
    sound = probe(subject(zoo.trained(0, robust=True)), [tried()], budget=SMALL)
    assert one(sound, "noise").outcome == "ok"


def test_a_black_box_of_the_catalog_is_held_against_the_white_box() -> None:
    attack = RandomNoise(ThreatModel(0.0), draws=5)
    found = probe(subject(Rough()), [tried()], budget=SMALL, black_box=[attack])
    assert one(found, "black_box").outcome == "failed"
    assert one(found, "black_box").taints == ("b",)


def test_a_gradient_that_does_not_come_back_is_told_from_a_model_that_is_broken() -> None:
    test = zoo.images(2, 0)
    assert reach(zoo.network(0), test.image, test.target, Task()).why == ""
    assert "raises" in reach(zoo.Jpeg(zoo.network(0)), test.image, test.target, Task()).why
    cut = nn.Sequential(Cut(), zoo.network(0))
    assert "carry no gradient" in reach(cut, test.image, test.target, Task()).why
    with pytest.raises(RuntimeError, match=r"shape|mat"):
        reach(nn.Linear(5, 2), test.image, test.target, Task())


class Cut(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.detach()


def test_a_job_measures_a_model_without_a_gradient_under_what_needs_none(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path / "outputs",
        "+experiment=baseline",
        "attacks=[fgsm,pgd]",
        "evaluation.noise=true",
        f"paths.cache={tmp_path / 'cache'}",
    )
    data = ImageDataModule(config.data, tmp_path / "images", eval_batch_size=8)
    data.prepare()
    model = build_model(config, len(data.classes)).eval()
    plan = plan_of(config)
    for cut, name in ((False, "whole"), (True, "cut")):
        hook = model.net.register_forward_pre_hook(lambda _, given: (given[0].detach(),))
        if not cut:
            hook.remove()
        (tmp_path / name).mkdir()
        weights = digest(name)
        with evaluated(
            config, tmp_path / name, model, data, plan, weights=weights, injection=None
        ) as done:
            ids = {condition.name for condition in done.plan.conditions}
            gradient = one(list(done.findings), "gradient")
            known = {finding.id for finding in done.findings}
        assert {"fgsm", "pgd"} & ids == (set() if cut else {"fgsm", "pgd"})
        assert "gaussian" in ids
        assert gradient.outcome == ("failed" if cut else "ok")
        assert {"noise", "repeatable", "logits"} <= known
        assert ("unbounded" in known) == (not cut)
    assert "carry no gradient" in gradient.evidence


def test_without_images_nothing_is_held_to_be_checked(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path / "o",
        "+experiment=baseline",
        "evaluation.check_images=0",
        f"paths.cache={tmp_path / 'cache'}",
    )
    data = ImageDataModule(config.data, tmp_path / "images", eval_batch_size=8)
    data.prepare()
    model = build_model(config, len(data.classes)).eval()
    plan = plan_of(config)
    with evaluated(config, tmp_path, model, data, plan, weights="w", injection=None) as done:
        assert {f.outcome for f in done.findings} == {"unknown"}
        assert done.plan == plan


def test_what_is_tried_is_read_by_norm_and_by_steps() -> None:
    config = tiny_config(
        Path("o"), "+experiment=baseline", "attacks=[fgsm,pgd]", "evaluation.norm=[inf,2]"
    )
    plan = plan_of(config)
    right = pd.DataFrame({c.id: [True, c.name == "fgsm", False] for c in plan.conditions})
    largest, euclid = tried_of(plan, right, Task())
    assert (largest.texts, euclid.threat.norm) == (("1/255", "8/255"), 2.0)
    assert largest.one is not None
    assert largest.many is not None
    assert largest.one[0].tolist() == [True, True, False]
    assert largest.left[0].tolist() == largest.many[0].tolist() == [True, False, False]
    assert largest.steps == 20
    assert largest.telling() == 0


@pytest.mark.parametrize(
    ("asked", "aim", "wanted", "accept", "text"),
    [
        (("aim=[hide,any]", "accept=[8bit,float]"), "any", None, "float", "1/255"),
        (("aim=[any,hide]", "accept=8bit"), "any", None, "8bit", "1/255, as 8bit"),
        (("aim=[hide,invent]",), "hide", None, "float", "1/255 hiding the disease"),
        (("aim=invent",), "invent", None, "float", "1/255 inventing the disease"),
        (("aim=malignant",), "any", 1, "float", "1/255 for malignant"),
    ],
)
def test_one_aim_and_way_to_save_an_image_speaks_for_its_norm(
    asked: tuple[str, ...], aim: str, wanted: int | None, accept: str, text: str
) -> None:
    plan = plan_of(tiny_config(Path("o"), "+experiment=baseline", "attacks=[pgd]", *asked))
    right = pd.DataFrame({c.id: [True, False] for c in plan.conditions})
    [of] = tried_of(plan, right, Task(classes=("benign", "malignant"), positive=(1,)))
    assert (of.aim, of.wanted, of.accept, of.texts[0]) == (aim, wanted, accept, text)
    mine = [c for s in plan.attacks for c in s.conditions if c.acceptance == accept]
    assert {name for ids in of.ids for name in ids} < {c.id for c in mine}


@pytest.mark.parametrize("more", [{"aim": "hide"}, {"aim": "invent"}, {"wanted": 0}])
def test_weak_attacks_with_an_aim_are_found_out_on_the_images_that_it_concerns(
    more: dict[str, object],
) -> None:
    model = replace(subject(zoo.trained(0)), task=Task(positive=(1,)))
    concerned = int((model.target == (0 if "invent" in more.values() else 1)).sum())
    assert 0 < concerned < N
    left = tried(sizes=(1 / 255, 16 / 255), **more)
    found = probe(model, [left], budget=replace(SMALL, thorough=True))
    assert one(found, "converged").outcome == "failed"
    unbounded = one(found, "unbounded")
    assert (unbounded.outcome, f"of {concerned} images" in unbounded.evidence) == ("ok", True)


def test_where_no_image_is_of_the_kind_that_attacks_were_after_they_are_not_checked() -> None:
    model = replace(subject(zoo.trained(0)), task=Task(positive=(1,)))
    sick = model.only(model.target == 1)
    only = tried().only(torch.arange(len(sick)))
    found = probe(sick, [replace(only, aim="invent")], budget=SMALL)
    assert {f.id for f in found} == {"repeatable", "logits", "gradient", "zero_gradient"}


class Fractions(nn.Module):
    """Wrong on whatever cannot be saved with 256 grey levels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = zoo.trained(0)

    def forward(self, image: Tensor) -> Tensor:
        grey = image.detach() * 255
        between = ((grey - grey.round()).abs() > 0.01).flatten(1).any(1)
        answers: Tensor = self.net(image)
        return torch.where(between[:, None], -answers, answers)


def test_images_are_saved_before_a_probe_asks_about_them() -> None:
    model = subject(zoo.trained(0))
    rounded = replace(model, model=Fractions(), image=(model.image * 255).round() / 255)
    at = {"sizes": (0.5 / 255,), "texts": ("0.5/255",), "ids": (("a",),)}
    whole = torch.ones(1, N).bool()
    given = tried(**at, left=whole, many=whole)
    assert one(probe(rounded, [given], budget=SMALL), "noise").value == N
    saved = probe(rounded, [replace(given, accept="8bit")], budget=SMALL)
    assert one(saved, "noise").value is not None
    assert one(saved, "noise").outcome == "ok"
