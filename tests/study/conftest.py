from tests.report.conftest import job

__all__ = ["job"]
