"""Which code shaped a result: the definitions that it used, not those beside them.

From some roots every name is followed to its definition in the package, and from there on. What
counts of a definition is what it does: neither its comments and docstring nor its place. So an
attack that is added beside those that were used renames nothing, and a changed line does.

Imports no torch; reads sources and runs none.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

Symbol = tuple[str, str]
"""Module below the package, such as ``data.cache``, and a name at its top level."""


@dataclass(frozen=True)
class _Module:
    """What a source file defines and what it imports from the package."""

    definitions: Mapping[str, ast.stmt] = field(default_factory=dict)
    imports: Mapping[str, Symbol] = field(default_factory=dict)


class MissingRootError(LookupError):
    """A root that no source defines."""


def used(
    roots: Iterable[Symbol], without: Mapping[str, str], package: Path = PACKAGE
) -> dict[Symbol, ast.stmt]:
    """The definitions that some roots reach.

    Args:
        roots: where to begin.
        without: modules (``config``), or single definitions (``data.datamodule.select``), that are
            not followed -> why not.
        package: folder of the sources.

    Raises:
        MissingRootError: a root is not defined.
    """
    found: dict[Symbol, ast.stmt] = {}
    waiting = []
    for root in roots:
        place = _place(package, root)
        if place is None:
            raise MissingRootError(f"{root[0]}.{root[1]} is not defined in {package}")
        waiting.append(place)
    while waiting:
        symbol = waiting.pop()
        module, name = symbol
        left_out = any(
            f"{module}.{name}" == each or f"{module}.".startswith(f"{each}.") for each in without
        )
        if symbol in found or left_out:
            continue
        found[symbol] = _read(package, module).definitions[name]
        for named in _references(package, module, found[symbol]):
            place = _place(package, named)
            if place is not None:
                waiting.append(place)
    return found


def version_of_use(
    roots: tuple[Symbol, ...], without: tuple[str, ...], package: Path = PACKAGE
) -> str:
    """16 hexadecimal digits that name what `used` finds."""
    found = used(roots, dict.fromkeys(without, ""), package)
    return _digest(sorted(f"{name} {_meaning(node)}" for (_, name), node in found.items()))


@cache
def version_of_files(places: tuple[str, ...], package: Path = PACKAGE) -> str:
    """16 hexadecimal digits that name what the files and folders of the package do."""
    files = sorted(file for place in places for file in _sources(package / place))
    return _digest(
        f"{file.relative_to(package)} {_meaning(ast.parse(file.read_text(encoding='utf-8')))}"
        for file in files
    )


def _sources(place: Path) -> Iterable[Path]:
    return [place] if place.is_file() else place.rglob("*.py")


def _digest(parts: Iterable[str]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(f"{part}\n".encode())
    return found.hexdigest()[:16]


@cache
def _file(package: Path, module: str) -> Path | None:
    place = package.joinpath(*module.split(".")) if module else package
    for file in (
        place.with_suffix(".py") if module else place / "__init__.py",
        place / "__init__.py",
    ):
        if file.is_file():
            return file
    return None


def _read(package: Path, module: str) -> _Module:
    file = _file(package, module)
    return _Module() if file is None else _parsed(file, package.name)


@cache
def _parsed(file: Path, package: str) -> _Module:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    definitions: dict[str, ast.stmt] = {}
    for node in tree.body:
        for name in _names(node):
            definitions[name] = node
    imports: dict[str, Symbol] = {}
    for inner in ast.walk(tree):
        if isinstance(inner, ast.ImportFrom) and inner.module and inner.level == 0:
            root, _, below = inner.module.partition(".")
            if root == package:
                imports |= {
                    alias.asname or alias.name: (below, alias.name) for alias in inner.names
                }
    return _Module(definitions, imports)


def _names(node: ast.stmt) -> Iterator[str]:
    """What a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            for inner in ast.walk(target):
                if isinstance(inner, ast.Name):
                    yield inner.id
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def _references(package: Path, module: str, node: ast.stmt) -> Iterator[Symbol]:
    """The names of the package that a definition mentions."""
    known = _read(package, module)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            # A module that was imported as a whole: ``splits.paper``.
            if inner.value.id in known.imports:
                below, name = known.imports[inner.value.id]
                yield f"{below}.{name}".strip("."), inner.attr
        elif isinstance(inner, ast.Name):
            if inner.id in known.definitions:
                yield module, inner.id
            elif inner.id in known.imports:
                yield known.imports[inner.id]


def _place(package: Path, symbol: Symbol) -> Symbol | None:
    """Where a name is defined, followed through modules that only pass it on."""
    for _ in range(10):
        module, name = symbol
        known = _read(package, module)
        if name in known.definitions:
            return symbol
        if name not in known.imports:
            return None
        symbol = known.imports[name]
    return None


def _meaning(node: ast.AST) -> str:
    """A definition without its docstrings, comments and places."""
    bare = ast.parse(ast.unparse(node)) if not isinstance(node, ast.Module) else node
    for inner in ast.walk(bare):
        body = getattr(inner, "body", None)
        if not isinstance(body, list):
            continue
        # Every string that stands by itself: docstrings, also those below a constant.
        kept = [
            line
            for line in body
            if not (
                isinstance(line, ast.Expr)
                and isinstance(line.value, ast.Constant)
                and isinstance(line.value.value, str)
            )
        ]
        inner.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(bare, annotate_fields=False)
