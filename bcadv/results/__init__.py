"""What a job leaves behind: one definition for those who write it, those who read it, and tests.

Imports neither torch nor the report.
"""

from bcadv.results.origin import Origin

__all__ = ["Origin"]
