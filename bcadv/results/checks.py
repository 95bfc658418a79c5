"""What the checks on a model are called, and what a failure of each means for a defence."""

from __future__ import annotations

from collections.abc import Iterable

from bcadv.results.schema import Finding, Outcome

MASKING = (
    "same_answers",
    "repeatable",
    "logits",
    "gradient",
    "zero_gradient",
    "saturation",
    "moved",
    "monotone",
    "one_step",
    "black_box",
    "noise",
    "transfer",
    "unbounded",
    "best_found",
)
"""Where one of these fails, attacks failed for another reason than that the model withstands them
(Carlini et al. 2019, section 5; Pintor et al., "Indicators of attack failure", NeurIPS 2022)."""

NEEDED = (
    "repeatable",
    "logits",
    "gradient",
    "zero_gradient",
    "saturation",
    "one_step",
    "noise",
    "unbounded",
    "converged",
)
"""What has to hold before a model is called robust."""

APART = ("positive_class", "batchnorm", "one_sided", "few_patients", "pixel_range")
"""What says nothing of the attacks, or has a finding of its own."""

NAMES = {
    "same_answers": "equal pixels get equal answers",
    "repeatable": "identical calls get identical answers",
    "logits": "the outputs are logits",
    "gradient": "the gradient reaches the image",
    "zero_gradient": "no gradient is zero",
    "saturation": "no gradient is lost in softmax",
    "moved": "attacks move every image that they do not break",
    "monotone": "stronger attacks never help the classifier",
    "one_step": "many steps break what one step breaks",
    "black_box": "no black box breaks what the white box left",
    "noise": "random noise breaks nothing that the attacks left",
    "transfer": "what breaks another model breaks nothing that the attacks left",
    "unbounded": "an attack without a bound breaks every image",
    "best_found": "attacks return what they found",
    "converged": "more steps break no more images",
    "leakage": "no test image or patient is in training",
}
"""What each asks for, in a few words."""


def outcome_of(findings: Iterable[Finding], name: str) -> Outcome:
    """What came of one check in one job: failed if ever, else ok if ever.

    Args:
        findings: of the job, about one choice of BatchNorm statistics.
        name: id of the check.
    """
    seen = {finding.outcome for finding in findings if finding.id == name}
    return "failed" if "failed" in seen else "ok" if "ok" in seen else "unknown"
