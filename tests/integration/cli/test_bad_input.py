"""Bad input: one clear message, the right exit status, nothing changed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from psycopg.conninfo import make_conninfo

from conftest import ROOT, Command, Outcome
from servers import Database, Server

COMMANDS = (("migrate",), ("conflicts",), ("plan",), ("migrate", "--dry-run"))


def assert_refused(outcome: Outcome, status: int, *words: str) -> None:
    """It ended with `status`, and said all of `words` on standard error, without a traceback."""
    assert outcome.status == status, outcome.stderr
    assert "Traceback" not in outcome.stderr + outcome.stdout
    assert outcome.stderr.startswith("tenantry: ")
    for word in words:
        assert word in outcome.stderr


@pytest.fixture
def unchanged(estoque: Database) -> Callable[[], None]:
    """Call it at the end: the schema is what it was, and there is no journal."""
    before = estoque.dump()

    def check() -> None:
        assert estoque.dump() == before
        assert estoque.rows("SELECT to_regnamespace('tenantry')") == [(None,)]

    return check


@pytest.mark.parametrize("arguments", COMMANDS)
def test_unreachable_server(shop: Command, arguments: tuple[str, ...]) -> None:
    """Nobody listens: exit 3, and the password is told to nobody."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        dsn = f"postgresql://maria:s3cr3t@127.0.0.1:{held.getsockname()[1]}/shop"
        outcome = shop(*arguments, "--dsn", dsn)
    assert_refused(outcome, 3, "Cannot connect", "127.0.0.1", "What to do")
    assert "s3cr3t" not in outcome.stderr + "".join(path.read_text() for path in shop.folder.rglob("*.log"))


def test_unresolvable_host(shop: Command) -> None:
    """A host that there is not: exit 3."""
    outcome = shop("status", dsn="postgresql://nobody.invalid/shop", environment={"PGCONNECT_TIMEOUT": "3"})
    assert_refused(outcome, 3, "Cannot connect", "nobody.invalid")


def test_wrong_password(
    shop: Command, crashable: Server, unchanged: Callable[[], None], command: Callable[[str], Command]
) -> None:
    """Exit 3; neither the wrong password nor the DSN that holds it is shown."""
    crashable.execute("CREATE ROLE maria LOGIN PASSWORD 'right'")
    hba = crashable.cluster.data / "pg_hba.conf"
    hba.write_text("local all maria scram-sha-256\nlocal all all trust\n")
    crashable.execute("SELECT pg_reload_conf()")
    outcome = shop("migrate", dsn=make_conninfo(crashable.dsn(), user="maria", password="wr0ng-one"))
    assert_refused(outcome, 3, "password authentication failed", "check the user and the password".capitalize())
    assert "wr0ng-one" not in outcome.stderr + "".join(path.read_text() for path in shop.folder.rglob("*.log"))


@pytest.mark.parametrize(
    ("dsn", "status"),
    [
        ("postgresql://maria:s3cr3t@[host/shop", 2),
        ("host=shop password='s3cr3t", 2),
        ("host=shop pasword=s3cr3t", 2),
        ("postgresql://maria:s3cr3t/more@host:1/shop", 3),
    ],
)
def test_malformed_dsn(shop: Command, dsn: str, status: int) -> None:
    """What cannot be read, or is read amiss, may be the password, and is not shown."""
    outcome = shop("status", dsn=dsn)
    assert outcome.status == status, outcome.stderr
    assert "s3cr3t" not in outcome.stderr + outcome.stdout
    assert "s3cr3t" not in shop("status", "--json", dsn=dsn).stdout


def test_unknown_table(shop: Command, unchanged: Callable[[], None]) -> None:
    """A table that the database has not: exit 2, with the nearest name."""
    edit(shop, 'name   = "usuarios"', 'name   = "usuario"')
    assert_refused(shop("migrate"), 2, "usuario", 'did you mean "public.usuarios"', "tenantry.toml")
    unchanged()


