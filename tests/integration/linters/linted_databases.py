"""What is migrated to be judged, and the specs that it is migrated by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from acceptance.isolation_schema import SCHEMA, SPEC
from discovery.discovering import discover
from servers import Database
from tenantry.execution.session import Session
from tenantry.model.schema import Kind, ManagedObjects
from tenantry.model.spec import Spec
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import Target, connect
from tenantry.presets import load, spec_path

MORE_SCHEMA = """
CREATE TABLE lot (id int PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE FUNCTION mark() RETURNS text LANGUAGE sql AS $$ SELECT 'm' $$; REVOKE EXECUTE ON FUNCTION mark() FROM PUBLIC;
CREATE TABLE move (
  id int PRIMARY KEY, lot_id int NOT NULL REFERENCES lot, order_id bigint REFERENCES "Order", mark text DEFAULT mark()
);
INSERT INTO lot VALUES (1, 'a');
INSERT INTO move SELECT id, 1, id FROM "Order" WHERE code LIKE 'one%';
COMMENT ON INDEX "Order_code_key" IS 'on every invoice';
"""
MORE_SPEC = """
[[table]]
name = "lot"
children = ["move.lot_id"]
[[table]]
name = "move"
paths = [["order_id"], ["lot_id"]]
"""
LONE_TABLE = """
schemas = ["notes"]
[tenant]
table = "tenants"
create = true
default = "everybody"
[application]
role = "app"
[[table]]
name = "note"
assign = {{ csv = "{file}" }}
orphans = "default"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A migrated database and the spec that it was migrated by."""

    database: Database
    spec: Spec

    @property
    def role(self) -> str:
        """The application role."""
        return self.spec.application.role

    @contextmanager
    def session(self) -> Iterator[Session]:
        """The plan and the journal, as every command reads them, by who migrated: another is not believed."""
        owner = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'tenantry'"
        ((user,),) = self.database.rows(owner) or [("postgres",)]
        target = Target(psycopg.conninfo.make_conninfo(self.database.dsn, user=user))
        connection = connect(target, purpose="test")
        try:
            yield Session.begin(target, connection, self.spec)
        finally:
            connection.close()


def of_role(spec: Spec, role: str) -> Spec:
    """The spec with another application role."""
    return spec.model_copy(update={"application": spec.application.model_copy(update={"role": role})})


def preset(name: str, dsn: str) -> Spec:
    """Load a preset as the role that `dsn` names."""
    with psycopg.connect(dsn) as connection:
        load(connection, preset=name, rows=300, seed=1)
    return Spec.read(spec_path(name))


def corners(database: Database, *, legacy: str) -> Spec:
    """The schema of the isolation tests, and more: a legacy role, a table that derives from its
    children, a unique constraint that becomes per-tenant, a
    function that not everybody may call."""
    database.execute(SCHEMA + MORE_SCHEMA)
    database.execute(f'GRANT SELECT ON "Order" TO {legacy}')
    text = SPEC.replace('role = "{role}"', f'role = "app"\nlegacy_roles = ["{legacy}"]')
    text = text.replace("""name = '"Order"'""", """name = '"Order"'\nunique = ["Order_code_key"]""")
    return Spec.parse(text + MORE_SPEC)


def lone_table(database: Database, folder: Path) -> Spec:
    """A table whose owners are in a file, and no tenant table."""
    database.execute("CREATE SCHEMA notes; CREATE TABLE notes.note AS SELECT generate_series(1, 9) AS id")
    database.execute("ALTER TABLE notes.note ADD PRIMARY KEY (id)")
    file = folder / "note.csv"
    file.write_text("id,tenant\n1,everybody\n")
    return Spec.parse(LONE_TABLE.format(file=file))


def everything_default(database: Database) -> Spec:
    """Every row of every table is one tenant's."""
    with connect(Target(database.dsn), purpose="test") as connection:
        schema = read_schema(connection, ("*",), managed=ManagedObjects())
    tables = "\n".join(
        f'[[table]]\nname = {str(table.name)!r}\nassign = {{ tenant = "default" }}'
        for table in schema.tables.values()
        if table.kind is not Kind.FOREIGN and table.partition_of is None and not table.inherits
    )
    return Spec.parse(
        f'schemas = {list(schema.schemas)}\n[tenant]\ntable = "public.tenantry_tenants"\ncreate = true\n'
        f'default = "default"\n[application]\nrole = "app"\n{tables}'
    )


def catalogued(database: Database, tenant_table: str) -> Spec:
    """What discovery proposes, where whatever it leaves open is shared."""
    return discover(database, tenant_table=tenant_table, undecided="shared").spec
