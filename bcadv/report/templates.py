"""Templates beside this file, read without what makes a report, which takes seconds to import."""

from __future__ import annotations

from importlib.resources import files

import jinja2


def bare() -> jinja2.Environment:
    """An environment that escapes what goes into HTML and refuses names that nobody gave."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(
            lambda name: files("bcadv.report").joinpath(name).read_text(encoding="utf-8")
        ),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
