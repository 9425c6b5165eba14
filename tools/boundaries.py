"""The borders between the packages, as rules on source text and packaging facts.

Every rule is a pure function that returns its findings as sentences; no finding means the rule is kept. A *portion* is
what one distribution can be imported by (`camshaft.engine`). A *leaf* is a portion that knows the engine's only, and
`ignite` is made of all of them. A module is given by its source text and its dotted name.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAMESPACE = "camshaft"
PORTIONS: Mapping[str, str] = {
    "engine-core": "camshaft.engine",
    "engine-deterministic": "camshaft.deterministic",
    "handlers": "camshaft.handlers",
    "supervised": "camshaft.supervised",
    "distributed": "camshaft.distributed",
    "ignite-compat": "ignite",
}
DEPENDENCIES: Mapping[str, frozenset[str]] = {
    "engine-core": frozenset(),
    "engine-deterministic": frozenset({"camshaft-engine-core", "torch", "numpy"}),
    "handlers": frozenset({"camshaft-engine-core"}),
    "supervised": frozenset({"camshaft-engine-core", "torch"}),
    "distributed": frozenset({"camshaft-engine-core", "torch"}),
    "ignite-compat": frozenset(
        {
            "camshaft-engine-core", "camshaft-engine-deterministic", "camshaft-handlers", "camshaft-supervised",
            "numpy", "torch", "torchmetrics",
        }
    ),
}  # fmt: skip
MADE_OF_ALL = frozenset({"ignite"})
# The one documented optional import: create_supervised_trainer(deterministic=True).
OPTIONAL_IMPORTS = frozenset({("camshaft.supervised._factory", "camshaft.deterministic")})


@dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` and `import a.b.c` both are `a.b.c`."""

    name: str
    line: int
    at_module_level: bool


@cache
def imports(source: str, module: str, *, is_package: bool = False) -> tuple[Import, ...]:
    """Return every import of a module, relative ones resolved, `import_module("...")` calls included."""
    return tuple(
        Import(name, getattr(node, "lineno", 0), at_module_level)
        for node, at_module_level in _nodes(ast.parse(source))
        for name in _imported_names(node, module, is_package=is_package)
    )


def _nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node of a tree, and whether it is outside all functions."""
    waiting = deque([(tree, True)])
    while waiting:
        node, outside = waiting.popleft()
        outside = outside and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield node, outside
        waiting.extend((child, outside) for child in ast.iter_child_nodes(node))


def _imported_names(node: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=origin, names=names, level=level):
            parents = module.split(".")
            base = parents[: len(parents) - level + is_package] if level else []
            start = ".".join([*base, *([origin] if origin else [])])
            yield from (f"{start}.{alias.name}" for alias in names)
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            called = getattr(function, "attr", getattr(function, "id", ""))
            if called in {"import_module", "__import__"}:
                yield name


def portion_of(name: str) -> str | None:
    """Return the portion a dotted name belongs to, or None for a name that is not ours."""
    parts = name.split(".")
    if parts[0] in PORTIONS.values():
        return parts[0]
    return ".".join(parts[:2]) if parts[0] == NAMESPACE and len(parts) > 1 else None


def foreign_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Engine-core imports itself and the standard library."""
    return [
        f"{module}:{item.line} imports {item.name}; engine-core uses the standard library only"
        for item in imports(source, module, is_package=is_package)
        if portion_of(item.name) != portion_of(module) and item.name.split(".")[0] not in sys.stdlib_module_names
    ]


def sideways_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """A leaf imports engine-core and itself, but no other leaf."""
    own = portion_of(module)
    if own in MADE_OF_ALL:
        return []
    findings = []
    for item in imports(source, module, is_package=is_package):
        other = portion_of(item.name)
        if other in {None, own, f"{NAMESPACE}.engine"}:
            continue
        if (module, other) in OPTIONAL_IMPORTS and not item.at_module_level:
            continue
        findings.append(f"{module}:{item.line} imports {item.name}; the leaves do not know each other")
    return findings


def import_cycles(modules: Mapping[str, str]) -> list[str]:
    """The modules of a portion import each other in one direction, annotations included.

    Only the engine itself may be named in the annotations of what it is made of.

    Args:
        modules: dotted name to source text, of one portion.
    """
    graph = {name: _imported_modules(name, source, modules) for name, source in modules.items()}
    while True:  # a module that imports nothing of what is left is in no cycle, and neither is what nobody imports
        inner = {name: graph[name] & graph.keys() for name in graph}
        wanted = frozenset().union(*inner.values()) if inner else frozenset()
        kept = {name: imported for name, imported in inner.items() if imported and name in wanted}
        if len(kept) == len(graph):
            return [
                f"{name} imports {', '.join(sorted(kept[name]))}, which imports it in turn" for name in sorted(kept)
            ]
        graph = kept


