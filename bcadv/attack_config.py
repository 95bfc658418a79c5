"""What a job is asked to do to the test images: attacks, their strengths and aims, corruptions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from bcadv.perturb.catalog import ATTACKS
from bcadv.section import Acceptance, CountsOrNone, LengthsOrNone, Section, Strengths, as_list


class AttackConfig(Section):
    """What the test images meet, how strong it is, and what it is after."""

    attacks: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        min_length=1, description=f"Give any of {', '.join(ATTACKS)}, or a list of them."
    )
    """What the test images are attacked with."""
    attack: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Give options of an attack: attack.pgd.steps=40."
    )
    """Options of the attacks."""
    corruptions: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        default=(), description="Give names of corruptions, a list of them, all, or []."
    )
    """What befalls the test images without intent, at evaluation.severities; all: the whole set,
    stain shift where the images are known to be stained tissue.
    """
    eps_px: Strengths = Field(description="Give grey levels from 0 to 255, for example [0,1,2,4].")
    """Strengths of attacks in the maximum norm, in grey levels of 255."""
    eps_l2: LengthsOrNone = Field(
        default=None,
        description="Give Euclidean lengths of pixels in [0, 1], for example [0,0.5,1], or null.",
    )
    """Strengths of attacks in the Euclidean norm, pixels in [0, 1]; null: a grid for the images'
    size.
    """
    eps_l1: LengthsOrNone = Field(
        default=None,
        description="Give sums of changes of pixels in [0, 1], for example [0,5,20], or null.",
    )
    """Strengths of attacks in L1, sums of changes of pixels in [0, 1]; null: a grid for the images'
    size.
    """
    eps_l0: CountsOrNone = Field(
        default=None,
        description="Give numbers of changed values, for example [0,10,100], or null.",
    )
    """Strengths of attacks in L0, numbers of values that change; null: a grid for the images' size.
    """
    aim: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        default=("any",),
        min_length=1,
        description="Give any, hide, invent, the name of a class, or a list of them.",
    )
    """What the attacks want: any wrong answer; to hide the disease of a positive image; to invent
    one in a negative image; or the class of this name.
    """
    accept: Annotated[tuple[Acceptance, ...], BeforeValidator(as_list)] = Field(
        default=("float",), min_length=1, description="Give float, 8bit, jpeg(90), or a list."
    )
    """What an adversarial image has to survive: nothing (float), being saved with 256 grey levels
    (8bit), or as a JPEG of a quality from 0 to 100.
    """
