"""What a rollback makes again from recorded SQL, it makes with the present names of columns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.errors import ExitStatus
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

# Names that an index, a trigger, a function and a type have as well.
SHOP = """
    CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE NOT NULL);
    INSERT INTO tenants VALUES (1, 'a'), (2, 'b');
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TABLE items (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, sku text NOT NULL,
      lower text, text int, active boolean DEFAULT true);
    CREATE UNIQUE INDEX sku ON items (lower(sku), (text::text || ' sku ') COLLATE "C", lower) WHERE active;
    CREATE TRIGGER active BEFORE UPDATE OF sku, active ON items FOR EACH ROW
      WHEN (old.active AND new.sku <> 'sku') EXECUTE FUNCTION touch();
    INSERT INTO items VALUES (1, 1, 'x', 'l', 1), (2, 2, 'y', 'l', 2);
"""
SPEC = """
version = 1
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "items"
paths = [["tenant_id"]]
unique = ["sku"]
"""
RENAMES = (("sku", 'it\'s "new"'), ("lower", "select"), ("text", "id2"), ("active", "live"))


@pytest.mark.parametrize("until", [Phase.CONTRACT, Phase.DISTRIBUTE])
def test_expressions_of_indexes_and_triggers(
    until: Phase, database: Database, role: Callable[..., str]
) -> None:  # fmt: skip
    database.execute(SHOP)
    dump = database.dump()
    options = MigrateOptions(until=until, prepare=until is Phase.DISTRIBUTE, force=True)
    migrate(Target(database.dsn), Spec.parse(SPEC.format(role=role(create=False, name="app"))), options)
    rename(database, RENAMES)
    result = rollback(Target(database.dsn), RollbackOptions())
    assert (result.exit_status, [str(one) for one in result.findings if one.severity.serious]) == (ExitStatus.DONE, [])
    rename(database, [(now, was) for was, now in reversed(RENAMES)])
    assert database.dump() == dump


def test_privileges_on_columns(database: Database, role: Callable[..., str]) -> None:
    """What the application role had on a column it has again, and what it gave to others."""
    database.execute(SHOP)
    app, other = role(name="app"), role(name="other")
    database.execute(f"GRANT SELECT (sku, id), UPDATE (sku) ON items TO {app} WITH GRANT OPTION")
    database.execute(f"SET ROLE {app}; GRANT SELECT (sku) ON items TO {other}")
    dump = database.dump()
    migrate(Target(database.dsn), Spec.parse(SPEC.format(role=app)), MigrateOptions(until=Phase.ISOLATE, force=True))
    rename(database, RENAMES)
    result = rollback(Target(database.dsn), RollbackOptions())
    assert (result.exit_status, [str(one) for one in result.findings if one.severity.serious]) == (ExitStatus.DONE, [])
    rename(database, [(now, was) for was, now in reversed(RENAMES)])
    assert database.dump() == dump


def test_privileges_on_columns_of_shared_tables(database: Database, role: Callable[..., str]) -> None:
    """isolate revokes them; one comes back under the present name of its column, and one is gone with its column."""
    database.execute(SHOP + "CREATE TABLE rates (id int PRIMARY KEY, rate int, note text, more text)")
    app = role(name="app")
    database.execute(f"GRANT SELECT ON rates TO {app}; GRANT UPDATE (rate, note, more) ON rates TO {app}")
    spec = SPEC.format(role=app) + '[[table]]\nname = "rates"\nshared = true\n'
    migrate(Target(database.dsn), Spec.parse(spec), MigrateOptions(until=Phase.ISOLATE, force=True))
    allowed = f"SELECT string_agg(a.attname, ' ' ORDER BY a.attnum) FROM pg_attribute a WHERE attrelid = 'rates'::regclass" \
        f" AND attnum > 0 AND NOT attisdropped AND has_column_privilege('{app}', attrelid, attnum, 'UPDATE')"  # fmt: skip
    assert database.rows(allowed) == [(None,)]
    database.execute('ALTER TABLE rates RENAME rate TO "per cent"; ALTER TABLE rates DROP note')
    rollback(Target(database.dsn), RollbackOptions())
    assert database.rows(allowed) == [("per cent more",)]


def rename(database: Database, names: object) -> None:
    for was, now in names:  # type: ignore[attr-defined]
        quoted = ['"{}"'.format(name.replace('"', '""')) for name in (was, now)]
        database.execute(f"ALTER TABLE items RENAME {quoted[0]} TO {quoted[1]}")
