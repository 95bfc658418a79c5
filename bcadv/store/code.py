"""Which code shaped a result: the definitions that it used, not those beside them.

From some roots every name is followed to its definition in the package, and from there on. What
counts of a definition is what it does: neither its comments and docstring nor its place. So an
attack that is added beside those that were used renames nothing, and a changed line does.

What cannot be followed is a name that is only made while the program runs (a registry of texts, an
imported text); where trainings need one, it must be among the roots.

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
    """What a source file defines and what it imports from the package.

    Attributes:
        definitions: name -> every statement at the top of the module that makes or changes it. A
            call that stands there alone belongs to `_ALONE`.
        imports: name in this file -> where it comes from.
    """

    definitions: Mapping[str, tuple[ast.stmt, ...]] = field(default_factory=dict)
    imports: Mapping[str, Symbol] = field(default_factory=dict)


_ALONE = ""
"""Stands for what a module does when it is imported, whatever of it is used."""


class MissingRootError(LookupError):
    """A root that no source defines."""


def used(
    roots: Iterable[Symbol], without: Mapping[str, str], package: Path = PACKAGE
) -> dict[Symbol, tuple[ast.stmt, ...]]:
    """The definitions that some roots reach, each with the statements that make it.

    Args:
        roots: where to begin.
        without: modules (``config``), or single definitions (``data.datamodule.select``), that are
            not followed -> why not.
        package: folder of the sources.

    Raises:
        MissingRootError: a root is not defined.
    """
    found: dict[Symbol, tuple[ast.stmt, ...]] = {}
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
        definitions = _read(package, module).definitions
        found[symbol] = definitions[name]
        if _ALONE in definitions:
            waiting.append((module, _ALONE))
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
    return _digest(
        sorted(f"{name} {' '.join(map(_meaning, nodes))}" for (_, name), nodes in found.items())
    )


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
    definitions: dict[str, tuple[ast.stmt, ...]] = {}
    for node in tree.body:
        for name in _names(node):
            definitions[name] = (*definitions.get(name, ()), node)
    imports: dict[str, Symbol] = {}
    for inner in ast.walk(tree):
        if isinstance(inner, ast.ImportFrom) and inner.module and inner.level == 0:
            root, _, below = inner.module.partition(".")
            if root == package:
                imports |= {
                    alias.asname or alias.name: (below, alias.name) for alias in inner.names
                }
    return _Module(definitions, imports)


def _names(node: ast.stmt) -> set[str]:
    """What a statement at the top of a module makes or changes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
        return set()
    if isinstance(node, ast.Expr):
        return {_ALONE}
    inside = [inner for child in ast.iter_child_nodes(node) for inner in _statements(child)]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For):
        targets = [node.target]
    # ``TABLE["a"] = 1`` changes TABLE; ``a, (b, *c) = ...`` makes three.
    made = {
        inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)
    }
    return made.union(*map(_names, inside))


def _statements(node: ast.AST) -> list[ast.stmt]:
    """The statements that a branch, loop or handler holds."""
    if isinstance(node, ast.stmt):
        return [node]
    return [inner for child in ast.iter_child_nodes(node) for inner in _statements(child)]


def _references(package: Path, module: str, nodes: Iterable[ast.stmt]) -> Iterator[Symbol]:
    """The names of the package that a definition mentions."""
    known = _read(package, module)
    for inner in (inner for node in nodes for inner in ast.walk(node)):
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


def _meaning(node: object) -> str:
    """A definition without its docstrings, comments and places, alike in every version of Python.

    ``ast.dump`` is not: fields come with one version, and empty ones go with another.
    """
    if isinstance(node, list):
        # Every text that stands by itself: docstrings, also those below a constant.
        return f"[{','.join(_meaning(inner) for inner in node if not _is_text(inner))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Constant):  # ``None`` too
        return f"Constant({node.value!r})"
    fields = (
        f"{name}={_meaning(value)}"
        for name, value in ast.iter_fields(node)
        if value not in (None, []) and name not in {"ctx", "kind", "type_comment", "type_ignores"}
    )
    return f"{type(node).__name__}({','.join(fields)})"


def _is_text(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
