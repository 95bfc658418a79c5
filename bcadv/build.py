"""Configuration -> model, noise, attacks and corruptions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from bcadv.callbacks.evaluate import Trial
from bcadv.callbacks.inject import NoiseInjection
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.defend import catalog as objectives
from bcadv.errors import BcadvError
from bcadv.models.classifier import Classifier
from bcadv.models.weights import fetch_weights, load_state_dict
from bcadv.perturb import catalog
from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.corrupt import catalog as corruptions
from bcadv.perturb.noise import GaussianNoise
from bcadv.perturb.threat import ThreatModel
from bcadv.plan import Plan
from bcadv.results.condition import Condition
from bcadv.task import Task


def pretrained(config: Config) -> Path | None:
    """The checked file of pre-trained weights, fetched if need be; ``None`` for from scratch.

    Raises:
        BcadvError: an unknown name, no network, a wrong checksum; with the manual way.
    """
    if config.model.weights is None:
        return None
    return fetch_weights(
        config.model.weights,
        sha256=config.model.weights_sha256,
        url=config.model.weights_url,
    )


def build_model(config: Config, classes: int) -> Classifier:
    """The classifier with its pre-trained features, where the configuration names some."""
    torch.manual_seed(config.seed)
    model = Classifier(
        classes,
        lr=config.optimizer.lr,
        weight_decay=config.optimizer.weight_decay,
        cosine_epochs=config.trainer.max_epochs if config.optimizer.scheduler else None,
        network=config.model.network,
        **config.model.options(),
    )
    model.objective = objectives.build(
        config.objective, config.objective_options.get(config.objective, {})
    )
    path = pretrained(config)
    if path is not None:
        try:
            model.net.load_features(load_state_dict(path))
        except (KeyError, IndexError, RuntimeError, AttributeError) as error:
            said = f"it lacks {error}" if isinstance(error, KeyError) else "its sizes are others"
            raise BcadvError(
                f"The weights {path} are not those of this network ({said}): name others with "
                "model.weights, or set it to null to train from scratch."
            ) from error
    return model


def build_noise(config: Config, seed: int) -> GaussianNoise:
    """Gaussian noise of the configured sigma."""
    clip = config.injection.perturbation == "gaussian_clipped"
    return GaussianNoise(config.sigma, clip=clip, seed=seed)


def build_injection(config: Config) -> NoiseInjection | None:
    """What is mixed into training, if anything."""
    if config.injection.perturbation is None:
        return None
    return NoiseInjection(
        build_noise(config, config.seed), config.injection.probability, config.seed
    )


def task_of(data: ImageDataModule) -> Task:
    """What the outputs of a model of these images mean."""
    return Task(classes=tuple(data.classes), positive=tuple(data.positive))


def build_trials(
    config: Config, plan: Plan, task: Task, models: Mapping[str, nn.Module] | None = None
) -> list[Trial]:
    """The perturbations of an evaluation plan.

    Args:
        config: of the job.
        plan: what the model is measured under.
        task: what its outputs mean.
        models: attack -> the other model that it needs.

    Raises:
        BcadvError: an aim, or a loss, that these classes do not have.
    """
    trials = []
    for series in plan.series:
        made = _perturbation(config, series.first, task, (models or {}).get(series.first.name))
        if isinstance(made, AdversarialAttack) and task.classes:
            made.suits(len(task.classes))
        trials.append(Trial(made, series.conditions, _wanted(series.first, task)))
    return trials


def _wanted(condition: Condition, task: Task) -> int | None:
    if condition.wanted is None:
        return None
    if condition.wanted not in task.classes:
        raise BcadvError(
            f"aim={condition.wanted} is no class: give any, hide, invent, or one of "
            f"{', '.join(task.classes)}."
        )
    return task.classes.index(condition.wanted)


def _perturbation(
    config: Config, condition: Condition, task: Task, model: nn.Module | None
) -> CheckedPerturbation:
    # Another seed than in training: the test must not meet noise that was trained on.
    seed = config.seed + 1
    if condition.kind == "noise":
        return build_noise(config, seed)
    if condition.kind == "corruption":
        return corruptions.build(condition.name, seed=seed)
    threat = ThreatModel(eps=0.0, norm=float(condition.norm or "inf"))
    goal = condition.goal or "untargeted"
    return catalog.build(
        condition.name,
        threat,
        seed=seed,
        targeted=goal == "targeted",
        aim=goal if goal in ("hide", "invent") else "any",
        task=task,
        options=condition.settings,
        model=model,
    )
