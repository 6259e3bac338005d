"""What the wheel for pages leaves out of the sources changes nothing of what they do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools.lean_source import lean

ROOT = Path(__file__).parents[2]

SOURCE = '''"""A module."""

LIMIT = 5  # of all
"""About it."""


class Public:
    """Known."""

    def _hidden(self) -> str:
        """Not asked for."""
        return "# no remark"


class _Error(Exception):
    """Only this."""
'''

LEAN = '''"""A module."""

LIMIT = 5



class Public:
    """Known."""

    def _hidden(self) -> str:

        return "# no remark"


class _Error(Exception):
    ...
'''


def _statements(source: str) -> list[tuple[str, int]]:
    """What each statement is, and its line, without texts that stand alone."""
    return [
        (type(node).__name__, node.lineno)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]


def test_remarks_and_private_texts_go() -> None:
    assert lean(SOURCE, keeps_docstrings=True) == LEAN


def test_docstrings_go_where_they_are_not_kept() -> None:
    assert '"""' not in lean(SOURCE, keeps_docstrings=False)


def test_a_text_beside_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1 has a text and something else"):
        lean('def answer(): """Here."""\n', keeps_docstrings=False)


@pytest.mark.parametrize("path", sorted((ROOT / "pymailbox").rglob("*.py")), ids=lambda path: path.stem)
def test_every_statement_stays_in_its_line(path: Path) -> None:
    source = path.read_text("utf-8")
    for keeps_docstrings in (True, False):
        assert _statements(lean(source, keeps_docstrings=keeps_docstrings)) == _statements(source)
