"""Trained models, kept under the fingerprint of all that shaped them. Imports no torch."""

NOT_JOBS = frozenset({"mlartifacts", "mlruns", "models", "cache", "report"})
"""Folders below an output folder that hold no jobs, but many files or copies of result files."""
