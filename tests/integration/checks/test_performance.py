"""Performance: indexes that serve a tenant's queries, what policies cost, indexes that nothing uses."""

from __future__ import annotations

import pytest

from checks.isolated_tenants import check_context, findings_of, serious
from checks.large_tables import AT_ONCE, ROLE, SCHEMA, SPEC, drop_tenant_indexes, sales_database
from servers import Database, wait_until
from tenantry import validate
from tenantry.checks.performance import performance
from tenantry.checks.performance_cost import _Measure, costs
from tenantry.model.finding import Finding
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.differs("checks/sql/performance.sql")]
__all__ = ["sales_database"]


def test_a_migrated_database_is_fast_enough(sales_database: Database) -> None:
    assert serious(findings_of(sales_database, performance, spec=SPEC)) == []


def test_without_the_index_on_the_tenant_all_pages_are_read(sales_database: Database) -> None:
    """By key and by shop other indexes serve; of a small table, reading it whole is right."""
    drop_tenant_indexes(sales_database, "sales", "shops")
    sales_database.execute("DROP INDEX IF EXISTS tenantry_sales__id_key")
    findings = findings_of(sales_database, performance, spec=SPEC)
    assert serious(findings) == [("query-without-index", "public.sales", 1)]
    assert findings[-1].samples == ({"query": "newest first"},)


