"""A depot between isolate and contract, where every kind of trigger of ours stands, and who may attack it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

OWNER, APPLICATION, LEGACY = "depot_owner", "depot_app", "depot_legacy"
# Lots, boxes and bins belong to whom their moves belong; boxes by a key that is deferred, bins by one that falls back.
# A tag without a tenant is everybody's. Whoever changes a lot leaves a line in the log, and a new version.
SCHEMA = f"""
SET ROLE {OWNER};
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south'), (3, 'east');
CREATE TABLE shops (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE lots (id integer PRIMARY KEY, note text, version integer NOT NULL DEFAULT 0);
CREATE TABLE boxes (id integer PRIMARY KEY);
CREATE TABLE bins (id integer PRIMARY KEY);
CREATE TABLE tags (id integer PRIMARY KEY);
CREATE TABLE alerts (id integer PRIMARY KEY, lot_id integer NOT NULL REFERENCES lots ON UPDATE CASCADE, note text);
CREATE TABLE moves (id integer PRIMARY KEY, shop_id integer REFERENCES shops,
  lot_id integer REFERENCES lots ON UPDATE CASCADE DEFERRABLE, box_id integer REFERENCES boxes DEFERRABLE INITIALLY DEFERRED,
  bin_id integer DEFAULT 2 REFERENCES bins ON DELETE SET DEFAULT, tag_id integer REFERENCES tags, note text);
CREATE TABLE log (what text);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.version := OLD.version + 1; RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON lots FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO log VALUES (TG_TABLE_NAME || NEW.id); RETURN NULL; END';
CREATE TRIGGER note AFTER UPDATE ON lots FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER UPDATE ON alerts FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO shops VALUES (1, 1), (2, 2), (3, 3);
INSERT INTO lots VALUES (1), (2);
INSERT INTO boxes VALUES (1), (2);
INSERT INTO bins VALUES (1), (2);
INSERT INTO tags VALUES (1), (9);
INSERT INTO alerts VALUES (1, 1, 'of north'), (2, 2, 'of south');
INSERT INTO moves VALUES (1, 1, 1, 1, 1, 1), (2, 2, 2, 2, 2, NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {LEGACY};
RESET ROLE;
"""
SPEC = f"""
[tenant]
table = "tenants"
[application]
role = "{APPLICATION}"
legacy_roles = ["{LEGACY}"]
[[table]]
name = "shops"
paths = [["tenant_id"]]
[[table]]
name = "lots"
children = ["moves.lot_id"]
[[table]]
name = "boxes"
children = ["moves.box_id"]
[[table]]
name = "bins"
children = ["moves.bin_id"]
[[table]]
name = "tags"
children = ["moves.tag_id"]
orphans = "shared"
[[table]]
name = "alerts"
paths = [["lot_id"]]
[[table]]
name = "moves"
paths = [["shop_id"], ["lot_id"], ["box_id"], ["bin_id"], ["tag_id"]]
[[table]]
name = "log"
shared = true
"""
# What the tenants have is without moves now; 3 and 4 wait for theirs.
AFTERWARDS = f"""
INSERT INTO lots VALUES (20, 'of south', 0, 2), (21, 'of south', 0, 2), (3, 'waits', 0, NULL), (4, 'waits', 0, NULL);
INSERT INTO alerts (id, lot_id, note, tenant_id) VALUES (20, 20, 'of south', 2);
INSERT INTO boxes VALUES (20, 2);
GRANT INSERT ON log TO {APPLICATION};
TRUNCATE log;
"""


def build(database: Database) -> None:
    """Migrated until isolate; its roles stay on the server."""
    with database.connect() as connection:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        for name in (OWNER, APPLICATION, LEGACY):
            if name not in known:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(OWNER)))
    database.execute(SCHEMA)
    migrate(Target(database.dsn), Spec.parse(SPEC), MigrateOptions(until=Phase.ISOLATE, force=True))
    database.execute(AFTERWARDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depot:
    database: Database

    @contextmanager
    def session(self, user: str, tenant: int | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A transaction of a role that logs in as itself; `tenant` is the one that it names."""
        with self.database.connect(user=user) as connection:
            if tenant is not None:
                connection.execute(f"SET LOCAL app.tenant_id = '{tenant}'")
            yield connection

    def refuses(self, user: str, tenant: int | None, statements: str) -> None:
        """They break a foreign key or a policy, at the latest when they commit."""
        refused = (psycopg.errors.IntegrityError, psycopg.errors.InsufficientPrivilege)
        with self.session(user, tenant) as session, pytest.raises(refused):
            session.execute(f"{statements}; COMMIT")

    def tenants(self, table: str, *ids: int) -> list[int | None]:
        """Those of the rows with these keys."""
        return self.tenants_in(None, table, *ids)

    def tenants_in(self, session: psycopg.Connection[Any] | None, table: str, *ids: int) -> list[int | None]:
        """The same, as a session sees it that has not committed."""
        query = f"SELECT tenant_id FROM {table} WHERE id IN ({', '.join(map(str, ids))}) ORDER BY id"
        rows: Sequence[tuple[Any, ...]]
        rows = self.database.rows(query) if session is None else session.execute(query).fetchall()
        return [tenant for (tenant,) in rows]

    def versions(self, *ids: int) -> list[int]:
        """How often these lots were changed by anything but us."""
        rows = self.database.rows(f"SELECT version FROM lots WHERE id IN ({', '.join(map(str, ids))}) ORDER BY id")
        return [version for (version,) in rows]
