"""Two real applications run their own suites, before our enforce and after it: each test ends as it did.

`make applications` installs them, from PyPI, into a virtual environment of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conftest import ROOT, Command
from servers import Database, Server

HERE = ROOT / ".venv-applications"
PYTHON = HERE / "bin" / "python"
OSCAR = HERE / "django-oscar"
"""Its repository, of which the tests are taken: no package has them."""
Outcomes = dict[str, str]

pytestmark = [pytest.mark.applications, pytest.mark.server]


class Applications:
    """Runs programs of the applications against a server, and migrates their databases."""

    def __init__(self, server: Server, folder: Path, command: Callable[[str], Command]) -> None:
        self.server, self.folder, self.command = server, folder, command
        if not PYTHON.exists():
            pytest.fail("the applications are not here: make applications")

    def run(self, *arguments: str | Path, folder: Path, **environment: str) -> str:
        """What a program prints, to the end of the run, whatever its exit status."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTHON"))}
        server = {"PGHOST": str(self.server.cluster.socket_folder), "PGUSER": "postgres", "PGPORT": "5432"}
        done = subprocess.run(
            [PYTHON, *arguments], cwd=folder, env=inherited | server | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout

    def databases(self, like: str) -> list[str]:
        with self.server.session() as session:
            found = session.execute("SELECT datname::text FROM pg_database WHERE datname LIKE %s", [like]).fetchall()
        return sorted(name for (name,) in found)

    def enforce(self, name: str, undecided: str) -> None:
        """Migrate a database until enforce, by what discover proposes."""
        database = Database(server=self.server, name=name)
        tenantry = self.command(database.dsn)
        for arguments in (
            ("discover", "--undecided", undecided, "--output", "tenantry.toml", "--force"),
            ("migrate", "--until", "enforce", "--backup", "none", "--force"),
        ):
            outcome = tenantry(*arguments, timeout=1200)
            assert outcome.status == 0, (name, outcome.stdout, outcome.stderr)
        enforced = "SELECT count(*) FROM tenantry.steps WHERE phase = 'enforce' AND state = 'done'"
        assert database.rows(enforced)[0][0] > 0


@pytest.fixture
def applications(server: Server, tmp_path: Path, command: Callable[[str], Command]) -> Iterator[Applications]:
    yield Applications(server, tmp_path, command)
    with server.session() as session:
        for (name,) in session.execute(
            "SELECT datname::text FROM pg_database WHERE datname ~ '^(test-|tryton|oscar|test_oscar)'"
        ).fetchall():
            server.drop(Database(server=server, name=name))


def assert_same(before: Outcomes, after: Outcomes, printed: str) -> None:
    """The suite has run, and each of its tests ended after enforce as it had before."""
    passed = Counter(before.values())["passed"]
    assert passed > 50, (Counter(before.values()), printed[-2000:])
    assert passed > 0.9 * len(before), Counter(before.values())
    other = {name: (before.get(name), after.get(name)) for name in before.keys() | after.keys()
             if before.get(name) != after.get(name)}  # fmt: skip
    assert other == {}, printed[-20000:]


def test_trytond_stock(applications: Applications) -> None:
    """Tryton's stock module: its scenarios and the tests of its models. Each scenario begins with a copy of a database
    that the first run has made: before the second run, these are migrated. The tenants are companies."""

    def run(number: int) -> tuple[Outcomes, str]:
        found = applications.folder / f"outcomes-{number}.json"
        printed = applications.run(
            Path(__file__).with_name("unittest_outcomes.py"), found, "trytond.modules.stock.tests.test_scenario",
            "trytond.modules.stock.tests.test_module", folder=applications.folder, DB_NAME="tryton",
            DB_CACHE="postgresql://postgres@", TRYTOND_DATABASE_URI="postgresql://postgres@/",
        )  # fmt: skip
        assert found.exists(), printed[-5000:]
        return json.loads(found.read_text()), printed

    before, _ = run(1)
    made = applications.databases("test-%")
    assert made != []
    for name in made:
        applications.enforce(name, "shared")
    after, printed = run(2)
    assert applications.databases("test-%") == made
    assert_same(before, after, printed)


def test_django_oscar(applications: Applications) -> None:
    """django-oscar's unit, integration and functional tests, each run in a copy of one database. There is no tenant in
    its schema: the shop becomes the only one."""
    if not (OSCAR / "tests").is_dir():
        pytest.fail(f"django-oscar's tests are not in {OSCAR}: make applications, or OSCAR=… for another repository")
    settings = {
        "DATABASE_HOST": str(applications.server.cluster.socket_folder), "DATABASE_USER": "postgres",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }  # fmt: skip

    def run(number: int) -> tuple[Outcomes, str]:
        folder = applications.folder / f"oscar-{number}"
        shutil.copytree(OSCAR / "tests", folder / "tests")
        copy = applications.server.create("test_oscar", "oscar")
        found = folder / "outcomes.xml"
        printed = applications.run(
            "-m", "pytest", "-p", "no:cacheprovider", "--reuse-db", "--deprecation", "none", "-q",
            f"--junitxml={found}", "tests", folder=folder, DATABASE_NAME="oscar", **settings,
        )  # fmt: skip
        assert found.exists(), printed[-5000:]
        applications.server.drop(copy)
        return dict(_junit(found)), printed

    applications.server.create("oscar")
    shutil.copytree(OSCAR / "tests", applications.folder / "made" / "tests")
    printed = applications.run(
        "-m", "django", "migrate", "--skip-checks", "--verbosity", "0", folder=applications.folder / "made",
        DATABASE_NAME="oscar", PYTHONPATH=".", **settings,
    )  # fmt: skip
    assert applications.databases("oscar") == ["oscar"], printed
    before, _ = run(1)
    applications.enforce("oscar", "default")
    after, printed = run(2)
    assert_same(before, after, printed)


def _junit(path: Path) -> Iterator[tuple[str, str]]:
    """Each test's name, and how it ended."""
    for case in ElementTree.parse(path).iter("testcase"):
        ended = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        yield f"{case.get('classname')}.{case.get('name')}", ", ".join(ended) or "passed"
