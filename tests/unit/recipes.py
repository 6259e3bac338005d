"""The programs of ``docs/recipes``, as a reader copies them.

Each block of code is a file (named by a comment in its first line), a cell of a notebook, a command with its output, or
the output of a cell.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?:#|//|<!--) ([\w-]+\.\w+)\b")


def _blocks_of(recipe: str) -> list[tuple[str, str]]:
    """The language and the text of each block."""
    return _BLOCK.findall((RECIPES / f"{recipe}.md").read_text(encoding="utf-8"))


def files_of(recipe: str) -> dict[str, str]:
    """The files of a recipe by their names."""
    return {name[1]: code for _, code in _blocks_of(recipe) if (name := _NAME.match(code))}


def cells_of(recipe: str) -> list[str]:
    """The cells of a notebook."""
    return [code for language, code in _blocks_of(recipe) if language == "python" and code.startswith("# cell ")]


def commands_of(recipe: str) -> list[tuple[str, str]]:
    """The commands and their output."""
    texts = [text for language, text in _blocks_of(recipe) if not language and text.startswith("$ ")]
    return [(command.removeprefix("$ "), written) for command, _, written in (text.partition("\n") for text in texts)]


def outputs_of(recipe: str) -> list[str]:
    """What cells print."""
    return [text for language, text in _blocks_of(recipe) if not language and not text.startswith("$ ")]


def count_blocks(recipe: str) -> int:
    """How many blocks there are of any kind."""
    return len(_blocks_of(recipe))