def _imported_modules(module: str, source: str, modules: Mapping[str, str]) -> frozenset[str]:
    typed = {
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
        for name in _imported_names(inner, module, is_package=False)
    }
    found = set()
    for item in imports(source, module):
        target = next((name for name in (item.name, item.name.rpartition(".")[0]) if name in modules), None)
        is_named_only = item.name in typed and item.name == f"{NAMESPACE}.engine._engine.Engine"
        if target not in {None, module} and not is_named_only:
            found.add(target)
    return frozenset(found)


def private_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Nobody imports a private module or name of another portion."""
    return [
        f"{module}:{item.line} imports {item.name}; private names stay inside their package"
        for item in imports(source, module, is_package=is_package)
        if portion_of(item.name) not in {None, portion_of(module)}
        and any(_is_private(part) for part in item.name.split("."))
    ]


def private_attributes(source: str, module: str, others: frozenset[str]) -> list[str]:
    """Nobody reads or sets a private attribute that only another portion defines.

    Args:
        source: Text of the module.
        module: Its dotted name.
        others: The private names other portions define and the module's own portion does not.
    """
    return [
        f"{module}:{node.lineno} touches {node.attr}; private names stay inside their package"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in others
    ]


def overridden_privates(source: str, module: str, engine_privates: Mapping[str, frozenset[str]]) -> list[str]:
    """A class derived from one of engine-core's defines no private name that its base class defines.

    Args:
        source: Text of the module.
        module: Its dotted name.
        engine_privates: What `private_names` says of engine-core.
    """
    return [
        f"{module}:{node.lineno} {node.name} overrides {base}.{name} of engine-core"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for base in map(_last_name, node.bases)
        for name in sorted(_privates_of(node) & engine_privates.get(base, frozenset()))
    ]


def private_names(source: str) -> dict[str, frozenset[str]]:
    """Return the private attributes and methods that each class of a source text defines."""
    return {node.name: _privates_of(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)}


def _privates_of(class_: ast.ClassDef) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(class_):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self" | "cls")):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                found.add(name)
    return frozenset(filter(_is_private, found))


def _last_name(base: ast.expr) -> str:
    """Return the class name in a base such as `Engine`, `engine.Engine` or `Engine[int, str]`."""
    while isinstance(base, ast.Subscript):
        base = base.value
    return base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def wrong_dependencies(package: str, requirements: Sequence[str]) -> list[str]:
    """A distribution requires exactly what it is documented to, and siblings by one minor version: `>=0.N,<0.N+1`."""
    findings = []
    names = {re.split(r"[^\w.-]", item, maxsplit=1)[0] for item in requirements if "extra ==" not in item}
    if names != DEPENDENCIES[package]:
        findings.append(f"{package} requires {sorted(names)}, not {sorted(DEPENDENCIES[package])}")
    findings += [
        f"{package} requires {item}; a sibling's bounds are >=0.N,<0.N+1"
        for item in requirements
        if item.startswith(f"{NAMESPACE}-")
        and not item.startswith(f"{NAMESPACE}-{package}[")  # an extra made of others of its own
        and not _is_one_minor(item.partition(";")[0])
    ]
    return findings


def _is_one_minor(requirement: str) -> bool:
    bounds = sorted(re.findall(r"[<>=!~]=?[^,\s]*", requirement))
    if len(bounds) != 2 or not all(re.fullmatch(r"(<|>=)0\.\d+", bound) for bound in bounds):
        return False
    upper, lower = (int(bound.rpartition(".")[2]) for bound in bounds)
    return upper == lower + 1


def wrong_contents(package: str, names: Sequence[str]) -> list[str]:
    """A wheel holds its portion, marked as typed, and nothing that would end the namespace."""
    portion = f"{PORTIONS[package].replace('.', '/')}/"
    files = [name for name in names if ".dist-info/" not in name]
    required = [portion + name for name in ("__init__.py", "py.typed")]
    missing = [f"{package} lacks {name}" for name in required if name not in files]
    return missing + [f"{package} holds {name}" for name in files if not name.startswith(portion)]
