"""Python source without what only readers need, for the wheel that pages download."""

import ast
import io
import tokenize

_Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def lean(source: str, *, keeps_docstrings: bool) -> str:
    """A module without comments, without the texts below its attributes, and without docstrings that nobody looks up.

    Docstrings of private names are removed, and unless `keeps_docstrings` all of them. What remains keeps its line, so
    that tracebacks are the same.
    """
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    for node in ast.walk(ast.parse(source)):
        for body in _bodies(node):
            for statement in body:
                if _is_text(statement) and not (
                    keeps_docstrings and statement is body[0] and isinstance(node, _Definition) and _is_public(node)
                ):
                    _cut(lines, statement, "..." if len(body) == 1 and not isinstance(node, ast.Module) else "")
    return "\n".join(lines)


def _bodies(node: ast.AST) -> list[list[ast.stmt]]:
    bodies = [getattr(node, field, None) for field in ("body", "orelse", "finalbody")]
    return [body for body in bodies if isinstance(body, list) and body]


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_public(node: _Definition) -> bool:
    return isinstance(node, ast.Module) or not node.name.startswith("_")


def _cut(lines: list[str], statement: ast.stmt, instead: str) -> None:
    """Replaces a text that has its lines to itself."""
    assert statement.end_lineno is not None
    if lines[statement.lineno - 1][: statement.col_offset].strip():
        raise ValueError(f"line {statement.lineno} has a text and something else")
    lines[statement.lineno - 1] = " " * statement.col_offset + instead if instead else ""
    for row in range(statement.lineno, statement.end_lineno):
        lines[row] = ""
