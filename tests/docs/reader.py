"""Runs blocks of Python one after another in one namespace, as a notebook does: reader.py < BLOCKS > PRINTED

BLOCKS is a JSON list of [name, file, line, code], PRINTED a JSON object of what each has printed, by name. The first
that raises ends it, with a traceback that shows the line of the page.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
from typing import Any


def main() -> None:
    """Run them."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed: dict[str, str] = {}
    with asyncio.Runner() as runner:
        for name, file, line, code in json.load(sys.stdin):
            # with as many lines before it as there are on the page
            compiled = compile("\n" * (line - 1) + code, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with contextlib.redirect_stdout(io.StringIO()) as output:
                running = eval(compiled, namespace)
                if inspect.isawaitable(running):
                    runner.run(_finish(running))
            printed[name] = output.getvalue()
    json.dump(printed, sys.stdout)


async def _finish(running: Any) -> None:
    await running


if __name__ == "__main__":
    main()
