"""Metrics with intervals, from the predictions table; imports numpy, scipy and pandas only."""
