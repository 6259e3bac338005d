"""Python source without what only readers need, for the wheel that pages download."""

import ast
import io
import tokenize
from collections.abc import Iterator

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Named = ast.ClassDef | _Function


def lean(source: str, *, keeps_docstrings: bool, is_package: bool = False) -> str:
    """A module without comments, without the texts below its attributes, and without docstrings, and types of
    parameters and results, that nobody looks up.

    Docstrings of private names are removed, and unless `keeps_docstrings` all of them; that of the module itself stays
    only if it is a package, which ``help`` shows as one. What remains keeps its line, so that tracebacks are the same.
    """
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    tree = ast.parse(source)
    for row, start, end in sorted(_types(tree, lines, keeps_docstrings), reverse=True):
        line = lines[row].encode()  # where columns are counted in bytes
        lines[row] = (line[:start] + line[end:]).decode()
    for node in ast.walk(tree):
        for body in _bodies(node):
            for statement in body:
                is_shown = is_package if isinstance(node, ast.Module) else isinstance(node, _Named) and _is_public(node)
                if _is_text(statement) and not (keeps_docstrings and statement is body[0] and is_shown):
                    _cut(lines, statement, "..." if len(body) == 1 and not isinstance(node, ast.Module) else "")
    return "\n".join(lines)


def _types(node: ast.AST, lines: list[str], is_public: bool) -> Iterator[tuple[int, int, int]]:
    """Where the types of private functions are, each with what goes before it: the line, and columns."""
    for child in ast.iter_child_nodes(node):
        shown = is_public
        if isinstance(child, _Named):
            shown = is_public and (_is_public(child) or child.name.startswith("__"))
        if isinstance(child, _Function):
            if not shown:
                yield from _types_of(child, lines)
            shown = False  # what is defined inside
        yield from _types(child, lines, shown)


def _types_of(function: _Function, lines: list[str]) -> Iterator[tuple[int, int, int]]:
    arguments = function.args
    each = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for one in each:
        if one is not None and one.annotation is not None and one.lineno == one.annotation.end_lineno:
            assert one.annotation.end_col_offset is not None
            yield one.lineno - 1, one.col_offset + len(one.arg.encode()), one.annotation.end_col_offset
    result = function.returns
    if result is not None and result.lineno == result.end_lineno:
        assert result.end_col_offset is not None
        arrow = lines[result.lineno - 1].encode().rindex(b" ->", 0, result.col_offset)
        yield result.lineno - 1, arrow, result.end_col_offset


def _bodies(node: ast.AST) -> list[list[ast.stmt]]:
    bodies = [getattr(node, field, None) for field in ("body", "orelse", "finalbody")]
    return [body for body in bodies if isinstance(body, list) and body]


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_public(node: _Named) -> bool:
    return not node.name.startswith("_")


def _cut(lines: list[str], statement: ast.stmt, instead: str) -> None:
    """Replaces a text that has its lines to itself."""
    assert statement.end_lineno is not None
    if lines[statement.lineno - 1][: statement.col_offset].strip():
        raise ValueError(f"line {statement.lineno} has a text and something else")
    lines[statement.lineno - 1] = " " * statement.col_offset + instead if instead else ""
    for row in range(statement.lineno, statement.end_lineno):
        lines[row] = ""
