"""The stored models that attacks of a job need: found, judged and loaded before it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bcadv.config import Config
from bcadv.errors import BcadvError
from bcadv.models.catalog import NETWORKS
from bcadv.models.classifier import Classifier
from bcadv.perturb.catalog import ATTACKS
from bcadv.plan import Plan, plan_of
from bcadv.results.schema import SurrogateSection
from bcadv.store.fingerprint import describe, differences
from bcadv.store.listing import defence_of
from bcadv.store.models import Entry, Store, read
from bcadv.train import digest, load
from bcadv.trainer import why_unreadable

_MOST_NAMED = 8
_VERSIONS = frozenset({"code", "torch", "lightning"})
"""What differs between two trainings of the same model by two versions of the program."""


@dataclass(frozen=True)
class Surrogate:
    """A stored model that an attack is made on.

    Attributes:
        place: of the option that named it, with its value, for sentences.
        entry: where it lies.
        model: in eval mode, with the BatchNorm statistics of its training.
        record: what result files say of it.
    """

    place: str
    entry: Entry
    model: nn.Module
    record: SurrogateSection

    def other_than(self, shape: Mapping[str, Any], fingerprint: str) -> str:
        """Its fingerprint; from the model under attack itself nothing would be transferred.

        Args:
            shape: of the model under attack, see `bcadv.store.fingerprint.describe`.
            fingerprint: of that.

        Raises:
            BcadvError: it is that model, or the same training by another version of the program.
        """
        differing = differences(shape, self.entry.shape)
        if self.record.fingerprint != fingerprint and not _VERSIONS.issuperset(differing):
            return self.record.fingerprint
        same = f" but for the {' and '.join(differing)} that trained it" if differing else ""
        raise BcadvError(
            f"{self.place} cannot be used: that is the very model under attack{same}, and no "
            "transfer; give a model of another seed or network."
        )


def plan_with(config: Config, others: Mapping[str, Surrogate]) -> Plan:
    """The plan that a configuration asks for, with the other models by their whole fingerprints."""
    return plan_of(config, {name: other.record.fingerprint for name, other in others.items()})


def surrogates(
    config: Config, classes: Sequence[str], named: Mapping[str, str] | None = None
) -> dict[str, Surrogate]:
    """The stored models that the attacks of a job need.

    Args:
        config: of the job.
        classes: of its images, in the order of the outputs.
        named: attack -> fingerprint, where another process has found it already; by the time that
            this one looks the beginning of one may be that of two.

    Returns:
        Attack -> its model; empty where no attack needs one.

    Raises:
        BcadvError: none is named, or one that is not there, damaged, or of other images; says
            which there are.
    """
    found = {}
    for name in config.attacks:
        option = ATTACKS[name].model_option
        if option is None:
            continue
        value = ATTACKS[name].settings(config.attack.get(name, {}))[option]
        value = (named or {}).get(name, value)
        place = f"attack.{name}.{option}={'null' if value is None else value}"
        entry = _chosen(config, classes, None if value is None else str(value), place)
        _check(config, classes, entry, place)
        found[name] = _loaded(config, name, entry, place)
    return found


def _chosen(config: Config, classes: Sequence[str], value: str | None, place: str) -> Entry:
    """The entry that a fingerprint, or the beginning of one, names."""
    entries = Store(config.paths.outputs).entries()
    if value is None:
        raise _none(config, classes, "an attack on another model needs one", place)
    near = [entry for entry in entries if entry.folder.name.startswith(value)]
    exact = [entry for entry in near if entry.folder.name == value]
    if not near:
        raise _none(config, classes, "no stored model begins with that", place)
    if len(near) > 1 and not exact:
        raise BcadvError(
            f"{place} cannot be used: {len(near)} stored models begin with that, "
            f"{_named(near)}; give more digits."
        )
    return (exact or near)[0]


def _none(config: Config, classes: Sequence[str], why: str, place: str) -> BcadvError:
    root = Store(config.paths.outputs).root
    there = [
        entry
        for entry in Store(config.paths.outputs).entries()
        if not any(_wrong(config, classes, entry)) and not _is_the_jobs_own(config, entry)
    ]
    remedy = (
        f"give one of {_named(there)}"
        if there
        else f"{root} holds no other one of {', '.join(classes)} at this size, so train one first, "
        f"as with attacks=[fgsm] seed={config.seed + 1}"
    )
    return BcadvError(f"{place} cannot be used: {why}; {remedy}.")


def _is_the_jobs_own(config: Config, entry: Entry) -> bool:
    """Whether the job's options would train it, whatever its images."""
    shape = entry.shape
    content, precision = str(shape.get("data.content")), str(shape.get("trainer.precision"))
    wanted = describe(config, content=content, precision=precision)
    return _VERSIONS.issuperset(differences(wanted, shape))


