"""The wheels: what is in the whole one, and in the one for pages."""

import base64
import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.utils import parse_wheel_filename

from tests.conftest import TEST_ROUTES, serve
from tests.lanes import runtimes
from tests.lanes.in_pyodide import install_wheel
from tools.build_wheel import WHEELS, nats_wheel_name, page_wheel_name, wheel_name
from tools.readme_hook import standing_alone
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


def _hook(root: Path) -> EngineHook:
    config: Any = None
    return EngineHook(str(root), {}, config, config, str(root), "wheel")


UNUSABLE = {
    "absent": None,
    "fails": "#!/bin/sh\nexit 1\n",
    "does not run": "#!/no/such/interpreter\n",
    "of another system": "\x7fELF\0",
}


@pytest.mark.skipif(sys.platform == "win32", reason="scripts are of another kind there")
@pytest.mark.parametrize("script", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_without_an_esbuild_that_runs_the_modules_go_in_as_they_are(
    script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if script is not None:
        esbuild = tmp_path / "node_modules" / ".bin" / "esbuild"
        esbuild.parent.mkdir(parents=True)
        esbuild.write_text(script)
        esbuild.chmod(0o755)
    build_data: dict[str, Any] = {"force_include": {}}
    _hook(tmp_path).initialize("standard", build_data)
    assert build_data == {"force_include": {str(tmp_path / "js"): "pymailbox/js"}}
    assert "The wheel works the same, and is larger." in capsys.readouterr().err
    monkeypatch.setenv("PYMAILBOX_BUNDLE", "required")
    with pytest.raises((OSError, subprocess.CalledProcessError)):
        _hook(tmp_path).initialize("standard", build_data)


def test_a_build_writes_nothing_into_the_checkout(tmp_path: Path) -> None:
    for folder in ("js", "node_modules"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    hook = _hook(tmp_path)
    build_data: dict[str, Any] = {"force_include": {}}
    hook.initialize("standard", build_data)
    ((bundle, name),) = build_data["force_include"].items()
    assert name == "pymailbox/js/index.js"
    assert Path(bundle).is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"js", "node_modules"}
    hook.finalize("standard", build_data, "")
    assert not Path(bundle).exists()


@pytest.mark.browser
def test_the_modules_as_they_are_work_in_a_page(tmp_path: Path) -> None:
    """They are linked one by one; so is what pip builds of the source distribution."""
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    source.mkdir()
    for name in (
        "pymailbox",
        "js",
        "tools/readme_hook.py",
        "tools/wheel_hook.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (source / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    _run(source, sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels))
    (wheel,) = wheels.iterdir()
    served = contextmanager(serve)(routes=TEST_ROUTES | {"/wheels/": wheels})
    with served as server, runtimes.chromium(server.url + runtimes.harness_path("page")) as python:
        install_wheel(python, server, wheel.name)
        said = python.run_async(
            """
            from importlib.resources import files
            from pymailbox import open_mailbox

            async with open_mailbox("modules") as mailbox:
                await mailbox.enqueue(b"me", b"hello")
                (message,) = await mailbox.dequeue()
                await mailbox.ack(message.id)
            f"{message.payload.decode()}, {files('pymailbox').joinpath('js', 'model', 'state.js').is_file()}"
            """
        )
    assert said == "hello, True"


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
        "pymailbox/backends/jetstream",
        "pymailbox/backends/sqlite",
        "pymailbox/cli",
        "pymailbox/py.typed",
        "pymailbox/sync",
        "pymailbox/testing",
        f"{info}/entry_points.txt",
    }
    assert _files(page_wheel_name()) < _files(wheel_name())


@pytest.mark.slow
def test_pyodide_takes_the_one_for_pages_and_the_whole_one_by_its_url(tmp_path: Path) -> None:
    """In Node, but micropip knows no difference."""
    index = tmp_path / "pymailbox"
    index.mkdir()
    links = (f'<a href="/wheels/{name}">{Path(name).name}</a>' for name in (wheel_name(), page_wheel_name()))
    (index / "index.html").write_text(f"<!DOCTYPE html><title>pymailbox</title>{' '.join(links)}", "utf-8")
    taken = """
        import importlib
        from importlib.resources import files

        importlib.invalidate_caches()
        "whole" if files("pymailbox").joinpath("testing", "_suite.py").is_file() else "for pages"
    """
    served = contextmanager(serve)(routes={"/": WHEELS, "/wheels/": WHEELS, "/simple/": tmp_path})
    with served as server, runtimes.node() as python:
        python.run_async(f"import micropip; await micropip.install('pymailbox', index_urls='{server.url}/simple')")
        assert python.run_async(taken) == "for pages"
        python.run_async(f"await micropip.install('{server.url}/wheels/{wheel_name()}')")
        assert python.run_async(taken) == "whole"
        assert python.run_async("import pymailbox; pymailbox.SqliteMailbox.__name__") == "SqliteMailbox"


def test_the_whole_one_has_a_readme_that_stands_alone() -> None:
    with ZipFile(WHEELS / wheel_name()) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        readme = wheel.read(name).decode().partition("\n\n")[2]
        assert not [name for name in wheel.namelist() if name.endswith(".png")]
    assert readme.startswith("# pymailbox\n")
    assert "](" not in readme
    kept = "[text](https://example.org) [anchor](#status)"
    assert standing_alone(f"![a picture](docs/images/a.png)\n\n[a](b.md) {kept}") == f"a {kept}"


def test_the_one_for_pages_on_a_server_has_what_that_one_lacks_for_it() -> None:
    folder = "pymailbox/backends/jetstream/"
    code = {name for name in _files(nats_wheel_name()) if ".dist-info/" not in name}
    assert code == {name for name in _files(wheel_name()) - _files(page_wheel_name()) if name.startswith(folder)}
    with ZipFile(WHEELS / nats_wheel_name()) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = HeaderParser().parsestr(wheel.read(name).decode())
    version = wheel_name().split("-")[1]
    assert (metadata["Name"], metadata["Version"]) == ("pymailbox-nats", version)
    assert metadata.get_all("Requires-Dist") == [f"pymailbox=={version}", "nats-py>=2.16"]


@pytest.mark.parametrize("name_of", [wheel_name, page_wheel_name, nats_wheel_name])
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
import asyncio, importlib, pymailbox

async def main():
    async with pymailbox.open_mailbox("memory://inbox") as mailbox:
        await mailbox.enqueue(b"me", b"hello")
    for use in (
        lambda: pymailbox.list_mailboxes("sqlite:///a.db"),
        lambda: pymailbox.SqliteMailbox,
        lambda: pymailbox.open_mailbox("indexeddb://inbox"),
        lambda: importlib.import_module("pymailbox.testing"),
        lambda: importlib.import_module("pymailbox.cli"),
    ):
        try:
            await use()
        except (pymailbox.StorageUnavailableError, ImportError) as error:
            print(error)

asyncio.run(main())
"""
    said = _run(tmp_path, sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}")
    how = (
        "the wheel for pages leaves it out. Install the whole one, by its URL: "
        'micropip.install("https://.../pymailbox-VERSION-py3-none-any.whl")'
    )
    assert said.splitlines() == [
        f"sqlite:// is not available here: {how}",
        f"sqlite:// is not available here: {how}",
        "indexeddb:// is not available here: IndexedDB exists only in browsers; use memory://NAME here. "
        f"There is also sqlite:///FILE#NAME, but {how}",
        f"pymailbox.testing is not available here: {how}",
        f"pymailbox.cli is not available here: {how}",
    ]
