"""The disk full in the middle: one clear sentence, the database usable, and the same command goes on.

A full disk that needs neither root nor a file system of its own: the server's processes may not let a file grow beyond a
size, which stops them at the same place, with the same message but for its last words.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from acceptance.test_round_trip import checksums, columns
from conftest import Command
from servers import Server
from tenantry.postgres.embedded import bin_directory
from tenantry.presets import load, spec_path

ROWS = 20_000


@contextmanager
def full(server: Server, size: int) -> Iterator[None]:
    """Within the block no file of the server grows beyond `size` bytes; it is restarted for that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (size, before[0]):
        server.stop()
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            # What a process starts has its limits.
            server.start()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if limit == size:
            yield


def test_disk_full(crashable: Server, command: Callable[[str], Command]) -> None:
    """In the fill: exit 5 says so; nothing is half-done; with room again the fill goes on, and the way back is exact."""
    # Files of the log are made in one go, and must be smaller than what the disk has room for.
    crashable.stop()
    owner = crashable.cluster.data.stat().st_uid
    subprocess.run(
        [bin_directory() / "pg_resetwal", "--wal-segsize=1", "-D", crashable.cluster.data], check=True,
        capture_output=True, **({"user": owner} if owner != os.getuid() else {}),
    )  # fmt: skip
    crashable.start()
    database = crashable.create("full")
    with database.connect() as connection:
        load(connection, preset="estoque", rows=ROWS, seed=1)
    dump, names, rows = database.dump(), columns(database), checksums(database)
    shop = command(database.dsn)
    spec: Path = shop.folder / "tenantry.toml"
    spec.write_text(spec_path("estoque").read_text())
    assert shop("migrate", "--until", "expand", "--backup", "none", "--quiet").status == 0
    ((size, file),) = database.rows(
        "SELECT pg_relation_size('estoque_movimentacoes'), pg_relation_filepath('estoque_movimentacoes')"
    )
    assert size > 2 << 20
    with full(crashable, size + (64 << 10)):
        failed = shop("migrate", "--backup", "none")
        assert failed.status == 5, failed.stdout + failed.stderr
        said = " ".join(failed.stderr.split())
        assert f'could not extend file "{file}"' in said
        assert "run the same command again" in said.lower()
        assert "Traceback" not in failed.stderr
        database.execute("UPDATE produtos SET nome = nome WHERE id = 1")
        with pytest.raises(psycopg.Error, match="could not extend file"):
            database.execute("UPDATE estoque_movimentacoes SET quantidade = quantidade")
    ((done,),) = database.rows("SELECT coalesce(sum(rows), 0)::int FROM tenantry.progress")
    again = shop("migrate", "--backup", "none", "--json")
    assert again.status == 0, again.stdout
    assert database.rows("SELECT count(*) FROM estoque_movimentacoes WHERE tenant_id IS NULL") == [(0,)]
    tables = ("estoque_escolas", "estoque_escolas_historico", "estoque_lotes", "estoque_movimentacoes", "usuarios")
    total = sum(rows[table][0] for table in tables)
    total += database.rows("SELECT count(tenant_id) FROM estoque_alertas")[0][0]
    ((filled,),) = database.rows("SELECT sum(rows)::int FROM tenantry.events WHERE action = 'applied'")
    assert done > 0
    assert filled + done == total, "no row is given its tenant twice"
    assert {table: found for table, found in checksums(database, names).items() if table != "tenants"} == {
        table: found for table, found in rows.items() if table != "tenants"
    }
    assert shop("rollback", "--confirm", "--backup", "none", "--quiet").status == 0
    assert database.dump() == dump
