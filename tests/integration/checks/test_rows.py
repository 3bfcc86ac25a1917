"""Faults of the rows: each is found, with the right count and samples, and nothing else is."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from psycopg import sql

from checks.haulage import SPEC, isolated_haulage, serious, unmigrated, validated
from servers import Database, wait_until
from tenantry import InspectionOptions, MigrateOptions, migrate
from tenantry.checks.base import Check, QueryCheck, Rows
from tenantry.checks.references import references
from tenantry.checks.runner import examine
from tenantry.checks.session_pool import Stop
from tenantry.commands.inspection import open_check_context
from tenantry.errors import ExitStatus, Interrupted
from tenantry.execution.events import ignore
from tenantry.model.finding import Family, Severity
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

__all__ = ["isolated_haulage", "unmigrated"]

ANT, BEE, NOBODY = (f"00000000-0000-0000-0000-00000000000{letter}" for letter in "abf")
PIT = 'public."Pit ""Stop"'
UNGUARDED = "SET session_replication_role = replica;"
"""Foreign keys do not look, as where somebody has restored a dump carelessly."""


@pytest.mark.server
def test_a_sound_database(isolated_haulage: Database) -> None:
    """Nothing but information; every row of every owned table is counted, by tenant."""
    verdict = validated(isolated_haulage, detailed=True)
    assert serious(verdict.findings) == set()
    assert verdict.exit_status is ExitStatus.DONE
    assert all(family.passed for family in verdict.families)
    assert sum(family.checks for family in verdict.families) > 30
    for distribution in verdict.distributions:
        rows = isolated_haulage.rows(
            f"SELECT count(*), count(*) FILTER (WHERE firm IS NULL), count(DISTINCT firm) FROM {distribution.table}"
        )
        assert rows == [(distribution.rows, distribution.without_tenant, distribution.tenants)]
    assert len(verdict.distributions) == 10
    assert verdict.rows == sum(one.rows for one in verdict.distributions)


def test_samples_are_the_rows(isolated_haulage: Database) -> None:
    """By their primary key, with what they point at; of a partitioned table from whichever partition."""
    isolated_haulage.execute(f"{UNGUARDED} UPDATE trips SET depot = 999 WHERE id IN (3, 60, 90)")
    (finding,) = [one for one in validated(isolated_haulage).findings if one.name == "dangling-reference"]
    assert sorted(int(sample["id"]) for sample in finding.samples) == [3, 60, 90]
    assert {sample["depot"] for sample in finding.samples} == {"999"}
    assert set(finding.samples[0]) == {"id", "at", "depot"}


def test_one_table(isolated_haulage: Database) -> None:
    """--table leaves out all others, what is wrong with them too; a table that is not there is wrong usage."""
    isolated_haulage.execute(
        f"{UNGUARDED} UPDATE trips SET depot = 999 WHERE id = 3; UPDATE notes SET truck_code = 'x' WHERE id = 1"
    )
    verdict = validated(isolated_haulage, tables=("trips",))
    assert serious(verdict.findings) == {("dangling-reference", "public.trips", 1)}
    assert [str(one.table) for one in verdict.distributions] == ["public.trips"]


def test_many_findings(isolated_haulage: Database) -> None:
    """Ten thousand faulty rows: the count is exact, the samples are as many as were asked for, by tenant on request."""
    isolated_haulage.execute(
        f"{UNGUARDED} INSERT INTO notes SELECT n, 'truck ' || repeat('x', 5000), '', '{ANT}'"
        " FROM generate_series(1000, 10999) n"
    )
    verdict = validated(isolated_haulage, samples=7, detailed=True)
    (finding,) = [one for one in verdict.findings if one.severity is Severity.ERROR]
    assert (finding.name, finding.count, len(finding.samples)) == ("dangling-reference", 10_000, 7)
    assert finding.tenants == {"ant": 10_000}
    assert {len(sample["truck_code"]) for sample in finding.samples} == {200}
    assert not [one for one in validated(isolated_haulage, samples=0).findings if one.samples and one.count == 10_000]


def test_slices_come_to_the_same(isolated_haulage: Database) -> None:
    """A page at a time, over two sessions: the counts are those of one reading, and so are the rows."""
    isolated_haulage.execute(f"{UNGUARDED} UPDATE trips SET depot = 999 WHERE id % 50 = 0")
    with open_check_context(
        Target(isolated_haulage.dsn), Spec.parse(SPEC), InspectionOptions(), ignore, Stop(), run="", purpose="test"
    ) as context:
        checks = [one for one in references(context) if isinstance(one, Check)]
        whole, sliced = (examine(context, checks, Stop(), slice_pages=pages) for pages in (1000, 1))
    assert whole.rows == sliced.rows
    found = [{(one.name, one.count, len(one.samples)) for one in examined.findings} for examined in (whole, sliced)]
    assert found[0] == found[1] == {("dangling-reference", 12, 12)}


@pytest.mark.parametrize(
    ("free", "odd", "change", "count"),
    [
        # To a page that was read before, where it would be missed; to one that is read later, where it is seen twice.
        ("id <= 35", 420, "text = repeat('y', 1001)", 1),
        ("id BETWEEN 455 AND 490", 35, "text = repeat('y', 1001)", 1),
        ("id <= 35", 100, "odd = false", None),
    ],
    ids=["backwards", "forwards", "gone"],
)
def test_a_row_that_moves_between_slices(
    isolated_haulage: Database, free: str, odd: int, change: str, count: int | None
) -> None:
    """Written by somebody else while slices are read, it is counted once, or not at all if nothing is wrong with it."""
    with isolated_haulage.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE moving (id int PRIMARY KEY, odd boolean, text text)")
        connection.execute("ALTER TABLE moving ALTER text SET STORAGE PLAIN")
        connection.execute(f"INSERT INTO moving SELECT n, n = {odd}, repeat('x', 1000) FROM generate_series(1, 500) n")
        connection.execute(f"DELETE FROM moving WHERE {free}")
        connection.execute("VACUUM moving")
        place = "SELECT (ctid::text::point)[0]::int FROM moving WHERE id = %s"
        before = connection.execute(place, [odd]).fetchone()

        def looking(at: str) -> None:
            if at.endswith("public.moving, 50 %"):
                connection.execute(f"UPDATE moving SET {change} WHERE id = {odd}")

        check = Check(
            name="odd", family=Family.BUSINESS, table=Name("public", "moving"), message="{rows}",
            question=Rows(violates=sql.SQL("t.odd")),
        )  # fmt: skip
        with open_check_context(
            Target(isolated_haulage.dsn), Spec.parse(SPEC), InspectionOptions(), ignore, Stop(), run="", purpose="test"
        ) as context:
            examined = examine(replace(context, looking=looking), [check], Stop(), slice_pages=1)
        after = connection.execute(place, [odd]).fetchone()
    assert before is not None
    assert after is not None
    assert (before[0] < after[0]) is (odd == 35)
    assert [(one.count, [sample["id"] for sample in one.samples]) for one in examined.findings] == (
        [(count, [str(odd)])] if count is not None else []
    )


def test_a_check_that_cannot_be_asked(isolated_haulage: Database) -> None:
    """It is a finding by itself; those that were fused with it are asked all the same, and the rows counted."""
    table = Name("public", "trucks")

    def check(name: str, condition: str) -> Check:
        return Check(
            name=name, family=Family.BUSINESS, table=table, message="{rows}", question=Rows(violates=sql.SQL(condition))
        )

    checks = [
        check("broken", "1 / (t.id - t.id) = 1"), check("asked", "t.id < 4"), check("missing", "t.nothing = 1"),
        check("clean", "t.id < 0"),
        Check(name="query", family=Family.BUSINESS, table=table, message="{rows}",
              question=QueryCheck(query=sql.SQL("SELECT t.id, 5 % 3 AS rest FROM trucks t WHERE t.id > 10 -- %s\n"))),
        Check(name="wrong", family=Family.BUSINESS, table=table, message="{rows}",
              question=QueryCheck(query=sql.SQL("SELECT * FROM nowhere"))),
    ]  # fmt: skip
    with open_check_context(
        Target(isolated_haulage.dsn), Spec.parse(SPEC), InspectionOptions(), ignore, Stop(), run="", purpose="test"
    ) as context:
        examined = examine(context, checks, Stop())
    told = [(one.name, one.count, one.message.partition(":")[2].strip()) for one in examined.findings]
    assert told == [
        ("check-failed", None, "division by zero"),
        ("asked", 3, ""),
        ("check-failed", None, "column t.nothing does not exist"),
        ("query", 2, ""),
        ("check-failed", None, 'relation "nowhere" does not exist'),
    ]
    assert [{**sample} for sample in sorted(examined.findings[3].samples, key=str)] == [
        {"id": "11", "rest": "2"}, {"id": "12", "rest": "2"},
    ]  # fmt: skip
    assert sum(examined.rows[table].values()) == 12


def test_a_check_cannot_write(isolated_haulage: Database) -> None:
    """Its session is read-only: a condition that would draw from a sequence is refused."""
    check = Check(
        name="draws", family=Family.BUSINESS, table=Name("public", "trucks"), message="",
        question=Rows(violates=sql.SQL("nextval('public.trucks_id_seq') > 0")),
    )  # fmt: skip
    before = isolated_haulage.rows("SELECT last_value, is_called FROM trucks_id_seq")
    with open_check_context(
        Target(isolated_haulage.dsn), Spec.parse(SPEC), InspectionOptions(), ignore, Stop(), run="", purpose="test"
    ) as context:
        (finding,) = examine(context, [check], Stop()).findings
    assert "read-only transaction" in finding.message
    assert isolated_haulage.rows("SELECT last_value, is_called FROM trucks_id_seq") == before


def test_a_stop_ends_what_is_being_asked(isolated_haulage: Database) -> None:
    """From another thread, while two long queries run: Interrupted, and no session goes on."""
    stop = Stop()
    query = sql.SQL("SELECT 1 FROM pg_sleep(60)")
    checks = [
        Check(
            name=name,
            family=Family.BUSINESS,
            table=Name("public", "trucks"),
            message="",
            question=QueryCheck(query=query),
        )
        for name in ("one", "two", "three")
    ]
    sleeping = (
        "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    )
    with open_check_context(
        Target(isolated_haulage.dsn), Spec.parse(SPEC), InspectionOptions(), ignore, stop, run="", purpose="test"
    ) as context:

        def end() -> None:
            wait_until(lambda: isolated_haulage.rows(sleeping) == [(2,)])
            stop()

        thread = threading.Thread(target=end)
        thread.start()
        with pytest.raises(Interrupted):
            examine(context, checks, stop)
        thread.join()
        assert isolated_haulage.rows(sleeping) == [(0,)]


@pytest.mark.server
def test_before_the_migration(unmigrated: Database) -> None:
    """Each phase is missing as a whole, and so is the journal, which is not made; rows that will find no tenant, or
    two, are found."""
    unmigrated.execute(
        "INSERT INTO crates VALUES (77, 'of nobody'); INSERT INTO loads VALUES (999, 1, 2);"
        "UPDATE depots SET above = 5 WHERE id = 1"
    )
    verdict = validated(unmigrated)
    assert serious(verdict.findings) == {
        *(
            ("phase-pending", "", finding.count)
            for finding in verdict.findings
            if finding.name == "phase-pending" and finding.severity is not Severity.INFO
        ),
        ("orphans", "public.crates", 1),
        ("conflicts", "public.crates", 1),
        ("conflicts", "public.loads", 1),
        ("reference-cycle", "public.depots", 1),
    }
    assert [one.message.split()[2] for one in verdict.findings if one.name == "phase-pending"] == list(Phase)[:-1]
    assert unmigrated.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


@pytest.mark.server
def test_half_way(unmigrated: Database) -> None:
    """After each phase, what is left is a warning and no more; before the backfill rows have no tenant."""
    for phase in list(Phase)[:-2]:
        migrate(Target(unmigrated.dsn), Spec.parse(SPEC), MigrateOptions(until=phase, force=True))
        verdict = validated(unmigrated)
        names = {finding.name for finding in verdict.findings if finding.severity is Severity.ERROR}
        assert names == ({"rows-without-tenant"} if phase is Phase.EXPAND else set())
        pending = [one.message.split()[2] for one in verdict.findings if one.name == "phase-pending"]
        assert set(pending) == set(list(Phase)[phase.position + 1 : -1])


def test_what_the_tenants_stand_on(unmigrated: Database) -> None:
    """A tenant column of another type than the key, and a tenant table that is gone: findings, and no error."""
    spec = Spec.parse(SPEC)
    migrate(Target(unmigrated.dsn), spec, MigrateOptions(until=Phase.EXPAND, force=True))
    unmigrated.execute("ALTER TABLE drivers ALTER firm TYPE text")
    found = serious(validated(unmigrated).findings)
    assert {one for one in found if "type" in one[0]} == {("tenant-column-type", "public.drivers", None)}
    unmigrated.execute("DROP TABLE firms CASCADE")
    found = serious(validated(unmigrated).findings)
    assert ("tenant-table-missing", "public.firms", None) in found


def test_a_census_that_cannot_be_made(unmigrated: Database) -> None:
    """An assignment that the server cannot work out is a finding, and everything else is asked."""
    unmigrated.execute("UPDATE depots SET above = 5 WHERE id = 1")
    spec = SPEC.replace(
        'name = "trucks"\npaths = [["depot"]]', 'name = "trucks"\nassign = { sql = "(1 / (id - id))::text" }'
    )
    found = {name for name, _, _ in serious(validated(unmigrated, spec).findings)}
    assert found == {"census-not-made", "phase-pending", "reference-cycle"}


def test_tables_that_refer_to_each_other(isolated_haulage: Database) -> None:
    """A circle of foreign keys between tables is worth knowing, and no more."""
    isolated_haulage.execute(
        "ALTER TABLE plates ADD country text REFERENCES countries; ALTER TABLE countries ADD plate text REFERENCES plates"
    )
    verdict = validated(isolated_haulage)
    assert serious(verdict.findings) == set()
    (finding,) = [one for one in verdict.findings if one.name == "circular-foreign-keys"]
    assert "public.countries, public.plates" in finding.message


def test_share_and_empty_tenants(isolated_haulage: Database) -> None:
    """What [limits] calls too much is a warning where the spec says it, and information where it does not."""
    verdict = validated(isolated_haulage, SPEC + "[limits]\nlargest_share = 0.8\n")
    assert serious(verdict.findings) == {
        ("largest-share", "public.crates", None), ("largest-share", "public.notices", None),
    }  # fmt: skip
    assert [dict(one.samples[0]) for one in verdict.findings if one.name == "empty-tenants"] == [{"tenant": "cow"}]


def test_rows_that_may_be_hidden(isolated_haulage: Database, role: object) -> None:
    """Whom the policies filter is told so, and not that all is well."""
    reader = role("LOGIN", name="reader")  # type: ignore[operator]
    isolated_haulage.execute(
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}; GRANT USAGE ON SCHEMA tenantry TO {reader};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA tenantry TO {reader}"
    )
    verdict = validated(isolated_haulage, dsn=isolated_haulage.dsn.replace("user=postgres", f"user={reader}"))
    hidden = {finding for finding in serious(verdict.findings) if finding[0] == "rows-hidden"}
    assert {table for _, table, _ in hidden} >= {"public.trips", "public.trips_2025", "public.firms", PIT}
    assert verdict.rows == 0
    assert verdict.families[1].checks == 0
    assert all(family.skipped for family in verdict.families[1:])
