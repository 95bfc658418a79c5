"""What a job may be asked for: the schema of the conf tree, checked before anything heavy loads.

Hydra composes, this module judges. It imports neither torch nor Lightning, so that a mistake is
answered in a moment.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from bcadv.attack_config import AttackConfig
from bcadv.data.catalog import SOURCES
from bcadv.defend.catalog import OBJECTIVES
from bcadv.errors import BcadvError
from bcadv.mistakes import sentences
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.corrupt.catalog import ALL, CORRUPTIONS, spelt_out
from bcadv.section import Name, Section, as_list, kinds_of
from bcadv.sections import (
    EvaluationConfig,
    InjectionConfig,
    OptimizerConfig,
    PathsConfig,
    TrackingConfig,
    TrainerConfig,
)

if TYPE_CHECKING:
    from bcadv.data.records import Selection

BatchNormChoice = Literal["as_trained", "clean", "noisy"]
Part = Literal["train", "val", "test"]

_IMAGES = "Give a whole number of at least 1, and at most 65536."


def _known(kind: str, rows: Mapping[str, Any], name: str) -> str:
    if name not in rows:
        near = get_close_matches(name, list(rows), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(rows)}"
        raise ValueError(f"there is no {kind} {name}: {hint}")
    return name


class DataConfig(Section):
    """Which images, how they are split, and what the model sees of them.

    These are the settings of every source; each has a class of its own that adds to them.
    """

    source: str = Field(description=f"Give one of {', '.join(SOURCES)}.")
    """Where the images come from; chosen with data=."""
    root: Path | None = Field(default=None, description="Give the folder that holds the images.")
    """Where the images lie."""
    split: str = Field(
        description="Give paper (by image), patient, patient_cv (with data.fold), official (with "
        "data.fold), parts, or a FILE.csv."
    )
    """How images are shared out among training, validation and test: by a rule, or as a table says
    that a job wrote (split.csv) or somebody else, with the columns image_id and split.
    """
    folds: int = Field(default=5, ge=3, le=20, description="Give 3 to 20 folds.")
    """Into how many parts patient_cv divides the patients; each is tested once."""
    fold: Annotated[int, Field(ge=1, le=20)] | None = Field(
        default=None, description="Give the number of a fold, from 1."
    )
    """Which fold is tested: of patient_cv, or of the five official lists of BreakHis."""
    folds_dir: Path | None = Field(
        default=None, description="Give the folder of the authors' fold lists."
    )
    """The folder of those lists; null: looked for below data.root."""
    per_class: dict[Part, dict[Name, Annotated[int, Field(ge=1)]]] | None = Field(
        default=None, description="Give {part: {class: images}}."
    )
    """Images of each class that a part is cut down to; null: all."""
    crop: int = Field(default=224, ge=32, le=2000, description="Give 32 to 2000 pixels.")
    """Side of the square that the network sees, in pixels."""
    resize: Annotated[int, Field(ge=32, le=4000)] | None = Field(
        default=None, description="Give the shorter side in pixels, 32 to 4000, or null."
    )
    """Shorter side that an image is brought to before the crop; null: as it is stored."""
    white: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Give the value that is white, such as 4095, or null."
    )
    """The value of the files that is white, where 0 is black; null: as their format says."""
    augment: tuple[Literal["crop", "hflip", "vflip", "rot90"], ...] = Field(
        default=("crop",), description="Give a list of crop, hflip, vflip, rot90."
    )
    """Random changes of training images: place of the crop, mirror images, quarter turns."""
    batch_size: int = Field(default=32, ge=1, le=65_536, description=_IMAGES)
    """Images of a training batch, all processes together."""
    on_bad_image: Literal["raise", "skip"] = Field(
        default="raise", description="Give raise or skip."
    )
    """What an unreadable image does: it ends the job, or is left out and listed."""
    workers: int = Field(default=0, ge=0, le=64, description="Give 0 to 64 processes.")
    """Processes that load images; they come from a memory map, so 0 is fast."""

    @abstractmethod
    def find(self) -> Selection:
        """Finds the images; decodes none.

        Raises:
            BcadvError: there are no such images, with the ways forward.
        """

    def check(self) -> None:
        """Looks for what would fail once torch is loaded.

        Raises:
            BcadvError: missing images, or settings that cannot be used.
        """

    def is_reachable(self) -> bool:
        """Whether the folder of the images is there.

        Raises:
            BcadvError: a folder above it that one may not look into, or too long a name.
        """
        try:
            return self.root is not None and self.root.is_dir()
        except OSError as error:
            raise BcadvError(
                f"data.root={self.root} cannot be reached: {error.strerror}."
            ) from None

    @property
    def split_file(self) -> Path | None:
        """The table that says which image stands where; ``None``: a rule says it."""
        return Path(self.split) if self.split.lower().endswith(".csv") else None

    @property
    def split_rule(self) -> str:
        """The name of the rule, or ``file``."""
        return self.split if self.split_file is None else "file"

    @model_validator(mode="after")
    def _agree(self) -> DataConfig:
        row = SOURCES[_known("source", SOURCES, self.source)]
        if self.split_file is None and self.split not in row.splits:
            having = [
                f"data={other.name}" for other in SOURCES.values() if self.split in other.splits
            ]
            what = f"exists for {' and '.join(having)} alone" if having else "is unknown"
            raise ValueError(
                f"data.split={self.split} {what}: take {', '.join(row.splits)}, or a FILE.csv "
                "with the columns image_id and split"
            )
        most = {"official": 5, "patient_cv": self.folds}.get(self.split)
        if most is None and self.fold is not None:
            raise ValueError(
                f"data.fold={self.fold} means nothing with data.split={self.split}: leave it out, "
                "or take data.split=patient_cv"
            )
        if most is not None and self.fold is None:
            raise ValueError(
                f"data.split={self.split} needs a fold: add data.fold=1 (to {most}), or test all "
                f"of them with +sweep=folds"
            )
        if most is not None and self.fold is not None and self.fold > most:
            raise ValueError(
                f"data.fold={self.fold} does not exist: data.split={self.split} has the folds 1 "
                f"to {most}" + ("; data.folds says how many" if self.split == "patient_cv" else "")
            )
        if self.resize is not None and self.resize < self.crop:
            raise ValueError(
                f"data.resize={self.resize} leaves less than data.crop={self.crop}: "
                "raise the one or lower the other"
            )
        return self


class ModelConfig(Section):
    """The network and where its weights come from.

    These are the settings of every network; where one has more, a class adds them.
    """

    network: str = Field(default="densenet121", description="Give the name of a network.")
    """Which network is trained; chosen with model=."""
    weights: str | None = Field(description="Give the name of a set of weights, or null.")
    """Pre-trained weights to start from; null: from scratch."""
    weights_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="Give 64 hexadecimal digits (sha256sum FILE prints them).",
    )
    """Checksum of their file; needed where bcadv does not know it."""
    weights_url: str | None = None
    """Another place to fetch that file from."""
    compile: bool = Field(default=False, description="Give true or false.")
    """Whether torch.compile makes the training faster."""

    @property
    def place(self) -> str:
        """Of the network's class, ``module:class``."""
        from bcadv.models.catalog import NETWORKS

        return NETWORKS[self.network].place

    def options(self) -> dict[str, Any]:
        """What this network has beside what every network has."""
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ModelConfig.model_fields
        }

    @property
    def architecture(self) -> str:
        """What the literature calls a network of this shape."""
        return self.network

    def least_side(self, batch_size: int) -> tuple[int, str]:
        """Side of the smallest square that the network can train on, in pixels, and what asks so.

        Args:
            batch_size: images of a batch.
        """
        return 1, "this network"


