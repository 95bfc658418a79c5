"""The one exception type for mistakes that the person at the keyboard can mend."""

from __future__ import annotations


class BcadvError(Exception):
    """Something the user can put right.

    The message names the value, the place it came from and the remedy. The command line prints it
    without a traceback and ends with status 2; a library caller may catch it like any exception.
    """


class ConstraintViolated(BcadvError):  # noqa: N818  the field's name for it
    """A perturbed image left the threat model it was made under.

    Raised by the final check of every perturbation. It means a bug in the perturbation, so the
    message carries the offending numbers.
    """