def test_whether_an_index_is_worth_it_is_for_the_server_to_say(sales_database: Database) -> None:
    """Where one tenant has all rows, it reads them all, and is right."""
    sales_database.execute("UPDATE shops SET owner = 1")
    with sales_database.connect(autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE sales")
    assert sales_database.rows("SELECT count(DISTINCT tenant_id) FROM sales") == [(1,)]
    assert serious(findings_of(sales_database, performance, spec=SPEC)) == []


def test_an_index_that_is_invalid_serves_nothing(sales_database: Database) -> None:
    drop_tenant_indexes(sales_database, "visits")
    sales_database.execute("""
        UPDATE pg_index SET indisvalid = false WHERE indrelid IN ('visits'::regclass, 'visits_old'::regclass)
    """)
    findings = findings_of(sales_database, performance, spec=SPEC)
    assert serious(findings) == [("query-without-index", "public.visits", 2)]
    assert [sample["query"] for sample in findings[-1].samples] == ["newest first", "by shop"]


def test_an_index_of_the_users_that_begins_with_the_tenant_will_do(sales_database: Database) -> None:
    drop_tenant_indexes(sales_database, "sales")
    sales_database.execute("CREATE INDEX mine ON sales (tenant_id, sold_at)")
    assert serious(findings_of(sales_database, performance, spec=SPEC)) == []


def test_a_policy_that_is_slow(sales_database: Database) -> None:
    """A function of each row, beside an index condition that stands."""
    sales_database.execute(f"""
        CREATE FUNCTION slow(text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
        BEGIN FOR i IN 1..100 LOOP PERFORM md5($1); END LOOP; RETURN true; END $$;
        CREATE POLICY slow ON sales AS RESTRICTIVE TO {ROLE} USING (slow(note))
    """)
    assert serious(findings_of(sales_database, performance, spec=SPEC)) == [("policy-cost", "public.sales", None)]
    assert (
        serious(
            findings_of(sales_database, performance, spec=SPEC.replace("policy_cost = 20", "policy_cost = 1000000"))
        )
        == []
    )


@pytest.mark.parametrize(
    ("under", "without", "found"),
    [
        ([200, 200, 200], [90, 4, 4], True),
        ([90, 4.5], [4, 4], False),
        ([60, 60, 60], [4, 4, 4], False),
        ([3000, 200], [3000, 4], True),
        ([3000], [3000], False),
        ([200] * 7 + [20], [4] * 7 + [4], False),
    ],
    ids=["load on the first", "load alone", "not so slow", "cut off once", "never ends", "load all through a look"],
)
def test_load_hides_no_slow_policy_and_makes_none(
    monkeypatch: pytest.MonkeyPatch, sales_database: Database, under: list[float], without: list[float], found: bool
) -> None:
    """Times as they came on a machine that was busy, the last of them from then on; the limit is twenty times."""
    times = {True: iter(under), False: iter(without)}
    last = {True: under[-1], False: without[-1]}
    monkeypatch.setattr(_Measure, "_time", lambda self, *, under: next(times[under], last[under]))
    with check_context(sales_database, SPEC) as standing:
        said = [finding for finding in costs(standing) if finding.table is not None and finding.table.name == "sales"]
    assert [finding.name for finding in said] == (["policy-cost"] if found else [])


def idle(findings: list[Finding]) -> set[str]:
    return {str(finding.samples[0]["index"]) for finding in findings if finding.name == "index-unused"}


def test_indexes_that_nothing_uses(sales_database: Database) -> None:
    """None while the counters are young; and keys and unique indexes hold a rule, whoever reads them."""
    assert idle(findings_of(sales_database, performance, spec=SPEC)) == set()
    sales_database.execute("SELECT pg_stat_reset()")
    sales_database.execute("SET enable_seqscan = off; SELECT FROM sales WHERE sold_at > now()")
    used = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'sales_sold_at'"
    wait_until(lambda: sales_database.rows(used) != [(0,)])  # Until the server has counted it.
    at_once = idle(findings_of(sales_database, performance, spec=AT_ONCE))
    assert "public.sales_shop" in at_once
    assert not {name for name in at_once if name.endswith(("_pkey", "_id_key", "_slug_key"))}
    # Since 16 it is known when it was used last: no day ago, which is the limit here.
    assert ("public.sales_sold_at" in at_once) is (sales_database.server.major >= 16)


def test_an_examination_uses_no_index(sales_database: Database) -> None:
    """However often it looks, in whatever session, and whenever the server counts what was read."""
    with sales_database.connect(autocommit=True) as connection:
        connection.execute("SELECT pg_stat_reset()")
    for _ in range(2):
        validate(Target(sales_database.dsn), Spec.parse(SPEC))
    sales_database.execute(
        "CREATE TABLE later (id int PRIMARY KEY); SET enable_seqscan = off; SELECT FROM later WHERE id = 1"
    )
    used = "SELECT indexrelname FROM pg_stat_user_indexes WHERE idx_scan > 0 AND schemaname = 'public'"
    wait_until(lambda: ("later_pkey",) in sales_database.rows(used))  # Until the server has counted what came later.
    assert sales_database.rows(used) == [("later_pkey",)]


def test_an_index_of_ours_is_as_old_as_its_step(sales_database: Database) -> None:
    """Though the counters reach back further."""
    sales_database.execute("UPDATE tenantry.runs SET started_at = now() - interval '90 days'")
    sales_database.execute(
        "UPDATE tenantry.steps SET finished_at = now() - interval '31 days' WHERE key LIKE 'index:%sales%shop%'"
    )
    if sales_database.server.major >= 15:  # Before, the counters of a database were always reset at some time.
        said = idle(findings_of(sales_database, performance, spec=SPEC))
        assert "public.sales_shop" in said
        assert {name for name in said if "tenantry" in name} == {
            str(key).removeprefix("index:")
            for (key,) in sales_database.rows("SELECT key FROM tenantry.steps WHERE key LIKE 'index:%sales%shop%'")
        }


def test_nothing_is_asked_before_isolate(database: Database) -> None:
    database.execute(SCHEMA)
    assert findings_of(database, performance, spec=SPEC) == []


def test_a_table_that_somebody_keeps_to_himself_is_left_out(sales_database: Database) -> None:
    drop_tenant_indexes(sales_database, "sales")
    with sales_database.connect() as hoarder, check_context(sales_database, SPEC) as standing:
        hoarder.execute("LOCK TABLE sales")
        assert serious([one for one in performance(standing) if isinstance(one, Finding)]) == []


def test_nothing_is_changed(sales_database: Database) -> None:
    state = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"
    before = sales_database.rows(state), sales_database.rows("SELECT sum(id), count(*) FROM sales")
    findings_of(sales_database, performance, spec=SPEC)
    assert (sales_database.rows(state), sales_database.rows("SELECT sum(id), count(*) FROM sales")) == before
