"""validate and verify on a hot standby: nothing can be written there, and nothing has to be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from checks import haulage, isolated_tenants
from conftest import Command
from servers import Server, clear, make_server
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory


@pytest.fixture
def standby(server_version: int, run_folder: Path) -> Iterator[Server]:
    """A standby of a server with two databases: `apart` is isolated, `fleet` untouched."""
    folder = run_folder / "standby"
    folder.mkdir()
    primary = make_server(server_version, folder / "primary")
    primary.create("apart").execute(
        f"{isolated_tenants.SCHEMA}; CREATE ROLE apart_reader LOGIN BYPASSRLS IN ROLE pg_read_all_data"
    )
    migrate(
        Target(primary.dsn("apart")), Spec.parse(isolated_tenants.SPEC), MigrateOptions(until=Phase.ISOLATE, force=True)
    )
    primary.create("fleet").execute(haulage.SCHEMA)
    copy = Cluster(programs=primary.programs, folder=folder / "copy", settings=primary.cluster.settings)
    copy.folder.mkdir()
    command = [bin_directory() / "pg_basebackup", "-D", copy.data, "-d", primary.dsn(), "-c", "fast", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True)
    (copy.data / "standby.signal").touch()
    owner = primary.cluster.data.stat()
    for path in (copy.data, *copy.data.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    primary.stop()
    copy.start()
    yield replace(primary, cluster=copy)
    clear(folder)


def test_on_a_standby(standby: Server, command: Callable[[str], Command]) -> None:
    """An isolated database passes, with a word on what was not tried; an untouched one fails by what it lacks, and no
    command stops at what cannot be written."""
    isolated, untouched = command(standby.dsn("apart")), command(standby.dsn("fleet"))
    (isolated.folder / "apart.toml").write_text(isolated_tenants.SPEC, encoding="utf-8")
    (isolated.folder / "fleet.toml").write_text(haulage.SPEC, encoding="utf-8")
    for name in ("validate", "verify"):
        done = isolated(name, "--config", "apart.toml", "--verbose")
        assert done.status == 0, done
        assert "this server is a standby" in done.stdout
    before = untouched("validate", "--config", "fleet.toml", "--verbose")
    assert before.status == 1, before
    assert "which a standby does not allow" in before.stdout
    assert "Traceback" not in before.stdout + before.stderr
    for words in (["discover"], ["backups", "create", "--config", "apart.toml"]):
        refused = isolated(*words)
        assert "primary server" in refused.stderr, refused
        assert "again" not in refused.stderr, refused
    fixing = isolated("validate", "--config", "apart.toml", "--fix-issues")
    assert fixing.status == 4, fixing
    assert "This server is a standby" in fixing.stderr
    # A role that is no member of the application's cannot make itself one here.
    with_role = make_conninfo(standby.dsn("apart"), user="apart_reader")
    assert command(with_role)("validate", "--config", "apart.toml").status == 1
