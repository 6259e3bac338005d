"""The programs of ``docs/recipes``, as a reader copies them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"

_FILE = re.compile(r"^```\w+\n((?:#|//|<!--) ([\w.-]+\.\w+)\b.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^```\n\$ (.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(recipe: str) -> dict[str, str]:
    """The files of a recipe, by the names in their first lines, which are comments."""
    return {name: code for code, name in _FILE.findall(text_of(recipe))}


def commands_of(recipe: str) -> list[tuple[str, str]]:
    """The commands that a recipe shows, and what each writes."""
    return _COMMAND.findall(text_of(recipe))


def text_of(recipe: str) -> str:
    """The whole page."""
    return (RECIPES / f"{recipe}.md").read_text(encoding="utf-8")


def count_blocks(recipe: str) -> int:
    """How many blocks of code the page has, whatever they are."""
    return len(re.findall(r"^```", text_of(recipe), re.MULTILINE)) // 2
