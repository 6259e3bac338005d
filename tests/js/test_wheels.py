"""The wheels: what is in the whole one, and in the one for pages."""

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.utils import parse_wheel_filename

from tools.build_wheel import WHEELS, page_wheel_name, wheel_name
from tools.serve import ROOT
from tools.wheel_hook import EngineHook

LARGEST_PAGE_WHEEL = 190_000
"""Bytes that a page downloads for it."""


def _run(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _files(wheel: str) -> set[str]:
    with ZipFile(WHEELS / wheel) as file:
        return set(file.namelist())


def test_the_engine_is_one_file_without_comments(tmp_path: Path) -> None:
    with ZipFile(WHEELS / wheel_name()) as wheel:
        assert [name for name in wheel.namelist() if name.startswith("pymailbox/js/")] == ["pymailbox/js/index.js"]
        bundle = tmp_path / "index.mjs"
        bundle.write_bytes(wheel.read("pymailbox/js/index.js"))
    assert "/**" not in bundle.read_text("utf-8")
    script = f"""
        const [ours, bundled] = await Promise.all([import("{ROOT}/js/index.js"), import("{bundle}")]);
        const names = (module) => [Object.keys(module), Object.keys(module.python)];
        console.log(JSON.stringify([names(ours), names(bundled)]));
    """
    ours, bundled = json.loads(_run(tmp_path, "node", "--input-type=module", "--eval", script))
    assert bundled == ours


def test_a_wheel_that_is_built_without_esbuild_has_the_modules_as_they_are(tmp_path: Path) -> None:
    config: Any = None
    hook = EngineHook(str(tmp_path), {}, config, config, str(tmp_path), "wheel")
    build_data: dict[str, Any] = {"force_include": {}}
    hook.initialize("standard", build_data)
    assert build_data == {"force_include": {str(tmp_path / "js"): "pymailbox/js"}}


def test_the_one_for_pages_is_small() -> None:
    assert (WHEELS / page_wheel_name()).stat().st_size <= LARGEST_PAGE_WHEEL


def test_the_one_for_pages_is_for_pyodide_only() -> None:
    _, version, build, tags = parse_wheel_filename(Path(page_wheel_name()).name)
    assert (version, build) == parse_wheel_filename(wheel_name())[1:3]
    assert {(tag.interpreter, tag.abi) for tag in tags} == {("py3", "none")}
    assert all(tag.platform.startswith("pyemscripten_") for tag in tags)
    with ZipFile(WHEELS / page_wheel_name()) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/WHEEL"))
        lines = wheel.read(name).decode().splitlines()
    assert {line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")} == set(map(str, tags))


def test_the_one_for_pages_leaves_out_nothing_else() -> None:
    left_out = _files(wheel_name()) - _files(page_wheel_name())
    parts = {"/".join(name.split("/")[: 3 if "backends" in name else 2]) for name in left_out}
    (info,) = {name.split("/")[0] for name in _files(wheel_name()) if ".dist-info/" in name}
    assert parts == {
        "pymailbox/__main__.py",
        "pymailbox/backends/sqlite",
        "pymailbox/cli",
        "pymailbox/sync",
        "pymailbox/testing",
        f"{info}/entry_points.txt",
    }
    assert _files(page_wheel_name()) < _files(wheel_name())


@pytest.mark.parametrize("name_of", [wheel_name, page_wheel_name])
def test_record_has_each_file(name_of: Any) -> None:
    with ZipFile(WHEELS / name_of()) as wheel:
        (record,) = (name for name in wheel.namelist() if name.endswith("/RECORD"))
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(wheel.read(record).decode()))}
        for name in wheel.namelist():
            digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(name)).digest()).rstrip(b"=").decode()
            expected = ["", ""] if name == record else [f"sha256={digest}", str(len(wheel.read(name)))]
            assert rows.pop(name) == expected
    assert rows == {}


def test_the_one_for_pages_says_where_the_rest_is(tmp_path: Path) -> None:
    with ZipFile(WHEELS / page_wheel_name()) as wheel:
        wheel.extractall(tmp_path)
    code = """
import asyncio, pymailbox

async def main():
    async with pymailbox.open_mailbox("memory://inbox") as mailbox:
        await mailbox.enqueue(b"me", b"hello")
    for use in (lambda: pymailbox.list_mailboxes("sqlite:///a.db"), lambda: pymailbox.SqliteMailbox):
        try:
            await use()
        except pymailbox.StorageUnavailableError as error:
            print(error)

asyncio.run(main())
"""
    said = _run(tmp_path, sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}")
    assert said.splitlines() == 2 * [
        "sqlite:// is not available here: the wheel for pages leaves it out. "
        "Install the one whose name ends in py3-none-any.whl"
    ]