def test_table_that_is_there_twice(shop: Command, unchanged: Callable[[], None]) -> None:
    """Two parts about one table, however it is written: exit 2, not the last of them taken; validate names it."""
    with (shop.folder / "tenantry.toml").open("a") as spec:
        spec.write('[[table]]\nname = "public.usuarios"\nshared = true\n')
    assert_refused(shop("migrate"), 2, "tenantry.toml", "'public.usuarios'", "has two entries")
    found = shop("validate", "--json").json["findings"]
    assert [one["name"] for one in found if "has two entries" in one["message"]] == ["spec-does-not-fit"]
    unchanged()


def test_role_without_the_right_to_alter(
    shop: Command, estoque: Database, role: Callable[..., str], unchanged: Callable[[], None]
) -> None:
    """A role that may only read and write rows: exit 3, naming what it lacks."""
    clerk = role("LOGIN")
    estoque.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{clerk}"')
    before = estoque.dump()
    outcome = shop("migrate", dsn=make_conninfo(estoque.dsn, user=clerk))
    assert_refused(outcome, 3, clerk, "What to do")
    assert estoque.dump() == before
    assert estoque.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_role_that_may_not_even_read(shop: Command, estoque: Database, role: Callable[..., str]) -> None:
    """A role without any privilege: exit 3."""
    stranger = role("LOGIN")
    for arguments in (("migrate",), ("tenants", "list")):
        assert_refused(shop(*arguments, dsn=make_conninfo(estoque.dsn, user=stranger)), 3)


def test_postgresql_13(shop: Command, server_13: Server) -> None:
    """A server that is too old: exit 3, and which it may be."""
    assert_refused(shop("migrate", dsn=server_13.dsn()), 3, "PostgreSQL 13", "PostgreSQL 14 or newer")


def test_empty_database(shop: Command, database: Database) -> None:
    """Exit 2: nothing that the spec names is there."""
    assert_refused(shop("migrate", dsn=database.dsn), 2, "does not exist")
    assert_refused(shop("discover", dsn=database.dsn), 2, "contains no table")
    assert database.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_spec_for_another_database(shop: Command, unchanged: Callable[[], None]) -> None:
    """Exit 2: the tables that it names are not here."""
    for arguments in COMMANDS:
        assert_refused(shop(*arguments, "--preset", "enterprise"), 2, "the table public.users does not exist")
    unchanged()


def test_tenant_column_of_the_wrong_type(shop: Command, estoque: Database) -> None:
    """A column of that name is there, and is no tenant: exit 2, with both types."""
    estoque.execute("ALTER TABLE usuarios ADD COLUMN tenant_id integer")
    before = estoque.dump()
    assert_refused(shop("migrate"), 2, "usuarios", "tenant_id", "integer", "uuid")
    assert estoque.dump() == before


def test_undecided_table(shop: Command, unchanged: Callable[[], None]) -> None:
    """A table that the spec does not name: exit 4, and where to decide; a dry run says so and exits 4, too."""
    edit(shop, '[[table]]\nname   = "produtos"\nshared = true\n', "")
    assert_refused(shop("migrate"), 4, "public.produtos", "undecided", "tenantry.toml")
    dry = shop("migrate", "--dry-run")
    assert dry.status == 4
    assert "would refuse" in dry.stdout
    unchanged()


