"""The disk full in the middle: one clear sentence, the database usable, and the same command goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from acceptance.round_trip import checksums, columns
from conftest import Command
from small_disk import TinyDisk
from tenantry.presets import load, spec_path

ROWS = 20_000
LEFT = 64 << 10
"""Bytes that are free: enough for the journal, and not for a fill."""


def test_disk_full(disk: TinyDisk, command: Callable[[str], Command]) -> None:
    """In the backup before a migrate, and in its fill: exit 5 says so; nothing is half-done; with room again the fill
    goes on, and the way back is exact."""
    database = disk.database()
    with database.connect() as connection:
        load(connection, preset="estoque", rows=ROWS, seed=1)
    dump, names, rows = database.dump(), columns(database), checksums(database)
    database.execute("CREATE TABLE till (sold integer); INSERT INTO till VALUES (0)")
    shop = command(database.dsn)
    spec: Path = shop.folder / "tenantry.toml"
    spec.write_text(spec_path("estoque").read_text() + '\n[[table]]\nname = "till"\nshared = true\n')
    assert shop("migrate", "--until", "expand", "--backup", "none", "--quiet").status == 0
    with disk.full(LEFT):
        for backup in ("tables", "none"):
            failed = shop("migrate", "--backup", backup)
            assert failed.status == 5, failed.stdout + failed.stderr
            said = " ".join(failed.stderr.split())
            assert said.count("tenantry: ") == 1
            assert re.search(r"could not (extend|write to) file", said)
            assert "run the same command again" in said.lower()
            assert "Traceback" not in failed.stderr
        database.execute("UPDATE till SET sold = sold + 1")
        with pytest.raises(psycopg.Error, match="could not extend file"):
            database.execute("UPDATE estoque_movimentacoes SET quantidade = quantidade")
    listed = shop("backups", "list", "--json").json["backups"]
    assert [one for one in listed if one["state"] != "complete"] == []
    ((done,),) = database.rows("SELECT coalesce(sum(rows), 0)::int FROM tenantry.progress")
    again = shop("migrate", "--backup", "none", "--json")
    assert again.status == 0, again.stdout
    assert database.rows("SELECT count(*) FROM estoque_movimentacoes WHERE tenant_id IS NULL") == [(0,)]
    tables = ("estoque_escolas", "estoque_escolas_historico", "estoque_lotes", "estoque_movimentacoes", "usuarios")
    total = sum(rows[table][0] for table in tables)
    total += database.rows("SELECT count(tenant_id) FROM estoque_alertas")[0][0]
    ((filled,),) = database.rows("SELECT sum(rows)::int FROM tenantry.events WHERE action = 'applied'")
    assert filled + done == total, "no row is given its tenant twice"
    assert database.rows("TABLE till") == [(1,)]
    database.execute("DROP TABLE till")
    assert {table: found for table, found in checksums(database, names).items() if table != "tenants"} == {
        table: found for table, found in rows.items() if table != "tenants"
    }
    assert shop("rollback", "--confirm", "--backup", "none", "--quiet").status == 0
    assert database.dump() == dump
