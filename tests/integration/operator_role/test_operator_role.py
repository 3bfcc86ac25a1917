"""tenantry runs as a role that is no superuser, made by the script of `operator-sql`, beside a hostile owner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from acceptance.round_trip import checksums
from conftest import Command, Outcome
from daily import daily
from operator_runs import as_operator, assert_no_superuser, hand_over
from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.presets import load, spec_path

pytestmark = pytest.mark.server

Run = Callable[..., Outcome]


def _load(preset: str) -> Callable[[Database], None]:
    def build(database: Database) -> None:
        with database.connect() as connection:
            load(connection, preset=preset, rows=300, seed=1, faults=("negative-stock",))

    return build


class Place:
    """A database that is a hostile owner's, the command on it, and the name of its operator, whom nobody has made."""

    def __init__(self, database: Database, command: Command, application: str, operator: str) -> None:
        self.database = database
        self.owner = hand_over(database)
        self.operator = operator
        self.application = application
        self._command = command
        self.folder = command.folder
        self.major = database.server.major

    def script(self, *arguments: str, spec: bool = True) -> Outcome:
        """What operator-sql prints, asked by the superuser."""
        config = ("--config", "tenantry.toml") if spec else ()
        return self._command("operator-sql", "--role", self.operator, *config, *arguments)

    def make_operator(self) -> None:
        printed = self.script()
        assert printed.status == 0, printed.stderr
        self.database.load(printed.stdout)

    def __call__(self, *arguments: str, status: int | None = 0) -> Outcome:
        """Run a command as the operator."""
        done = self._command(*arguments, dsn=make_conninfo(self.database.dsn, user=self.operator))
        assert status is None or done.status == status, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def execute(self, text: str) -> None:
        """With the names of those concerned in the text's braces."""
        names = {name: getattr(self, name) for name in ("owner", "operator", "application")}
        statement = sql.SQL(text).format(
            database=sql.Identifier(self.database.name), between=sql.Identifier(f"{self.operator} as {self.application}"),
            **{name: sql.Identifier(role) for name, role in names.items()},
        )  # fmt: skip
        self.database.execute(statement.as_string())


@pytest.fixture
def place(
    template: Callable[..., Database], role: Callable[..., str], command: Callable[[str], Command]
) -> Callable[..., Place]:
    """`place("estoque")` is that preset in the hands of a hostile owner."""

    def make(preset: str) -> Place:
        database = template(f"operator {preset}", _load(preset))
        application = role(create=False, name="app")
        made = command(database.dsn)
        text = spec_path(preset).read_text().replace("tenantry_app", application)
        (made.folder / "tenantry.toml").write_text(text)
        return Place(database, made, application, role(create=False, name='the "operator"'))

    return make


@pytest.mark.differs("execution/operator_rights.py")
def test_a_whole_cycle(place: Callable[..., Place]) -> None:
    """There, proved, and back, byte for byte; nothing that the owner laid out was run by a superuser."""
    there = place("estoque")
    there.make_operator()
    there.database.execute("UPDATE estoque_lotes SET status = 'ativo', data_validade = '2000-01-01'")
    dump, rows = there.database.dump(), checksums(there.database)
    there("discover", "--output", "found.toml")
    there("plan")
    there("migrate", "--until", "contract")
    assert there("validate", status=None).stdout.count("Clean") == 1
    there("verify", "--fix-issues", status=None)
    (fixed,) = {fix["run"] for fix in there("fixes", "list", "--json").json["fixes"]}
    there("fixes", "undo", fixed)
    there("status")
    assert there.database.rows(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ) == [(there.owner,)]
    there("rollback", "--confirm")
    assert there.database.dump() == dump
    assert checksums(there.database) == rows
    assert_no_superuser(there.database)


def test_every_other_command(place: Callable[..., Place]) -> None:
    """Backups and their restore, balances, tenants, and the end of the journal."""
    there = place("enterprise")
    there.make_operator()
    dump = there.database.dump()
    there("migrate")
    made = there("backups", "create", "--json").json
    there.database.execute("UPDATE organizations SET name = name || ' changed'")
    there("backups", "restore", made["backup"]["id"], "--force")
    assert there.database.rows("SELECT FROM organizations WHERE name LIKE '% changed'") == []
    there("backups", "verify")
    there("balances", "install")
    there("balances", "backfill")
    there("balances", "validate")
    there("balances", "reconcile")
    there("balances", "remove", "--confirm")
    there("tenants", "add", "another", "--name", "Another")
    there("housekeeping")
    there("rollback", "--confirm")
    there("housekeeping", "--purge")
    assert there.database.dump() == dump
    assert there.database.rows("SELECT FROM pg_namespace WHERE nspname = 'tenantry'") == []
    assert_no_superuser(there.database)


