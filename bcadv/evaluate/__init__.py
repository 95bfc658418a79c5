"""A trained model and a plan -> predictions, streamed to disk -> checks, and images for figures."""