def _named(entries: Sequence[Entry]) -> str:
    said = [f"{entry.folder.name} ({_words(entry.shape)})" for entry in entries[-_MOST_NAMED:]]
    more = len(entries) - len(said)
    return ", ".join(said) + (f" and {more} older" if more else "")


def _words(shape: Mapping[str, Any]) -> str:
    return f"{_architecture(shape)}, seed {shape.get('seed', 'unknown')}, {defence_of(shape)}"


def _architecture(shape: Mapping[str, Any]) -> str:
    """What the literature calls the network; where that is not known, its row of the catalog."""
    own = {k.removeprefix("model."): v for k, v in shape.items() if k.startswith("model.")}
    name = str(own.get("network", "unknown network"))
    try:
        return NETWORKS[name].settings.model_validate(own).architecture
    except (KeyError, ValueError):
        return name


def _check(config: Config, classes: Sequence[str], entry: Entry, place: str) -> None:
    for wrong in _wrong(config, classes, entry):
        if wrong is not None:
            raise BcadvError(f"{place} cannot be used: {wrong}.")


def _wrong(config: Config, classes: Sequence[str], entry: Entry) -> Iterator[str | None]:
    """What of its records speaks against a model, the gravest first."""
    record, shape = entry.trained, entry.shape
    name = entry.folder.name
    if entry.is_damaged:
        yield f"the records of {entry.folder} are damaged; remove that folder and train it anew"
        return
    if record is None:
        yield f"the training of {name} has not ended; run its job again, which goes on with it"
        return
    its = record.get("classes")
    if not isinstance(its, list) or not its:
        yield (
            f"{name} was stored without the names of its classes, by an earlier version; run its "
            "job again, which writes them down"
        )
        return
    wanted = ", ".join(classes)
    train = f"train a model of {wanted}, as with attacks=[fgsm] seed={config.seed + 1}"
    if len(its) != len(classes):
        yield (
            f"{name} knows {len(its)} classes ({', '.join(its)}), and these images have "
            f"{len(classes)} ({wanted}); {train}"
        )
    elif sorted(its) != sorted(classes):
        yield f"{name} knows the classes {', '.join(its)}, and these images have {wanted}; {train}"
    elif its != list(classes):
        yield (
            f"{name} has its classes in another order ({', '.join(its)}) than these images "
            f"({wanted}); {train}"
        )
    data = config.data
    for option, ours in (("crop", data.crop), ("resize", data.resize), ("white", data.white)):
        theirs = shape.get(f"data.{option}")
        if theirs != ours:
            # It would answer, and be a poor adversary: the model under attack would look robust.
            yield (
                f"{name} was trained on images prepared in another way, data.{option}="
                f"{_said(theirs)} and here {_said(ours)}; train one on images like these"
            )


def _said(value: object) -> str:
    return "null" if value is None else str(value)


def _loaded(config: Config, attack: str, entry: Entry, place: str) -> Surrogate:
    which = config.trainer.checkpoint
    path = entry.checkpoint(which)
    try:
        settings = read(path)["hyper_parameters"]
        if settings["network"] not in NETWORKS:
            raise ValueError(f"this version has no network {settings['network']}")
        # Building draws first weights: the job's own random numbers are not to change by that.
        with torch.random.fork_rng(devices=[]):
            model = Classifier(**settings)
        load(model, entry, which)
    except Exception as error:  # damage shows itself in many ways
        reason = (
            "its weights were changed or damaged"
            if isinstance(error, BcadvError)
            else why_unreadable(error)
        )
        raise BcadvError(
            f"{place} cannot be used: {path} cannot be read ({reason}); remove the folder "
            f"{entry.folder} and train that model anew."
        ) from error
    return Surrogate(
        place,
        entry,
        model.eval().requires_grad_(False),
        SurrogateSection(
            attack=attack,
            fingerprint=entry.folder.name,
            architecture=model.net.architecture,
            seed=entry.shape.get("seed"),
            weights=digest(model),
            checkpoint=which,
        ),
    )
