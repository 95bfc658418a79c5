"""The pages of the documentation: the README, the guide, and one per room of the package.

They are made while the documentation is built, so that no list has to follow the folders.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_WORDS = """::: {}
    options:
      show_root_heading: false
      members: false"""
"""What a package says of itself; what it hands on stands where it is defined."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds every page, before anything is rendered."""
    top = Path(config.config_file_path).parent
    for name, place in (("index.md", "README.md"), ("CONTRIBUTING.md", "CONTRIBUTING.md")):
        text = (top / place).read_text(encoding="utf-8")
        text = text.replace("](docs/", "](")  # the documentation's root is that folder
        files.append(File.generated(config, name, content=text))
    for picture in sorted((top / ".readme").iterdir()):
        name = picture.relative_to(top).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(picture)))
    for room, (own, *modules) in rooms(top / "bcadv").items():
        text = "\n\n".join([f"# {room}", _WORDS.format(own), *(f"::: {m}" for m in modules)])
        files.append(File.generated(config, f"reference/{room}.md", content=text))
    return files


def rooms(package: Path) -> dict[str, list[str]]:
    """Each folder of the package, as a dotted name, and its modules.

    Those that a person runs (``__main__``) are commands and have no interface.
    """
    found: dict[str, list[str]] = {}
    for file in sorted(package.rglob("*.py")):
        parts = [package.name, *file.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__main__":
            continue
        room = ".".join(parts[:2] if len(parts) > 2 else parts[:1])
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.setdefault(room, []).append(module)
    return found