def test_errors_as_json(shop: Command) -> None:
    """With --json an error is the one document on standard output, wherever the option stands."""
    for arguments in (("--json", "migrate"), ("migrate", "--json")):
        outcome = shop(*arguments, "--preset", "nothing")
        assert outcome.status == 2
        assert outcome.stderr == ""
        assert outcome.json["exit_status"] == 2
        assert "nothing" in outcome.json["error"]["message"]
        assert outcome.json["error"]["remedy"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("migrate", "--until", "nowhere"), "'--until': 'nowhere' is not one of 'expand'"),
        (("validate", "--table", "escola"), 'did you mean "public.escolas"'),
        (("rollback", "--table", "escola"), "status"),
        (("sample", "estoqe"), 'did you mean "estoque"'),
        (("sample", "estoque", "--faults", "orphan"), 'did you mean "orphans"'),
    ],
)
def test_wrong_usage(shop: Command, arguments: tuple[str, ...], words: str) -> None:
    """Exit 2 and what would be right, in both forms; what is not built yet is not taken for an option."""
    assert_refused(shop(*arguments), 2, words)
    document = json.loads(shop(*arguments, "--json").stdout)
    assert document["exit_status"] == 2
    assert words in document["error"]["message"] + document["error"]["remedy"] + str(document["error"]["details"])


def test_log_folder_that_cannot_be_written(shop: Command, unchanged: Callable[[], None]) -> None:
    """No log, no migration: exit 2 before anything is changed."""
    (shop.folder / "logs").write_text("a file")
    assert_refused(shop("migrate"), 2, "log", "--log-dir")
    unchanged()


def edit(shop: Command, old: str, new: str) -> None:
    """Change the spec."""
    path = shop.folder / "tenantry.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_name_that_the_database_cannot_say(server: Server, command: Callable[[str], Command]) -> None:
    """A slug with characters that a database in LATIN1 lacks: exit 2."""
    latin = Database(server=server, name=f"latin_{os.getpid()}")
    server.execute(f"CREATE DATABASE {latin.name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        latin.execute("CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE); CREATE TABLE note (id int)")
        shop = command(latin.dsn)
        (shop.folder / "tenantry.toml").write_text(
            '[tenant]\ntable = "tenants"\ndefault = "日本"\n[[table]]\nname = "note"\nassign = { tenant = "日本" }\n',
            encoding="utf-8",
        )
        for words in ("validate", "migrate"):
            assert_refused(shop(words), 2, "encoding", "another name")
        assert latin.rows("SELECT count(*) FROM information_schema.columns WHERE table_name = 'note'") == [(1,)]
    finally:
        server.execute(f"DROP DATABASE {latin.name} WITH (FORCE)")


def test_an_argument_that_is_no_text(shop: Command) -> None:
    """Bytes that are not UTF-8: exit 2."""
    process = subprocess.run(
        [sys.executable, "-m", "tenantry", "tenants", "add", b"\xff"],
        cwd=shop.folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert_refused(
        Outcome(status=process.returncode, stdout=process.stdout, stderr=process.stderr, seconds=0), 2, "UTF-8"
    )


@pytest.mark.parametrize(
    "expression",
    [
        "lower(nome", "no_such_function(nome)", "no_such_column", "1); DROP TABLE produtos; --",
        "(SELECT slug FROM escolas LIMIT 1)", "(SELECT slug FROM no_such_schema.t)",
    ],
)  # fmt: skip
def test_an_assignment_that_is_no_expression(shop: Command, expression: str, estoque: Database) -> None:
    """SQL of the spec that the server cannot make sense of: exit 2 before the first change."""
    before = estoque.dump()
    edit(
        shop, 'name   = "usuarios"\npaths  = [["escola_id"]]', f'name = "usuarios"\nassign = {{ sql = "{expression}" }}'
    )  # fmt: skip
    assert_refused(shop("migrate"), 2, "assignment", "the SQL")
    assert estoque.dump() == before


def test_a_value_that_the_driver_cannot_send(shop: Command, unchanged: Callable[[], None]) -> None:
    """It is the value that is wrong: no connection was lost, and to run the same again would not help."""
    spec = shop.folder / "tenantry.toml"
    spec.write_text(spec.read_text().replace("[tenant]\n", '[tenant]\ndefault = "a\\u0000b"\n'))
    outcome = shop("migrate")
    assert_refused(outcome, 2, "NUL")
    assert "lost" not in outcome.stderr
    unchanged()
