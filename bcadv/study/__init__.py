"""Finished jobs united: which models there are, what each was measured at, and what that shows."""
