"""What Hydra 1.3 does in places that it offers no option for."""

from __future__ import annotations

import argparse
from typing import Any

from hydra.core.utils import JobReturn, JobStatus


def apply() -> None:
    """Changes Hydra in this process; doing it again changes nothing more.

    Python 3.14 checks help texts and refuses the lazy one that Hydra passes.

    Hydra writes "Error executing job with overrides" wherever the result of a failed job is read:
    for a single job and, after the last job of a sweep, for the first that failed, whatever the
    launcher. Both come before the sentence that says what is wrong, and name nothing that it lacks.
    """
    container: Any = argparse._ActionsContainer
    if hasattr(container, "_check_help"):
        container._check_help = lambda self, action: None
    result: Any = JobReturn
    result.return_value = property(_value, _SPEAKING.fset)


_SPEAKING: Any = JobReturn.return_value


def _value(result: JobReturn) -> Any:
    """What a job returned; what it raised is raised without a word."""
    if result.status == JobStatus.FAILED:
        raise result._return_value
    return _SPEAKING.fget(result)
