"""What prevents a move is found out before anything is changed, and named with its remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moves.conftest import COMPARING, HERE, Pair, build, left, rows_of, spec_text
from servers import Database, Server, own_roles
from tenantry import MigrateOptions, abort_move, migrate, move_tenant, preview_move
from tenantry.errors import Interrupted, Refused, TenantryError, UsageError
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server
SUPPORTED = pytest.mark.pg(">=15")
AT_TARGET = {
    "INSERT INTO firms (id, slug) SELECT gen_random_uuid(), 'two'": "another tenant at the target has the same slug",
    "INSERT INTO firms (slug, host) VALUES ('other', 'two.example')": "another tenant at the target has the same host",
    "INSERT INTO units VALUES ('l', 'litre')": "units, shared by all tenants, has other rows at the target",
    "UPDATE units SET name = 'Kilogramm' WHERE code = 'kg'": "units, shared by all tenants, has other rows",
    "ALTER TABLE items ADD COLUMN extra integer": "the column public.items.extra is new at the target",
    "ALTER TABLE items ALTER COLUMN note TYPE varchar(10)": "the column public.items.note differs at the target",
    "ALTER TABLE items ADD CONSTRAINT alone EXCLUDE (note WITH =)": "items at the target has a unique key without",
    "ALTER TABLE notes SET UNLOGGED": "notes at the target is not a plain, logged table",
}
AT_SOURCE = {
    "ALTER TABLE notes ADD COLUMN place point": "notes at the source has no unique key by which rows are found",
    "CREATE TABLE referring (item bigint, firm_id uuid, FOREIGN KEY (firm_id, item) REFERENCES items (firm_id, id));"
    " INSERT INTO referring SELECT id, firm_id FROM items": "rows that are not the tenant's refer to its rows",
}


def refusal(pair: Pair, **options: object) -> str:
    with pytest.raises(TenantryError) as caught:
        pair.move("two", **options)
    return "\n".join((caught.value.message, *caught.value.details, caught.value.remedy))


@SUPPORTED
def test_each_obstacle(pair: Pair) -> None:
    """Each is refused without a trace, alone and by its name; the dry run names it as well."""
    before = rows_of(pair.source, "two")
    for database, obstacles in ((pair.target, AT_TARGET), (pair.source, AT_SOURCE)):
        for number, (statement, message) in enumerate(obstacles.items()):
            database.execute(statement)
            # The move asks for the same list.
            said = refusal(pair) if number == 0 else message
            assert message in said, said
            preview = preview_move(Target(pair.source.dsn), pair.spec, "two", Target(pair.target.dsn))
            assert any(message in problem for problem in preview.problems)
            undo(database, statement)
    assert left(pair.source, pair.target) == []
    assert pair.source.rows("SELECT to_regclass('tenantry.moves')") == [(None,)]
    pair.move("two")
    assert rows_of(pair.target, "two").keys() == before.keys()


UNDO = {
    "INSERT INTO firms": "DELETE FROM firms",
    "INSERT INTO units": "DELETE FROM units WHERE code = 'l'",
    "UPDATE units": "UPDATE units SET name = 'kilogram' WHERE code = 'kg'",
    "ALTER TABLE items ADD CONSTRAINT": "ALTER TABLE items DROP CONSTRAINT alone",
    "ALTER TABLE items ADD": "ALTER TABLE items DROP COLUMN extra",
    "ALTER TABLE items ALTER": "ALTER TABLE items ALTER COLUMN note TYPE text",
    "ALTER TABLE notes SET": "ALTER TABLE notes SET LOGGED",
    "ALTER TABLE notes ADD": "ALTER TABLE notes DROP COLUMN place",
    "CREATE TABLE referring": "DROP TABLE referring",
}


def undo(database: Database, statement: str) -> None:
    database.execute(next(text for start, text in UNDO.items() if statement.startswith(start)))


@SUPPORTED
def test_not_prepared(pair: Pair, template: Callable[..., Database]) -> None:
    """Both sides must be migrated through distribute, and by the same spec."""

    def contracted(database: Database) -> None:
        database.load(HERE / "depots.sql")
        database.execute("INSERT INTO firms (slug) VALUES ('two')")
        options = MigrateOptions(until=Phase.CONTRACT, force=True, backup=BackupKind.NONE)
        migrate(Target(database.dsn), Spec.parse(spec_text()), options)

    other = template("moves contracted", contracted)
    with pytest.raises(Refused, match="The target is not prepared for a move") as caught:
        move_tenant(Target(pair.source.dsn), pair.spec, "two", Target(other.dsn))
    assert "--until distribute --prepare" in caught.value.remedy
    with pytest.raises(Refused, match="The source is not prepared"):
        move_tenant(Target(other.dsn), pair.spec, "two", Target(pair.target.dsn))
    # A unique key without the tenant, which its rows could violate there.
    pair.target.execute("CREATE UNIQUE INDEX alone ON items (note)")
    assert "The target is not prepared for a move: 2 steps of the spec's plan must still be applied" in refusal(pair)
    # A trigger that would fire where changes are applied.
    pair.target.execute(
        "DROP INDEX alone; CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    )
    pair.target.execute("CREATE TRIGGER fires BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION fire()")
    pair.target.execute("ALTER TABLE items ENABLE REPLICA TRIGGER fires")
    assert (
        "1 step of the spec's plan must still be applied, such as: table public.items, drop the trigger fires"
        in refusal(pair)
    )


@SUPPORTED
def test_tenants_that_stay(pair: Pair) -> None:
    with pytest.raises(UsageError, match="there is no tenant 'four'"):
        pair.move("four")
    spec = Spec.parse(spec_text().replace('column = "firm_id"', 'column = "firm_id"\ndefault = "one"'))
    for database in (pair.source, pair.target):
        migrate(
            Target(database.dsn), spec, MigrateOptions(until=Phase.DISTRIBUTE, prepare=True, backup=BackupKind.NONE)
        )
    with pytest.raises(Refused, match="'one' is the default tenant"):
        move_tenant(Target(pair.source.dsn), spec, "one", Target(pair.target.dsn))


@SUPPORTED
def test_privileges(
    pair: Pair, role: Callable[..., str], new_database: Callable[..., Database], other_server: Server
) -> None:
    """An owner of the tables who is no superuser is told which privileges a move needs."""
    name = role("LOGIN", name="mover")
    with own_roles(other_server):
        other_server.execute(f"CREATE ROLE {name} LOGIN")
        here, there = new_database(), other_server.create(f"owned_{name}")
        for database, firms in ((here, ("two",)), (there, ())):
            database.execute(f"ALTER DATABASE {database.name} OWNER TO {name}; GRANT CREATE ON SCHEMA public TO {name}")
            build(database, firms=firms, owner=name, operator=name)
            # Its owner could create anything there.
            database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres")
        source, target = (Target(f"{one.dsn} user={name}") for one in (here, there))
        found = "\n".join(preview_move(source, pair.spec, "two", target).problems)
        assert f"{name} may not replicate from the source: ALTER ROLE {name} REPLICATION" in found
        assert f"{name} may not create a publication at the source: GRANT CREATE ON DATABASE … TO {name}" in found
        assert f"{name} may not create a subscription at the target" in found
        assert f"policies apply to the role {name} at the source" in found
        assert "belongs to" not in found
        other_server.drop(there)


@SUPPORTED
def test_code_of_others(
    pair: Pair, role: Callable[..., str], new_database: Callable[..., Database]
) -> None:  # fmt: skip
    """Changes would be applied as the operator, who has more rights, and with them the checks of the owner."""
    name = role("LOGIN", name="owner")
    database = new_database()
    database.execute(f"GRANT CREATE ON SCHEMA public TO {name}")
    build(database, firms=("two",), owner=name)
    with pytest.raises(Refused) as caught:
        move_tenant(Target(database.dsn), pair.spec, "two", Target(pair.target.dsn))
    said = "\n".join((caught.value.message, *caught.value.details))
    assert f"notes at the source belongs to {name}, whose code replication would run as postgres" in said


@SUPPORTED
def test_the_target_changes_on_the_way(pair: Pair) -> None:
    """What the target lacks by the time of the pause prevents the switch; a column that only the source has, too."""
    with pytest.raises(Interrupted):
        pair.move("two", at=[(COMPARING, _stop)])
    pair.target.execute("DELETE FROM units WHERE code = 'm'")
    assert "units, shared by all tenants, has other rows at the target" in refusal(pair)
    pair.target.execute("INSERT INTO units VALUES ('m', 'metre')")
    pair.target.execute("ALTER TABLE notes ADD COLUMN extra integer")
    assert "the source does not have the column public.notes.extra integer" in refusal(pair)
    pair.target.execute("ALTER TABLE notes DROP COLUMN extra")
    pair.target.execute("UPDATE items SET note = 'changed there' WHERE id = (SELECT min(id) FROM items)")
    said = refusal(pair)
    assert "public.items has 40 rows of the tenant at the target, and 40 at the source, with other values" in said
    assert "--abort" in said
    pair.abort("two")
    assert left(pair.source, pair.target) == []


def _stop() -> None:
    raise Interrupted("stopped by the test")


@SUPPORTED
def test_another_target(pair: Pair, template: Callable[..., Database]) -> None:
    """A move that has begun is continued to the database to which it has begun, and to no other."""
    with pytest.raises(Interrupted):
        pair.move("two", at=[(COMPARING, _stop)])
    other = template("moves other", lambda database: build(database, firms=()))
    for act in (move_tenant, abort_move):
        with pytest.raises(Refused, match="has begun"):
            act(Target(pair.source.dsn), pair.spec, "two", Target(other.dsn))
    pair.abort("two")


@SUPPORTED
def test_the_password_is_nowhere(pair: Pair, capfd: pytest.CaptureFixture[str]) -> None:
    """A password for the publisher is in no message and not in the journal."""
    secret = "correct-horse-7-battery"
    said = refusal(pair, replicate_from=f"host=/nowhere port=1 user=postgres password={secret} dbname=x")
    assert "The target cannot subscribe to the source" in said
    assert secret not in said
    for database in (pair.source, pair.target):
        for table in ("moves", "runs"):
            assert secret not in str(database.rows(f"SELECT t::text FROM tenantry.{table} t"))
    pair.abort("two")
    # Nor in the server's log, nor in its statistics of statements.
    target = pair.target
    target.execute(f"ALTER DATABASE {target.name} SET log_statement = 'all'")
    if target.server.major != 16:  # whose wheel has no pg_stat_statements
        target.execute("CREATE SCHEMA seen")
        target.track_statements("seen")
    pair.move("two", replicate_from=f"{pair.source.dsn} password={secret}")
    log = target.server.cluster.log.read_text()
    assert "INSERT INTO tenantry.moves" in log
    assert secret not in log
    if target.server.major != 16:
        assert target.rows("SELECT count(*) FROM seen.pg_stat_statements WHERE query LIKE %s", [f"%{secret}%"]) == [
            (0,)
        ]


@pytest.mark.pg("<15")
def test_an_old_server(pair: Pair) -> None:
    """Its publications have no row filters."""
    assert "The source is PostgreSQL 14: a move needs PostgreSQL 15 or newer on both sides" in refusal(pair)
