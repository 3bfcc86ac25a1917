"""tenantry keys: made, listed, revoked and rotated; what the application sees of them, and what goes with a rollback."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from conftest import Command
from servers import Database
from tenantry import (
    InspectionOptions,
    MigrateOptions,
    RollbackOptions,
    create_key,
    list_keys,
    migrate,
    revoke_key,
    rollback,
    rotate_key,
    validate,
)
from tenantry.errors import Refused, UsageError
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.steps.api_keys import TENANTS_TRIGGER, TRUNCATE_TRIGGER

pytestmark = pytest.mark.server

APPLICATION = "keys_app"
SCHEMA = """
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south');
CREATE TABLE orders (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
INSERT INTO orders VALUES (1, 1), (2, 2);
"""
SPEC = f"""
version = 1
[tenant]
table = "tenants"
[application]
role = "{APPLICATION}"
api_keys = true
[[table]]
name = "orders"
paths = [["tenant_id"]]
"""
WITH_KEYS = Spec.parse(SPEC)
WITHOUT = Spec.parse(SPEC.replace("api_keys = true\n", ""))
OPTIONS = MigrateOptions(backup=BackupKind.NONE, force=True)


def build_plain(database: Database) -> None:
    database.execute(SCHEMA)


def build(database: Database) -> None:
    """Its role stays on the server."""
    build_plain(database)
    migrate(Target(database.dsn), WITH_KEYS, OPTIONS)


@pytest.fixture
def keyed(template: Callable[..., Database]) -> Database:
    """A copy of a database that was migrated, and keeps API keys."""
    return template("with keys", build)


def target(database: Database) -> Target:
    return Target(database.dsn)


def make(database: Database, slug: str = "north", **more: Any) -> tuple[str, str]:
    """A new key, and the part by which it is looked up."""
    made = create_key(target(database), WITH_KEYS, slug, "till", **more)
    return made.secret, made.key.lookup


def looked_up(database: Database, *arguments: Any, read_only: bool = False) -> list[tuple[Any, ...]]:
    """As the application looks a key up."""
    with database.connect() as connection, connection.transaction():
        connection.execute(f"SET LOCAL ROLE {APPLICATION}")
        if read_only:
            connection.execute("SET TRANSACTION READ ONLY")
        marks = ", ".join(["%s"] * len(arguments))
        return connection.execute(
            f"SELECT hash, tenant, scopes, ends_at FROM tenantry.api_key({marks})", arguments
        ).fetchall()


def hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


# -- Their life


def test_the_command(keyed: Database, command: Callable[[str], Command]) -> None:
    """A key is shown once: it is in no log, no report, no table, and nothing else is on standard output."""
    shop = command(keyed.dsn)
    (shop.folder / "tenantry.toml").write_text(SPEC)
    made = shop("keys", "create", "north", "--name", "till", "--expires", "90d", "--quiet")
    secret = made.stdout.strip()
    assert (made.status, secret[:3], len(secret)) == (0, "tk_", 58), made.stderr
    assert keyed.rows(
        "SELECT lookup, hash, tenant, name, scopes, ends_at - created_at = interval '90 days' FROM tenantry.api_keys"
    ) == [(secret[3:11], hashed(secret), "1", "till", ["read", "write"], True)]
    rotated = shop("keys", "rotate", secret[3:11], "--overlap", "30m", "--json")
    assert rotated.json["key"]["tenant"] == "1"
    assert shop("keys", "revoke", f"tk_{rotated.json['key']['lookup']}").status == 0
    listed = shop("keys", "list", "--tenant", "north")
    assert (listed.status, "replaced by tk_" in listed.stdout, "1 active of 2 keys" in listed.stdout) == (0, True, True)
    refused = shop("keys", "create", "north", "--name", "x", "--expires", "soon")
    assert (refused.status, "not a duration" in refused.stderr) == (2, True)
    files = [path for path in shop.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    for key in (secret, rotated.json["secret"]):
        assert not any(key.encode() in path.read_bytes() for path in files)
        assert not any(key in outcome.stderr for outcome in (made, rotated))
        assert key not in str(keyed.rows("SELECT r.*, e.* FROM tenantry.runs r, tenantry.events e"))
    assert keyed.rows("SELECT command, exit_status FROM tenantry.runs WHERE command LIKE 'keys%' ORDER BY started_at") == [
        ("keys create", 0), ("keys rotate", 0), ("keys revoke", 0),
    ]  # fmt: skip


def test_life_of_a_key(keyed: Database) -> None:
    _, lookup = make(keyed)
    _, reader = make(keyed, scopes=["read"])
    _, other = make(keyed, "south")
    listed = list_keys(target(keyed), WITH_KEYS, slug="north")
    assert [(key.lookup, key.slug, key.scopes, key.active) for key in listed] == [
        (lookup, "north", ["read", "write"], True), (reader, "north", ["read"], True)
    ]  # fmt: skip
    assert revoke_key(target(keyed), lookup, dry_run=True).active
    assert not revoke_key(target(keyed), lookup).active
    ended = keyed.rows("SELECT ends_at FROM tenantry.api_keys ORDER BY ends_at LIMIT 1")
    assert not revoke_key(target(keyed), f"tk_{lookup}").active
    assert keyed.rows("SELECT ends_at FROM tenantry.api_keys ORDER BY ends_at LIMIT 1") == ended
    active = {key.lookup: key.active for key in list_keys(target(keyed), WITH_KEYS)}
    assert active == {lookup: False, reader: True, other: True}


def test_none_is_good_for_a_later_tenant(keyed: Database) -> None:
    """A tenant's keys end with it, and where its key changes, whatever its table and key are called by then."""
    theirs, lookup = make(keyed)
    _, other = make(keyed, "south")
    keyed.execute("UPDATE tenants SET id = id, slug = slug || '!'")
    assert looked_up(keyed, lookup)[0][3] is None
    keyed.execute("ALTER TABLE tenants RENAME id TO number; ALTER TABLE tenants RENAME TO firms")
    keyed.execute("DELETE FROM orders; UPDATE firms SET number = 3, slug = 'moved' WHERE number = 2")
    keyed.execute("DELETE FROM firms WHERE number = 1")
    keyed.execute("INSERT INTO firms VALUES (1, 'another'), (2, 'a third')")
    found = keyed.rows("SELECT lookup, tenant, ends_at <= now() FROM tenantry.api_keys ORDER BY created_at")
    assert found == [(lookup, "1", True), (other, "2", True)]
    ((_, _, _, ended),) = looked_up(keyed, lookup, hashed(theirs))
    assert ended is not None


def test_truncate_ends_all(keyed: Database) -> None:
    lookups = [make(keyed, slug)[1] for slug in ("north", "south")]
    keyed.execute("TRUNCATE tenants CASCADE; INSERT INTO tenants VALUES (1, 'another')")
    assert [looked_up(keyed, lookup)[0][3] is not None for lookup in lookups] == [True, True]


def test_the_owner_of_tenants_lends_itself_no_rights(keyed: Database) -> None:
    """Whoever owns the tenant table gives its key a type with a cast of their own; what deletes a tenant runs none."""
    _, lookup = make(keyed)
    keyed.execute("""
        DELETE FROM orders; ALTER TABLE orders DROP CONSTRAINT orders_tenant_id_fkey CASCADE;
        CREATE TYPE number AS ENUM ('1', '2');
        CREATE FUNCTION seen(number) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'run as %', current_user; END$$;
        CREATE CAST (number AS text) WITH FUNCTION seen(number);
    """)
    drop = keyed.rows(
        "SELECT format('DROP POLICY %I ON tenants', polname) FROM pg_policy WHERE polrelid = 'tenants'::regclass"
    )
    keyed.execute("; ".join(text for (text,) in drop) + '; DROP TRIGGER "~tenantry_keys" ON tenants')
    keyed.execute("""
        ALTER TABLE tenants ALTER id TYPE number USING format('%s', id)::number;
        CREATE TRIGGER "~tenantry_keys" AFTER DELETE OR UPDATE OF id ON tenants
          FOR EACH ROW EXECUTE FUNCTION tenantry.api_key_tenants();
        DELETE FROM tenants WHERE slug = 'north'
    """)
    assert looked_up(keyed, lookup)[0][3] is not None


def test_rotation(keyed: Database) -> None:
    """The new one has what the old one had, and that is good until the overlap is over, never longer than before."""
    _, old = make(keyed, scopes=["read"], lifetime=timedelta(hours=2))
    assert rotate_key(target(keyed), old, dry_run=True).secret == ""
    new = rotate_key(target(keyed), old, overlap=timedelta(minutes=30)).key
    assert (new.tenant, new.name, new.scopes, new.lifetime) == ("1", "till", ["read"], timedelta(hours=2))
    ends = "SELECT replaced_by, ends_at - now() < interval {} FROM tenantry.api_keys WHERE lookup = {}"
    assert keyed.rows(ends.format("'30 minutes'", f"'{old}'")) == [(new.lookup, True)]
    with pytest.raises(Refused, match=f"already rotated to {new.lookup}"):
        rotate_key(target(keyed), old)
    newest = rotate_key(target(keyed), new.lookup).key
    assert keyed.rows(ends.format("'2 hours'", f"'{new.lookup}'")) == [(newest.lookup, True)]
    revoke_key(target(keyed), newest.lookup)
    with pytest.raises(Refused, match="has expired or was revoked"):
        rotate_key(target(keyed), newest.lookup)


def test_bad_input(keyed: Database) -> None:
    """One sentence, and nothing is made."""
    database = target(keyed)
    for call, said in (
        (lambda: create_key(database, WITH_KEYS, "nord", "x"), 'did you mean "north"'),
        (lambda: create_key(database, WITH_KEYS, "north", " "), "no name"),
        (lambda: create_key(database, WITH_KEYS, "north", "x", scopes=["admin"]), "'admin' is not a scope"),
        (lambda: create_key(database, WITH_KEYS, "north", "x", scopes=[]), "'' is not a scope"),
        (lambda: create_key(database, WITH_KEYS, "north", "x", lifetime=timedelta(0)), "more than zero"),
        (lambda: revoke_key(database, "x"), "is not a key"),
        (lambda: revoke_key(database, "zzzzzzzz"), "The key zzzzzzzz does not exist"),
        (lambda: rotate_key(database, "tk_zzzzzzzz"), "The key zzzzzzzz does not exist"),
        (lambda: list_keys(database, WITH_KEYS, slug="nobody"), "The tenant 'nobody' does not exist"),
    ):
        with pytest.raises(UsageError) as raised:
            call()  # type: ignore[no-untyped-call]
        assert said in str(raised.value)
    create_key(database, WITH_KEYS, "north", "x", dry_run=True)
    assert keyed.rows("SELECT count(*) FROM tenantry.api_keys") == [(0,)]


# -- What the application sees


def test_the_application_looks_one_up(keyed: Database) -> None:
    """By its lookup part alone; it sees no other key, and neither reads nor writes the table."""
    secret, lookup = make(keyed)
    make(keyed, "south")
    assert looked_up(keyed, lookup) == [(hashed(secret), "1", ["read", "write"], None)]
    for strange in ("", "%", "________", lookup[:-1], lookup.swapcase(), "' OR true --", None):
        assert looked_up(keyed, strange) == []
    for statement in (
        "SELECT 1 FROM tenantry.api_keys",
        "UPDATE tenantry.api_keys SET ends_at = NULL",
        "DELETE FROM tenantry.api_keys",
    ):
        with keyed.connect() as connection:
            connection.execute(f"SET ROLE {APPLICATION}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert keyed.rows(
        "SELECT prosecdef, proconfig, (SELECT bool_or(grantee = 0) FROM aclexplode(proacl)) FROM pg_proc WHERE proname = 'api_key'"
    ) == [(True, ["search_path=pg_catalog, pg_temp"], False)]


def test_last_use(keyed: Database) -> None:
    """Noted where the key itself was presented, at most once a minute, never in a read-only transaction, and without
    waiting for whoever holds the row."""
    secret, lookup = make(keyed)
    presented = hashed(secret)

    def used() -> Any:
        return keyed.rows("SELECT last_used_at FROM tenantry.api_keys")[0][0]

    looked_up(keyed, lookup)
    looked_up(keyed, lookup, b"guessed")
    assert len(looked_up(keyed, lookup, presented, read_only=True)) == 1
    assert used() is None
    with keyed.connect() as holding, holding.transaction():
        holding.execute("SELECT FROM tenantry.api_keys FOR UPDATE")
        assert len(looked_up(keyed, lookup, presented)) == 1
    assert used() is None
    looked_up(keyed, lookup, presented)
    first = used()
    assert first is not None
    looked_up(keyed, lookup, presented)
    assert used() == first
    keyed.execute("UPDATE tenantry.api_keys SET last_used_at = now() - interval '2 minutes'")
    looked_up(keyed, lookup, presented)
    assert used() > first
    revoke_key(target(keyed), lookup)
    keyed.execute("UPDATE tenantry.api_keys SET last_used_at = NULL")
    looked_up(keyed, lookup, presented)
    assert used() is None


def test_temporary_tables_do_not_stand_before_ours(keyed: Database) -> None:
    """A session's own objects are not what the function reads."""
    with keyed.connect() as connection:
        connection.execute(
            "CREATE TEMP TABLE api_keys (lookup text, hash bytea, tenant text, scopes text[], ends_at timestamptz)"
        )
        connection.execute("INSERT INTO api_keys VALUES ('aaaaaaaa', '', '1', '{}', NULL)")
        connection.execute(f"GRANT ALL ON api_keys TO {APPLICATION}; SET ROLE {APPLICATION}")
        assert connection.execute("SELECT * FROM tenantry.api_key('aaaaaaaa')").fetchall() == []


# -- The step


def test_there_and_back(template: Callable[..., Database]) -> None:
    """A rollback leaves nothing; --preserve-data keeps the keys, which end with their tenant meanwhile, and the
    application may look none up."""
    database = template("without keys", build_plain)
    before = database.dump()
    migrate(target(database), WITHOUT, OPTIONS)
    with pytest.raises(UsageError, match="has no API keys"):
        make(database)
    migrate(target(database), WITH_KEYS, OPTIONS)
    _, lookup = make(database)
    _, other = make(database, "south")
    kept = rollback(target(database), RollbackOptions(preserve_data=True, backup=BackupKind.NONE, force=True))
    assert not kept.findings
    assert database.rows("SELECT count(*) FROM tenantry.api_keys") == [(2,)]
    assert not usable(database, APPLICATION)
    database.execute(
        "DELETE FROM orders WHERE id = 2; DELETE FROM tenants WHERE id = 2; INSERT INTO tenants VALUES (2, 'south'); INSERT INTO orders VALUES (2, 2)"
    )
    migrate(target(database), WITH_KEYS, OPTIONS)
    assert [looked_up(database, key)[0][3] is None for key in (lookup, other)] == [True, False]
    rollback(target(database), RollbackOptions(backup=BackupKind.NONE, force=True))
    assert database.rows("SELECT to_regclass('tenantry.api_keys'), to_regproc('tenantry.api_key')") == [(None, None)]
    assert not usable(database, APPLICATION)
    assert database.dump() == before


def usable(database: Database, role: str) -> bool:
    """Whether a role may use the schema in which the function is."""
    found = database.rows(
        f"SELECT has_schema_privilege(oid, 'tenantry', 'usage') FROM pg_roles WHERE rolname = '{role}'"
    )
    return found == [(True,)]


def test_validate_knows_them(keyed: Database) -> None:
    """They are a part of the migration; a function that somebody has changed is a finding, and so is one that is gone."""

    def names() -> set[str]:
        return {finding.name for finding in validate(target(keyed), WITH_KEYS, InspectionOptions()).findings}

    clean = names()
    assert not clean & {"altered", "not-in-force", "table-open", "spec-changed", "definer-function"}
    keyed.execute("ALTER FUNCTION tenantry.api_key(text, bytea) RESET search_path")
    assert "altered" in names()
    keyed.execute("DROP FUNCTION tenantry.api_key(text, bytea)")
    assert "not-in-force" in names()
    migrate(target(keyed), WITH_KEYS, OPTIONS)
    assert names() == clean
    for trigger in (TENANTS_TRIGGER, TRUNCATE_TRIGGER):
        keyed.execute(f'ALTER TABLE tenants DISABLE TRIGGER "{trigger}"')
        assert "not-in-force" in names()
        migrate(target(keyed), WITH_KEYS, OPTIONS)
        assert names() == clean


def test_keys_are_not_lost_by_an_edit(keyed: Database) -> None:
    """A spec that asks for none any more takes them away with --force only."""
    make(keyed)
    with pytest.raises(Refused, match="1 would be dropped"):
        migrate(target(keyed), WITHOUT, MigrateOptions(backup=BackupKind.NONE))
    assert keyed.rows("SELECT count(*) FROM tenantry.api_keys") == [(1,)]
    migrate(target(keyed), WITHOUT, OPTIONS)
    assert keyed.rows("SELECT to_regclass('tenantry.api_keys')") == [(None,)]


def test_another_application_role(keyed: Database, role: Callable[..., str]) -> None:
    """The keys stay, the new one may look them up, and the old one no more."""
    _, lookup = make(keyed)
    new = role(name="other")
    migrate(target(keyed), Spec.parse(SPEC.replace(APPLICATION, new)), OPTIONS)
    assert usable(keyed, new)
    assert not usable(keyed, APPLICATION)
    with keyed.connect() as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(new)))
        assert len(connection.execute("SELECT FROM tenantry.api_key(%s)", [lookup]).fetchall()) == 1
