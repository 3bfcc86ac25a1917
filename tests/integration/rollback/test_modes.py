"""The ways back, from any state: --table, --preserve-data, a dry run, an untouched database."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from acceptance.round_trip import checksums
from conftest import Command
from daily import daily
from rollback.conftest import Business
from tenantry import status
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server


@pytest.mark.parametrize("until", daily([Phase.CONTRACT, Phase.BACKFILL]))
def test_one_table(until: Phase, business: Business) -> None:
    """A table goes back by itself, the others stay migrated; a later migrate completes it, a later rollback the rest."""
    business.migrate(until)
    there, rows = business.database.dump(), checksums(business.database)
    result = business.rollback("usuarios")
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert "tenant_id" not in business.columns("usuarios")
    assert "tenant_id" in business.columns("estoque_lotes")
    shown = {one.table.name: one for one in status(business.target, business.spec).tables}
    assert shown["usuarios"].column is None
    assert shown["usuarios"].missing
    assert not [key for key in shown["estoque_lotes"].missing if "usuarios" not in key and until is Phase.CONTRACT]
    business.execute("UPDATE usuarios SET nome = nome || ''; UPDATE estoque_lotes SET lote = lote || ''")
    business.migrate(until)
    assert sorted(business.database.dump().splitlines()) == sorted(there.splitlines())
    assert {table: count for table, (count, _) in checksums(business.database).items()} == {
        table: count for table, (count, _) in rows.items()
    }
    result = business.rollback()
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert business.database.dump() == business.dump


def test_what_depends_goes_along(business: Business, shop: Command) -> None:
    """Lots find their tenant in their movements, alerts in their lots: all three go, which is said beforehand; what only
    points at them loses the keys that lead there, and writes on."""
    business.migrate()
    dry = shop("rollback", "--table", "estoque_movimentacoes", "--dry-run", "--json").json
    assert dry["tables"] == ["public.estoque_alertas", "public.estoque_lotes", "public.estoque_movimentacoes"]
    outcome = shop("rollback", "--table", "estoque_movimentacoes", "--confirm")
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    assert (
        "Tables that are rolled back: public.estoque_alertas, public.estoque_lotes, public.estoque_movimentacoes"
        in outcome.stdout
    )
    for table in ("estoque_movimentacoes", "estoque_lotes", "estoque_alertas"):
        assert "tenant_id" not in business.columns(table)
        business.execute(f"UPDATE {table} SET id = id")
    business.execute("UPDATE escolas SET tenant_id = (SELECT max(id::text)::uuid FROM tenants) WHERE id = 1")
    business.migrate()
    assert status(business.target, business.spec).word == "SECURITY_ENABLED"
    wrong = business.database.rows(
        "SELECT m.id FROM estoque_movimentacoes m JOIN escolas e ON e.id = m.escola_id WHERE m.tenant_id <> e.tenant_id"
    )
    assert not wrong


def test_sequences_go_with_their_tables(business: Business) -> None:
    """What the application may draw from is taken back with the last of the tables that are filled from it."""
    app = business.spec.application.role
    business.execute(
        "CREATE SEQUENCE numbers; ALTER TABLE usuarios ALTER id SET DEFAULT nextval('numbers');"
        "ALTER TABLE escolas ALTER id SET DEFAULT nextval('numbers')"
    )

    def usable() -> list[str]:
        return [name for (name,) in business.database.rows(
            "SELECT sequencename::text FROM pg_sequences WHERE CASE WHEN schemaname = 'public'"
            " THEN has_sequence_privilege(%s, quote_ident(sequencename), 'usage') END ORDER BY 1", [app],
        )]  # fmt: skip

    business.migrate()
    there = usable()
    assert {"numbers", "usuarios_id_seq", "estoque_lotes_id_seq"} <= set(there)
    with pytest.raises(UsageError, match=r"public\.numbers has no step of tenantry"):
        business.rollback("numbers")
    assert business.rollback("usuarios").exit_status is ExitStatus.DONE
    assert usable() == [name for name in there if name != "usuarios_id_seq"]
    assert business.rollback("escolas").exit_status is ExitStatus.DONE
    assert "numbers" not in usable()
    business.migrate()
    assert usable() == there


def test_tables_that_cannot(business: Business) -> None:
    """The tenant table, a table that is not ours, nothing migrated at all: said, with the nearest name."""
    with pytest.raises(UsageError, match=r"public\.usuarios has no step of tenantry"):
        business.rollback("usuarios")
    business.migrate()
    with pytest.raises(Refused, match=r"public\.tenants is the tenant table"):
        business.rollback("tenants")
    with pytest.raises(UsageError, match="usuarios"):
        business.rollback("public.usuario")


@pytest.mark.parametrize("until", daily([Phase.ISOLATE, Phase.EXPAND]))
def test_preserving(until: Phase, business: Business) -> None:
    """--preserve-data keeps the columns with their values and nothing else; migrate again fills nothing twice; and back."""
    business.migrate(until)
    values = business.database.rows("SELECT id, tenant_id FROM usuarios ORDER BY id")
    result = business.rollback(preserve_data=True)
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert business.database.rows("SELECT id, tenant_id FROM usuarios ORDER BY id") == values
    dump = business.database.dump()
    assert "tenantry_" not in dump
    assert "ROW LEVEL SECURITY" not in dump
    more = Counter(line.strip().rstrip(",") for line in dump.splitlines())
    more.subtract(line.strip().rstrip(",") for line in business.dump.splitlines())
    assert {line for line, count in more.items() if count} <= {"tenant_id uuid"}
    filled = business.migrate(Phase.ISOLATE)
    if until is not Phase.EXPAND:
        assert filled.rows == 0, "every row has its tenant already"
    again = business.rollback(preserve_data=True)
    assert again.exit_status is ExitStatus.DONE, again.findings
    assert business.database.dump() == dump
    business.rollback()
    business.assert_original()


def test_built_upon_a_kept_column(business: Business) -> None:
    """What stays may be built upon: --preserve-data does not mind a view on the tenant column."""
    business.migrate()
    business.execute("CREATE VIEW theirs AS SELECT id, tenant_id FROM usuarios")
    assert business.rollback(preserve_data=True).exit_status is ExitStatus.DONE
    assert business.database.rows("SELECT count(*) > 0 FROM theirs") == [(True,)]
    business.refused()


def test_untouched(shop: Command, business: Business) -> None:
    """There is nothing to go back from: done, and nothing changed."""
    for mode in ("--confirm", "--preserve-data", "--dry-run"):
        outcome = shop("rollback", mode)
        assert outcome.status == 0, outcome.stderr
    business.assert_original()
    assert business.database.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_refusals_on_the_screen(shop: Command, business: Business) -> None:
    """A dry run says what would be in the way, the run refuses with 4, --force leaves it with 1, each as one document."""
    business.migrate()
    business.execute("CREATE VIEW theirs AS SELECT id, tenant_id FROM usuarios")
    dry = shop("rollback", "--dry-run", "--json")
    assert dry.status == 4
    assert dry.json["refusal"]["exit_status"] == 4
    assert [finding["name"] for finding in dry.json["findings"] if finding["refuses"]] == ["built-upon"]
    assert "view public.theirs" in dry.json["refusal"]["message"]
    refused = shop("rollback", "--confirm")
    assert refused.status == 4
    assert "view public.theirs" in refused.stderr
    forced = shop("rollback", "--confirm", "--force", "--json")
    assert forced.status == 1
    assert json.loads(forced.stdout)["exit_status"] == 1
    shown = shop("status")
    assert shown.status == 0
    assert "usuarios" in shown.stdout


def test_too_few_privileges(business: Business, shop: Command) -> None:
    """A role that owns nothing: exit 3 before anything is changed."""
    business.migrate()
    role = business.spec.application.role
    business.execute(
        f"ALTER ROLE {role} LOGIN; GRANT USAGE ON SCHEMA tenantry TO {role};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tenantry TO {role}"
    )
    before = business.database.dump()
    outcome = shop("rollback", "--confirm", dsn=f"{business.database.dsn} user={role}")
    assert outcome.status == 3, outcome.stderr
    assert "owns" in outcome.stderr
    assert business.database.dump() == before
