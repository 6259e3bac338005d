"""The npm package, as somebody else's project gets it."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from pymailbox import __version__
from tools.build_npm import TARBALL
from tools.serve import ROOT

CONSUMER = Path(__file__).parent / "consumer.ts"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has installed the package, and nothing else."""
    project = tmp_path_factory.mktemp("project")
    (project / "package.json").write_text('{"type": "module"}')
    subprocess.run(["npm", "install", "--offline", "--silent", str(TARBALL)], check=True, cwd=project)
    return project


def run(project: Path, *command: str) -> str:
    """What a command says in the project; a failure says it too."""
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("resolution", ["nodenext", "bundler"])
@pytest.mark.parametrize("typescript", ["typescript", pytest.param("typescript-5.4", marks=pytest.mark.slow)])
def test_consumer_is_type_checked(project: Path, typescript: str, resolution: str) -> None:
    """With the newest TypeScript and the oldest that docs/javascript.md names, as strictly as may be."""
    (project / "consumer.ts").write_text(CONSUMER.read_text())
    options = {
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "skipLibCheck": False,
        "noEmit": True,
        "target": "es2022",
        "lib": ["es2022", "dom", "dom.iterable"],
        "types": [],
        "module": "nodenext" if resolution == "nodenext" else "esnext",
        "moduleResolution": resolution,
    }
    (project / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["consumer.ts"]}))
    run(project, "node", str(ROOT / "node_modules" / typescript / "bin" / "tsc"), "--project", "tsconfig.json")


def test_it_says_by_class_that_node_has_no_indexeddb(project: Path) -> None:
    script = """
        import { StorageUnavailableError, openMailbox } from "pymailbox";
        const error = await openMailbox("inbox").catch((error) => error);
        const bad = await openMailbox("").catch((error) => error);
        console.log(JSON.stringify([error instanceof StorageUnavailableError, error.name, error.message, bad.message]));
    """
    is_class, name, message, bad = json.loads(run(project, "node", "--input-type=module", "--eval", script))
    assert (is_class, name) == (True, "StorageUnavailableError")
    assert "no IndexedDB" in message
    assert bad == "name must have 1 to 200 characters, not 0"


def test_inspector_can_be_imported_where_there_are_no_elements(project: Path) -> None:
    script = 'import { MailboxInspector } from "pymailbox/inspector"; console.log(MailboxInspector.name);'
    assert run(project, "node", "--input-type=module", "--eval", script) == "MailboxInspector\n"


def test_package_is_the_modules_as_they_are_with_types_and_licence() -> None:
    with tarfile.open(TARBALL) as tarball:
        packed = {
            name.removeprefix("package/"): file.read()
            for name in tarball.getnames()
            if (file := tarball.extractfile(name))
        }
    sources = {path.relative_to(ROOT / "js").as_posix(): path.read_bytes() for path in (ROOT / "js").rglob("*.js")}
    assert "index.js" in sources
    assert {name: packed.get(name) for name in sources} == sources
    assert {"LICENSE", "README.md", "index.d.ts"} <= packed.keys()
    manifest = json.loads(packed["package.json"])
    assert manifest["version"] == __version__
    assert "dependencies" not in manifest
