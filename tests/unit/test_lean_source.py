"""What the wheel for pages leaves out of the sources does not change what they do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pymailbox
from tools.build_wheel import WITH_DOCSTRINGS
from tools.lean_source import lean

ROOT = Path(__file__).parents[2]

SOURCE = '''"""A module."""

LIMIT = 5  # of all
"""About it."""


class Public:
    """Known."""

    def known(self, number: int = 5) -> str:
        return "ü"

    def _hidden(self, ü: str = "ü", *, number: dict[str, int] | None = None) -> str:
        """Not asked for."""
        return "# no remark"


class _Error(Exception):
    """Only this."""
'''

LEAN = '''

LIMIT = 5



class Public:
    """Known."""

    def known(self, number: int = 5) -> str:
        return "ü"

    def _hidden(self, ü = "ü", *, number = None):

        return "# no remark"


class _Error(Exception):
    ...
'''


def _code(source: str) -> str:
    """Everything that a module does, with its lines, without standalone texts and their replacements, and without the
    types of functions.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                setattr(node, field, [one for one in body if not _is_constant(one)])
        for name in ("annotation", "returns"):
            if isinstance(node, (ast.arg, ast.FunctionDef, ast.AsyncFunctionDef)) and hasattr(node, name):
                setattr(node, name, None)
        for name in ("end_lineno", "col_offset", "end_col_offset"):
            if hasattr(node, name):
                delattr(node, name)
    return ast.dump(tree, include_attributes=True)


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_remarks_and_private_texts_go() -> None:
    assert lean(SOURCE, keeps_docstrings=True) == LEAN
    assert lean(SOURCE, keeps_docstrings=True, is_package=True) == '"""A module."""' + LEAN


def test_docstrings_and_types_go_where_they_are_not_kept() -> None:
    assert "def known(self, number = 5):" in lean(SOURCE, keeps_docstrings=False)
    assert '"""' not in lean(SOURCE, keeps_docstrings=False)


def test_a_text_beside_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1 has a text and something else"):
        lean('def answer(): """Here."""\n', keeps_docstrings=False)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "pymailbox").rglob("*.py")), ids=lambda path: path.stem)
def test_all_code_stays_in_its_line(path: Path) -> None:
    source = path.read_text("utf-8")
    code = _code(source)
    for keeps_docstrings in (True, False):
        assert _code(lean(source, keeps_docstrings=keeps_docstrings)) == code


def test_what_is_public_keeps_its_docstrings() -> None:
    modules = {getattr(getattr(pymailbox, name), "__module__", "") for name in pymailbox.__all__}
    files = {module.replace(".", "/") + ".py" for module in modules if module.startswith("pymailbox.")}
    in_pages = {file for file in files if not file.startswith("pymailbox/backends/")}
    assert in_pages - set(WITH_DOCSTRINGS) == set()
    # what ``help(pymailbox)`` shows, and a page's helper
    assert set(WITH_DOCSTRINGS) - in_pages == {"pymailbox/__init__.py", "pymailbox/transfer/browser.py"}
