"""What names of folders and files sound like: a part, a fold, a patient, a mask, a healthy class.

Names are evidence and no proof: what rests on them alone is said, and where they contradict the
reading, the user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PART_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
_BESIDE_PART = frozenset(
    {"set", "data", "dataset", "images", "image", "imgs", "img", "part", "split"}
)

_FOLD = re.compile(r"(fold|cv|split|partition)[-_ ]?\d{1,2}", re.IGNORECASE)
_PERSON = re.compile(
    r"(patient|patients|pat|pt|person|subject|subj|sub|case|participant|study|series|id|p|s|c"
    r"|slide|specimen|sample|scan|visit|session|site|cent(er|re)|hospital|scanner|batch)"
    r"[-_ #]?\d+\w{0,2}|\d{4}-?\d{2}-?\d{2}",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{3,}|[0-9a-f]{8,}", re.IGNORECASE)
_MANY = 8
"""So many folders named by long numbers are patients and no classes."""

_MASKS = re.compile(
    r"(ground[-_ ]?truths?|gt|masks?|annotations?|annots?|segmentations?|seg|segs|labels?|"
    r"contours?|overlays?|(lung|lesion|binary|tumou?r)?[-_ ]?masks?|heat[-_ ]?maps?)",
    re.IGNORECASE,
)
_MASK_ENDING = re.compile(
    r"[-_. ]?(mask|segmentation|seg|annotation|gt|label)(_?\d+)?$", re.IGNORECASE
)
_MASK_BEGINNING = re.compile(r"^(mask|segmentation|seg|annotation|gt|label)[-_. ]", re.IGNORECASE)

_HEALTHY = frozenset(
    {"normal", "normals", "healthy", "health", "negative", "negatives", "neg", "benign", "control"}
    | {"controls", "clear", "clean", "none", "no", "non", "not", "without", "absent", "absence"}
    | {"free", "unaffected", "cn", "hc", "nc", "ctrl", "ctl", "wt", "wildtype", "unremarkable"}
    # In the other languages that sets are named in.
    | {"sano", "sana", "sanos", "sanas", "saludable", "saudavel", "sain", "saine", "sains"}
    | {"gesund", "gesunde", "gezond", "normale", "normales", "normaux", "benigno", "benigna"}
    | {"benigne", "gutartig", "negativo", "negativa", "negatif", "kontrolle", "controle", "zdrowy"}
)
_HEALTHY_BEGINNINGS = ("non", "un")
_DISEASES = frozenset(
    {"tumor", "tumour", "cancer", "disease", "finding", "findings", "lesion", "lesions", "dr"}
    | {"pneumonia", "infection", "fracture", "glaucoma", "covid", "malignancy", "melanoma"}
)
_NEGATIONS = ("no", "non", "not", "un", "in", "im", "a")
_NOT_HEALTHY = frozenset(
    {"unknown", "uncertain", "unclear", "undetermined", "unclassified", "unspecified", "unusual"}
    | {"unlabeled", "unlabelled", "understaged", "unilateral", "united", "universal", "uniform"}
    | {"unresectable", "unstable", "undifferentiated"}
)
"""Words that begin like a negation and say nothing of health."""


def words(name: str) -> list[str]:
    """The words of a name in lower case: ``CT_NonCOVID`` is ct, non, covid."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^A-Za-z]+", apart.lower()) if word]


def part_of(name: str) -> str | None:
    """The part of a split that a folder is named after: ``Training``, ``test_set``, ``dev``."""
    # An ordinal in front, as in 1_train, says nothing.
    name = re.sub(r"^\d+[-_. ]+", "", name)
    found = [part for word in words(name) for part in _apart(word)]
    parts = {_PART_WORDS[word] for word in found if word in _PART_WORDS}
    rest = [word for word in found if word not in _PART_WORDS and word not in _BESIDE_PART]
    digits = re.search(r"\d", name)
    return parts.pop() if len(parts) == 1 and not rest and not digits else None


def _apart(word: str) -> tuple[str, ...]:
    """``trainset`` is train and set."""
    for beside in _BESIDE_PART:
        if word.endswith(beside) and word.removesuffix(beside) in _PART_WORDS:
            return word.removesuffix(beside), beside
    return (word,)


def is_fold(name: str) -> bool:
    """Whether a folder is named like a fold of a cross-validation: ``fold_3``."""
    return _FOLD.fullmatch(name) is not None


def are_people(names: Iterable[str]) -> bool:
    """Whether folders are named like patients: ``patient_07`` and the like, or long numbers.

    Slides, visits, days and hospitals are as little classes as patients are.
    """
    names = list(names)
    by_word = sum(_PERSON.fullmatch(name) is not None for name in names)
    by_number = sum(_NUMBER.fullmatch(name) is not None for name in names)
    return len(names) >= 2 and (
        by_word > len(names) / 2 or (by_number > len(names) / 2 and by_number >= _MANY)
    )


def is_mask(folder: str) -> bool:
    """Whether a folder is named like one of masks or annotations."""
    return _MASKS.fullmatch(folder) is not None


def without_mask(stem: str) -> str | None:
    """The name of the image that a file is named as the mask of; ``None``: of none."""
    shorter = _MASK_BEGINNING.sub("", stem)
    if shorter == stem:
        shorter = _MASK_ENDING.sub("", stem)
    return shorter if shorter and shorter != stem else None


def sounds_healthy(name: str, others: Iterable[str] = ()) -> bool:
    """Whether a class is named like the absence of a disease: ``NORMAL``, ``Uninfected``.

    Args:
        name: of the class.
        others: names of the other classes; ``notumor`` is the absence of ``tumor``.
    """
    beside = _DISEASES.union(word for other in others for word in words(other))
    return any(
        word in _HEALTHY
        or any(word == beginning + other for beginning in _NEGATIONS for other in beside)
        or (word.startswith(_HEALTHY_BEGINNINGS) and len(word) > 5 and word not in _NOT_HEALTHY)
        for word in words(name)
    )