def _of_source(raw: Any) -> Any:
    """Settings of the images as the class of their source."""
    if not isinstance(raw, Mapping):
        return raw
    row = SOURCES[_known("source", SOURCES, str(raw.get("source")))]
    return row.settings.model_validate(raw)


def _of_network(raw: Any) -> Any:
    """Settings of the model as the class of its network."""
    from bcadv.models.catalog import NETWORKS

    if not isinstance(raw, Mapping):
        return raw
    name = str(raw.get("network", ModelConfig.model_fields["network"].default))
    return NETWORKS[_known("network", NETWORKS, name)].settings.model_validate(raw)


def fields_of(section: Any) -> dict[str, FieldInfo]:
    """The fields of a section, also those that only some sources or networks have."""
    from bcadv.models.catalog import NETWORKS

    kinds: Iterable[Any] = ()
    if section is DataConfig:
        kinds = (row.settings for row in SOURCES.values())
    elif section is ModelConfig:
        kinds = (row.settings for row in NETWORKS.values())
    found: dict[str, FieldInfo] = {}
    for kind in (*kinds, section):
        found |= getattr(kind, "model_fields", {})
    return found


def places() -> frozenset[str]:
    """Options of the images that say where something lies: ``data.root`` and the like.

    What lies there counts, not where. One may be a mapping to several places.
    """
    return frozenset(
        f"data.{name}"
        for name, field in fields_of(DataConfig).items()
        if Path in kinds_of(field.annotation)
    )


