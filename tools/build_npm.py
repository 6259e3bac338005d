"""Builds the npm package into build/npm: the folder `package`, and the tarball that `npm publish` takes.

The package is `js/` as it is, with the wheel's version, and with type declarations that tsc makes from the JSDoc in the
sources. So there is one description of the API, and no build step for those who load `js/` from a server.

Usage: python -m tools.build_npm
"""

import json
import shutil
import subprocess
from pathlib import Path

from pymailbox import __version__

from .readme_hook import standing_alone

ROOT = Path(__file__).parent.parent
NPM = ROOT / "build" / "npm"
PACKAGE = NPM / "package"
TARBALL = NPM / f"pymailbox-{__version__}.tgz"

PUBLIC_DECLARATIONS = (
    "index.d.ts",
    "api/mailbox.d.ts",
    "api/actors/ask.d.ts",
    "api/actors/backpressure.d.ts",
    "api/actors/retry.d.ts",
    "api/transfer.d.ts",
    "model/errors.d.ts",
    "inspector/element.d.ts",
)
"""The declarations that the public ones are made of; the engine's are left out."""


def main() -> None:
    """Build the package anew."""
    shutil.rmtree(NPM, ignore_errors=True)
    shutil.copytree(ROOT / "js", PACKAGE, ignore=shutil.ignore_patterns("types.d.ts"))
    declarations = NPM / "declarations"
    command = ["npx", "tsc", "--project", "tsconfig.npm.json", "--outDir", str(declarations)]
    subprocess.run(command, check=True, cwd=ROOT)
    for name in PUBLIC_DECLARATIONS:
        shutil.move(declarations / name, PACKAGE / name)
    shutil.rmtree(declarations)
    shutil.copy(ROOT / "LICENSE", PACKAGE)
    readme = (ROOT / "docs" / "javascript.md").read_text(encoding="utf-8")
    (PACKAGE / "README.md").write_text(standing_alone(readme), encoding="utf-8")
    manifest = PACKAGE / "package.json"
    described = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**described, "version": __version__}, indent=2) + "\n", encoding="utf-8")
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", str(NPM)], check=True, cwd=PACKAGE)


if __name__ == "__main__":
    main()