SHUT = """
ALTER DATABASE {database} OWNER TO postgres;
REVOKE ALL ON DATABASE {database} FROM PUBLIC, {owner};
ALTER SCHEMA public OWNER TO postgres;
REVOKE ALL ON SCHEMA public FROM PUBLIC, {owner};
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
"""
"""What is everybody's, or the owner's of a database, and can be taken away: then the script has to grant it."""


def test_what_the_script_grants_is_enough(place: Callable[..., Place]) -> None:
    """Where nothing is everybody's; and a second run of it changes nothing, nor does it then read otherwise."""
    there = place("estoque")
    there.execute(SHUT)
    there.make_operator()
    text, dump, rows = there.script().stdout, there.database.dump(), checksums(there.database)
    there.database.load(text)
    assert there.database.dump() == dump
    assert there.script().stdout == text
    there("migrate", "--until", "contract")
    # What the application can do is tried in a function of its own, which an application seldom needs.
    assert "may not create temporary objects" in there("validate", status=1).stdout
    there.execute("GRANT TEMPORARY ON DATABASE {database} TO {application}")
    there("validate")
    there.execute("REVOKE TEMPORARY ON DATABASE {database} FROM {application}")
    migrated, slug = checksums(there.database), there("tenants", "list", "--json").json["tenants"][0]["slug"]
    there("tenants", "remove", slug, "--confirm", "--output", "kept")
    there("tenants", "import", "kept")
    assert checksums(there.database) == migrated
    there("rollback", "--confirm")
    assert there.database.dump() == dump
    assert checksums(there.database) == rows
    attributes = "rolcanlogin, rolinherit, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    assert there.database.rows(f"SELECT {attributes} FROM pg_roles WHERE rolname = %s", [there.operator]) == [
        (True, True, False, False, False, False, False)
    ]


TAKEN = {
    "membership": ("REVOKE {owner} FROM {operator}", "and is not a member of"),
    "connect": ("REVOKE CONNECT ON DATABASE {database} FROM {operator}", "GRANT CONNECT ON DATABASE"),
    "temporary": ("REVOKE TEMPORARY ON DATABASE {database} FROM {operator}, {owner}", "GRANT TEMPORARY ON DATABASE"),
    "journal": ("REVOKE CREATE ON DATABASE {database} FROM {operator}", "may not create the schema tenantry"),
    "schema": ("REVOKE USAGE ON SCHEMA public FROM {operator}, {owner} CASCADE", "permission denied for schema public"),
    "create": (
        "REVOKE CREATE ON SCHEMA public FROM {operator}",
        "may not create tables and indexes in the schema public",
    ),
    "usage": ("REVOKE GRANT OPTION FOR USAGE ON SCHEMA public FROM {operator}", "use the schema public"),
    "language": ("REVOKE USAGE ON LANGUAGE plpgsql FROM {operator}", "may not use the language plpgsql"),
    "application": ("DROP ROLE {application}", "may not create the application role"),
    "inherit": ("REVOKE INHERIT OPTION FOR {owner} FROM {operator}", "and is not a member of"),
    "set": ("REVOKE SET OPTION FOR {owner} FROM {operator}", "and is not a member of"),
}
SINCE_16 = ("inherit", "set")


@pytest.mark.parametrize(
    "right",
    daily([pytest.param(right, marks=pytest.mark.pg(">= 16") if right in SINCE_16 else ()) for right in TAKEN], 4),
)
def test_each_right_is_missed(place: Callable[..., Place], right: str) -> None:
    """Without it: exit status 3, a sentence that names it, and nothing is changed."""
    there = place("estoque")
    there.execute(SHUT)
    there.make_operator()
    taken, sentence = TAKEN[right]
    there.execute(taken)
    dump, rows = there.database.dump(), checksums(there.database)
    done = there("migrate", "--until", "contract", status=3)
    assert sentence in done.stderr
    assert there.database.dump() == dump
    assert checksums(there.database) == rows
    assert there.database.rows("SELECT FROM pg_namespace WHERE nspname = 'tenantry'") == []