class Config(AttackConfig):
    """One job: train a classifier, attack it, write down what happened."""

    experiment: str = Field(pattern=r"^[\w.-]+$", description="Give letters, digits, . _ or -.")
    """Names the question, and the folder of its jobs; an experiment overlay sets it."""
    seed: int = Field(ge=0, lt=2**31, description="Give a whole number from 0 to 2147483647.")
    """Seed of weights, split, order, augmentation and noise."""
    sigma: float = Field(ge=0, le=10, description="Give a number from 0 to 10, for example 0.1.")
    """Standard deviation of the Gaussian noise, pixels in [0, 1]."""
    batchnorm: Annotated[tuple[BatchNormChoice, ...], BeforeValidator(as_list)] = Field(
        min_length=1, description="Give as_trained, clean, noisy, or a list of them."
    )
    """BatchNorm statistics that the model is evaluated under."""
    objective: str = Field(
        default="cross_entropy", description=f"Give one of {', '.join(OBJECTIVES)}."
    )
    """What training minimises."""
    objective_options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Give options of a training objective."
    )
    """Options of the training objectives."""
    resume: bool = Field(default=False, description="Give true or false.")
    """Whether to go on in the folder, and the MLflow run, of the newest job of the same settings.
    """
    reuse: bool = Field(default=True, description="Give true or false.")
    """Whether a model that is stored already is taken instead of trained anew."""
    data: Annotated[SerializeAsAny[DataConfig], BeforeValidator(_of_source)]
    model: Annotated[SerializeAsAny[ModelConfig], BeforeValidator(_of_network)]
    injection: InjectionConfig
    evaluation: EvaluationConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    tracking: TrackingConfig
    paths: PathsConfig

    @property
    def trains_on_noise(self) -> bool:
        """Whether training images change: noise of strength 0, or on no image, is none."""
        injection = self.injection
        return injection.perturbation is not None and self.sigma > 0 and injection.probability > 0

    @model_validator(mode="after")
    def _agree(self) -> Config:
        grids = ("eps_px", "eps_l2", "eps_l1", "eps_l0")
        named = ("attacks", "corruptions", *grids, "aim", "accept", "batchnorm")
        lists = {name: getattr(self, name) for name in named}
        lists |= {f"evaluation.{n}": getattr(self.evaluation, n) for n in ("norm", "severities")}
        for name, values in lists.items():
            twice = [value for value in values or () if values.count(value) > 1]
            if twice:
                shown = f"{twice[0]:g}" if isinstance(twice[0], float) else twice[0]
                raise ValueError(f"{name} names {shown} twice: leave one out")
        self._agree_on_attacks()
        for name in self.corruptions:
            _known("corruption", {ALL: None, **CORRUPTIONS}, name)
        # Spelt out, so that what means the same is the same, whatever the catalog gains.
        stained = SOURCES[self.data.source].stained
        self.__dict__["corruptions"] = spelt_out(self.corruptions, stained=stained)
        _known("objective", OBJECTIVES, self.objective)
        for name, given in self.objective_options.items():
            OBJECTIVES[_known("objective", OBJECTIVES, name)].settings(given)
        least, owner = self.model.least_side(self.data.batch_size)
        if self.data.crop < least:
            # A batch of one image has fewer values to take statistics of.
            alone = self.data.batch_size == 1 and self.model.least_side(2)[0] < least
            raise ValueError(
                f"data.crop={self.data.crop} is too small for {owner}"
                + (" with data.batch_size=1" if alone else "")
                + f": take at least {least}"
                + (", or larger batches" if alone else "")
            )
        if self.injection.perturbation is None and "noisy" in self.batchnorm:
            raise ValueError(
                "batchnorm=noisy needs noise to be injected: use +experiment=defense "
                "or injection=gaussian"
            )
        if self.trainer.early_stopping and self.trainer.weight_averaging:
            raise ValueError(
                "trainer.early_stopping and trainer.weight_averaging exclude each other: "
                "set one of them to null"
            )
        if self.model.compile and self.trainer.devices * self.trainer.nodes > 1:
            raise ValueError(
                "model.compile=true cannot share batches between processes: set it to false, or "
                "trainer.devices and trainer.nodes to 1"
            )
        return self

    def _agree_on_attacks(self) -> None:
        for name in (*self.attacks, *self.attack):
            _known("attack", ATTACKS, name)
        for name in self.attacks:
            row = ATTACKS[name]
            if not set(self.evaluation.norm) & set(row.norms):
                asked = ",".join(self.evaluation.norm)
                raise ValueError(
                    f"evaluation.norm={asked} does not exist for {name}: it has "
                    f"{' and '.join(row.norms)}"
                )
        having = {norm for name in self.attacks for norm in ATTACKS[name].norms}
        idle = [norm for norm in self.evaluation.norm if norm not in having]
        if idle:
            raise ValueError(
                f"evaluation.norm={idle[0]} does not exist for {' and '.join(self.attacks)}: leave "
                "it out, or add an attack that has it"
            )
        for name, options in self.attack.items():
            ATTACKS[name].settings(options)


def canonical(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the program understands them, so that what means the same is the same.

    Args:
        raw: plain containers; what cannot be used stays as it is.
    """
    try:
        return Config.model_validate(raw).model_dump(mode="json")
    except ValidationError:
        return dict(raw)


def validate(raw: Mapping[str, Any]) -> Config:
    """Checks a composed and resolved configuration.

    Args:
        raw: plain containers, as ``OmegaConf.to_container(cfg, resolve=True)`` gives.

    Returns:
        The typed configuration.

    Raises:
        BcadvError: in a sentence per mistake, with the value, the option's name and the remedy.
    """
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise BcadvError("\n".join(sentences(error, Config, fields_of))) from None
    config.data.check()
    table = config.data.split_file
    if table is not None and not table.is_file():
        raise BcadvError(
            f"data.split={table} is no file: give one that exists, with the columns image_id and "
            "split, as a job's split.csv."
        )
    _check_weights(config.model)
    return config


def _check_weights(model: ModelConfig) -> None:
    """An unknown name is said before torch is loaded, not when the weights are fetched."""
    if model.weights is not None:
        from bcadv.models.registry import find_source

        find_source(model.weights, sha256=model.weights_sha256, url=model.weights_url)
