"""Trained models, kept under the fingerprint of all that shaped them. Imports no torch."""