def test_to_become_the_application_is_missed(place: Callable[..., Place]) -> None:
    """By validate, which names the grant; all else it has asked."""
    there = place("estoque")
    there.make_operator()
    there("migrate")
    there.execute("REVOKE {application} FROM {operator}" if there.major >= 16 else "REVOKE {between} FROM {operator}")
    found = there("validate", "--json", status=1).json
    (missed,) = [finding for finding in found["findings"] if finding["severity"] != "info"]
    assert missed["name"] == "experiment-not-tried"
    assert "GRANT" in missed["remedy"]


def test_without_a_spec_it_is_for_discover(place: Callable[..., Place]) -> None:
    """The operator then reads, and no more."""
    there = place("estoque")
    there.execute(SHUT)
    (there.folder / "tenantry.toml").rename(there.folder / "spec.toml")
    there.database.load(there.script(spec=False).stdout)
    there("discover", "--output", "found.toml")
    there("plan", "--config", "spec.toml")
    there("status", "--config", "spec.toml")
    there("migrate", "--config", "spec.toml", status=3)


def test_as_json(place: Callable[..., Place]) -> None:
    """Each statement with its reason; the script as it is printed."""
    there = place("estoque")
    found, printed = there.script("--json").json, there.script().stdout
    assert found["script"] == printed
    assert found["role"] == there.operator
    assert all(right["why"] and right["sql"] in printed.replace("\n-- ", "\n") for right in found["rights"])


ODD = "o'p \"$tenantry$ \\\n\\! true :name;--"


def test_names_stay_names(place: Callable[..., Place]) -> None:
    """Quotes, dollars, new lines and psql's own signs in a role's name."""
    there = place("estoque")
    there.operator = f"{ODD}{there.operator[-8:]}"
    there.make_operator()
    there("plan")
    assert there.database.rows("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [there.operator]) == [(False,)]


def test_no_operator_is_made_of_a_superuser(place: Callable[..., Place]) -> None:
    """Nor of the application; and not where it would be a member of a superuser."""
    there = place("estoque")
    for name, sentence in (("postgres", "is a superuser"), (there.application, "is a role of the application")):
        there.operator = name
        refused = there.script()
        assert (refused.status, refused.stdout) == (2, "")
        assert sentence in refused.stderr
    there.operator = "nobody"
    there.database.execute("ALTER TABLE escolas OWNER TO postgres")
    refused = there.script()
    assert (refused.status, refused.stdout) == (4, "")
    assert "postgres owns public.escolas" in refused.stderr


def test_goes_on_with_keys_of_a_domain(database: Database, role: Callable[..., str], tmp_path: Path) -> None:
    """A later run finds what an earlier one has put into the schema tenantry, which the owner may not look into; and the
    keys of the owner's tenants are of a type of his."""
    database.execute("""
        CREATE DOMAIN key AS int CHECK (VALUE > 0);
        CREATE TABLE tenants (id key PRIMARY KEY, slug text UNIQUE NOT NULL, name text NOT NULL);
        INSERT INTO tenants VALUES (1, 'a', 'A'), (2, 'b', 'B');
        CREATE TABLE shops (id int PRIMARY KEY);
        INSERT INTO shops VALUES (1), (2);
    """)
    (tmp_path / "shops.csv").write_text("id,tenant\n1,a\n2,b\n")
    (tmp_path / "tenantry.toml").write_text(
        f'[tenant]\ntable = "tenants"\n[application]\nrole = "{role(create=False)}"\n'
        '[[table]]\nname = "shops"\nassign = { csv = "shops.csv" }\n'
    )
    spec = Spec.read(tmp_path / "tenantry.toml")
    hand_over(database)
    target = as_operator(database, spec, role(create=False, name="operator"))
    migrate(target, spec, MigrateOptions(until=Phase.EXPAND))
    migrate(target, spec, MigrateOptions(until=Phase.CONTRACT))
    assert database.rows("SELECT id, tenant_id FROM shops ORDER BY id") == [(1, 1), (2, 2)]
    assert_no_superuser(database)
