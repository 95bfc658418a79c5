"""The command ``bcadv``: a verb, and options as ``name=value``."""
