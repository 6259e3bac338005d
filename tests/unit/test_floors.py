"""The floors of pymailbox: a module imports only from its own and from those below, so that each can be read without
those above it. An import inside a function counts like any other; it saves time, but breaks no circle."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[2] / "pymailbox"

FLOORS: Final = (
    {"contract"},
    {"core", "runtime"},
    {"actors", "backends", "transfer"},
    {"_open"},
    {"relaying"},
    {"sync"},
    {"__init__"},
    {"cli", "testing"},
    {"__main__"},
)
"""From the lowest; folders on one floor know nothing of each other."""

UPWARD_TYPES: Final = {("contract.mailbox", "actors")}
"""Types from above that only annotations need: a mailbox's ``consume`` takes and returns what the actors define."""

MODULES: Final = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def part_of(module: str) -> str:
    return module.partition(".")[0]


def floor_of(module: str) -> int:
    return next(floor for floor, parts in enumerate(FLOORS) if part_of(module) in parts)


def imports_of(module: str, *, types: bool) -> set[str]:
    """The modules of the package that a module imports when it runs, or only for its types."""
    return _imports_of(module)[types]


@functools.cache
def _imports_of(module: str) -> tuple[set[str], set[str]]:
    found: tuple[set[str], set[str]] = set(), set()

    def visit(node: ast.AST, types: bool) -> None:
        found[types].update(_imported(module, node))
        only_types = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):
                visit(child, types or (only_types and child not in getattr(node, "orelse", ())))

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")), False)
    return found


def _imported(module: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        targets = [(alias.name, "") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:
            package = ["pymailbox", *module.split(".")]
            if MODULES[module].name != "__init__.py" or module == "__init__":
                package.pop()
            package = package[: len(package) - node.level + 1]
            origin = ".".join([*package, *filter(None, [node.module])])
        targets = [(origin, alias.name) for alias in node.names]
    else:
        return
    for origin, name in targets:
        if part_of(origin) != "pymailbox":
            continue
        inside = origin.removeprefix("pymailbox").removeprefix(".")
        submodule = f"{inside}.{name}".removeprefix(".")
        yield submodule if submodule in MODULES else inside or "__init__"


def test_each_module_is_on_one_floor() -> None:
    parts = [part for floor in FLOORS for part in floor]
    assert sorted(parts) == sorted({part_of(module) for module in MODULES})


def test_imports_are_found() -> None:
    assert "core.verbs" in imports_of("backends.sqlite.mending", types=False), "as a name of its package"
    assert "backends.memory" in imports_of("backends.registry", types=False), "inside a function"
    assert "contract.errors" in imports_of("__init__", types=False)
    assert "__init__" in imports_of("cli.arguments", types=False)
    assert "actors" in imports_of("contract.mailbox", types=True)


def test_no_module_imports_from_above_or_from_beside() -> None:
    def is_too_high(module: str, imported: str) -> bool:
        return part_of(imported) != part_of(module) and floor_of(imported) >= floor_of(module)

    pairs = {(module, imported) for module in MODULES for imported in imports_of(module, types=False)}
    pairs |= {(module, imported) for module in MODULES for imported in imports_of(module, types=True)} - UPWARD_TYPES
    assert [f"{module} imports {imported}" for module, imported in pairs if is_too_high(module, imported)] == []
    assert all(imported in imports_of(module, types=True) for module, imported in UPWARD_TYPES), "no longer needed"


def test_no_backend_imports_another() -> None:
    def backend_of(module: str) -> str | None:
        part, _, name = module.partition(".")
        return name.partition(".")[0] if part == "backends" and "." in name else None

    for module in MODULES:
        if (own := backend_of(module)) is not None:
            others = {backend_of(imported) for imported in imports_of(module, types=False)} - {None, own}
            assert others == set(), module


def test_no_module_imports_itself_by_way_of_others() -> None:
    seen: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, " imports ".join([*path, module])
        if module not in seen:
            for imported in imports_of(module, types=False):
                visit(imported, [*path, module])
            seen.add(module)

    for module in MODULES:
        visit(module, [])
