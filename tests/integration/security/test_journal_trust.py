"""A schema `tenantry` that somebody else has made, or may change, is not believed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg.conninfo import make_conninfo

from conftest import Command
from security.journal_attacks import BROKEN, PLANTS
from servers import Database, Server

SHOP = """
CREATE TABLE public.tenants (id int PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO public.tenants VALUES (1, 'a'), (2, 'b');
CREATE TABLE public.stores (id int PRIMARY KEY, tenant int NOT NULL REFERENCES public.tenants);
CREATE TABLE public.lots (id int PRIMARY KEY, store int NOT NULL REFERENCES public.stores, quantity numeric NOT NULL);
INSERT INTO public.stores VALUES (1, 1), (2, 2);
INSERT INTO public.lots VALUES (1, 1, 5), (2, 2, 5);
CREATE SCHEMA evil;
CREATE TABLE evil.loot (who text);
GRANT ALL ON evil.loot TO PUBLIC;
CREATE FUNCTION public.ran() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN INSERT INTO evil.loot VALUES (current_user); RETURN true; END $$;
CREATE FUNCTION public.fired() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO evil.loot VALUES (current_user); RETURN NEW; END $$;
CREATE FUNCTION public.same(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$;
"""
SPEC = """
version = 1
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "stores"
column = "tenant"
paths = [["tenant"]]
[[table]]
name = "lots"
paths = [["store"]]
[[ledger]]
table = "lots"
balance = "balances"
key = ["tenant_id", "store"]
quantity = "quantity"
"""


@pytest.fixture
def shop(template: Callable[..., Database], command: Callable[[str], Command], role: Callable[..., str]) -> Command:
    """The command in a database that has no journal yet."""
    made = command(template("trusting shop", lambda database: database.load(SHOP)).dsn)
    (made.folder / "tenantry.toml").write_text(SPEC.format(role=role(create=False, name="app")))
    return made


@pytest.mark.server
@pytest.mark.differs
def test_what_others_have_put_into_the_journal(shop: Command, server: Server, role: Callable[..., str]) -> None:
    """Each is named with what to do, exit 4, and has not run; once it is away, all is well."""
    mallory = role(name="mallory")
    name = shop.dsn.split("dbname=")[1].split()[0]
    database = Database(server=server, name=name)
    assert shop("migrate", "--until", "expand", "--backup", "none", "--force").status == 0
    for plant, said, remove in PLANTS.values():
        database.execute(plant.format(mallory=mallory) + "; DELETE FROM evil.loot")
        done = shop("status")
        assert done.status == 4, (plant, done)
        assert f"The journal cannot be trusted: {said.format(mallory=mallory)}" in done.stderr, done.stderr
        assert database.rows("SELECT * FROM evil.loot") == []
        database.execute(remove.format(mallory=mallory))
    assert shop("status").status == 0
    for plant in ("trigger", "default"):
        database.execute(PLANTS[plant][0] + "; DELETE FROM evil.loot")
    for words in (
        ["plan"], ["discover", "--output", "d.toml"], ["migrate", "--force"], ["validate"], ["verify"], ["tenants", "list"],
        ["rollback", "--confirm", "--force"], ["fixes", "list"], ["fixes", "undo", "x"], ["backups", "list"], ["backups", "verify"],
        ["backups", "create"], ["backups", "prune"], ["backups", "monitor"], ["balances", "install"], ["balances", "backfill"],
        ["balances", "validate"], ["balances", "reconcile"], ["balances", "review", "list"], ["housekeeping"],
        ["housekeeping", "--purge", "--force"],
    ):  # fmt: skip
        done = shop(*words)
        assert (done.status, "cannot be trusted" in done.stderr) == (4, True), (words, done)
    assert database.rows("SELECT * FROM evil.loot") == []


@pytest.mark.server
def test_a_role_trusts_its_own_journal(shop: Command, server: Server, role: Callable[..., str]) -> None:
    """The database's owner works on by himself; a superuser does not believe him, one who is believed by all."""
    mallory = role("LOGIN CREATEROLE", name="mallory")
    database = Database(server=server, name=shop.dsn.split("dbname=")[1].split()[0])
    database.execute(f"ALTER DATABASE {database.name} OWNER TO {mallory};"
                     f" ALTER TABLE public.tenants OWNER TO {mallory}; ALTER TABLE public.stores OWNER TO {mallory};"
                     f" ALTER TABLE public.lots OWNER TO {mallory}")  # fmt: skip
    theirs = make_conninfo(shop.dsn, user=mallory)
    done = shop("migrate", "--until", "expand", "--backup", "none", "--force", dsn=theirs)
    assert done.status == 0, done
    assert shop("status", dsn=theirs).status == 0
    done = shop("status")
    assert done.status == 4
    assert f"the schema tenantry belongs to {mallory}" in done.stderr


@pytest.mark.server
def test_default_privileges_let_nobody_in(shop: Command, server: Server, role: Callable[..., str]) -> None:
    """Neither on the journal, nor on what is added later; and the tables' owner creates nothing there."""
    other, owner = role(name="other"), role(name="owner")
    database = Database(server=server, name=shop.dsn.split("dbname=")[1].split()[0])
    database.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {other}; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS"
                     f" TO {other}; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {other};"
                     f" ALTER TABLE public.tenants OWNER TO {owner}; ALTER TABLE public.stores OWNER TO {owner};"
                     f" ALTER TABLE public.lots OWNER TO {owner}")  # fmt: skip
    for words in (
        ["migrate", "--until", "enforce", "--force"], ["verify", "--fix-issues", "--backup", "none"], ["balances", "install"],
        ["balances", "backfill"], ["balances", "reconcile"], ["backups", "create"], ["status"],
    ):  # fmt: skip
        done = shop(*words)
        assert done.status == 0, (words, done)
    given = database.rows(
        "SELECT c.relname FROM pg_class c, aclexplode(c.relacl) e"
        f" WHERE c.relnamespace = 'tenantry'::regnamespace AND e.grantee = '{other}'::regrole AND NOT c.relrowsecurity"
    )
    assert given == []
    assert database.rows(
        f"SELECT has_schema_privilege('{other}', 'tenantry', 'USAGE'),"
        f" has_schema_privilege('{owner}', 'tenantry', 'CREATE')"
    ) == [(False, False)]


@pytest.mark.server
def test_broken_rows(shop: Command, server: Server) -> None:
    """Each is one sentence that names the row, exit 4, and no stack of words; put back, all is well."""
    database = Database(server=server, name=shop.dsn.split("dbname=")[1].split()[0])
    assert shop("migrate", "--until", "enforce", "--force").status == 0
    assert shop("verify", "--fix-issues", "--backup", "none").status == 0
    for what, (breaking, said) in BROKEN.items():
        with database.connect(autocommit=True) as connection:
            connection.execute("CREATE TABLE public.kept AS SELECT * FROM tenantry.steps")
            connection.execute("CREATE TABLE public.kept_backups AS SELECT * FROM tenantry.backups")
            connection.execute(breaking)
            command = {"backup": ["backups", "list"], "image": ["fixes", "undo", "r"]}
            for words in (command.get(what.partition("'")[0]) or ["status"],):
                done = shop(*words)
                assert done.status == 4, (what, done)
                assert said in done.stderr, (what, done.stderr)
                assert len(done.stderr.splitlines()) <= 4, done.stderr
            connection.execute(
                "DELETE FROM tenantry.steps; INSERT INTO tenantry.steps OVERRIDING SYSTEM VALUE SELECT * FROM public.kept; DELETE FROM tenantry.backups; INSERT INTO tenantry.backups SELECT * FROM"
                " public.kept_backups; DROP TABLE public.kept, public.kept_backups"
            )
    assert shop("status").status == 0
