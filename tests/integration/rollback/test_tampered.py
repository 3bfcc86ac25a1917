"""What others have built on ours, or changed of it, since: named and refused; with --force it stays, and so does theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acceptance.round_trip import checksums
from rollback.conftest import Business
from tenantry import RollbackOptions, rollback
from tenantry.errors import ExitStatus, Failed, Refused
from tenantry.execution.events import Event, FindingReported, StepEvent
from tenantry.model.finding import Finding, Severity
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

BUILT = {
    # What they make, how the refusal names it, how it is looked for, and how they take it away again.
    "view": ("CREATE VIEW theirs AS SELECT id, tenant_id FROM usuarios", "view public.theirs",
             "to_regclass('theirs')", "DROP VIEW theirs"),
    "materialized view": ("CREATE MATERIALIZED VIEW theirs AS SELECT count(*) FROM usuarios WHERE tenant_id IS NULL",
                          "materialized view public.theirs", "to_regclass('theirs')", "DROP MATERIALIZED VIEW theirs"),
    "index": ("CREATE INDEX theirs ON usuarios (nome, tenant_id)", "index public.theirs", "to_regclass('theirs')",
              "DROP INDEX theirs"),
    "check": ("ALTER TABLE usuarios ADD CONSTRAINT theirs CHECK (tenant_id IS NOT NULL OR nome <> '')",
              "constraint theirs on table public.usuarios",
              "(SELECT oid FROM pg_constraint WHERE conname = 'theirs')", "ALTER TABLE usuarios DROP CONSTRAINT theirs"),
    "foreign key": ("CREATE TABLE theirs (tenant_id uuid, escola_id int, FOREIGN KEY (tenant_id, escola_id)"
                    " REFERENCES escolas (tenant_id, id))", "constraint theirs_tenant_id_escola_id_fkey on table",
                    "(SELECT oid FROM pg_constraint WHERE conrelid = 'theirs'::regclass AND contype = 'f')",
                    "DROP TABLE theirs"),
    "policy": ("CREATE POLICY theirs ON usuarios USING (tenant_id IS NOT NULL)", "policy theirs on table public.usuarios",
               "(SELECT oid FROM pg_policy WHERE polname = 'theirs')", "DROP POLICY theirs ON usuarios"),
    "statistics": ("CREATE STATISTICS theirs ON nome, tenant_id FROM usuarios", "statistics object public.theirs",
                   "(SELECT oid FROM pg_statistic_ext WHERE stxname = 'theirs')", "DROP STATISTICS theirs"),
    "generated column": ("ALTER TABLE usuarios ADD theirs text GENERATED ALWAYS AS (tenant_id::text || nome) STORED",
                         "theirs", "(SELECT attnum FROM pg_attribute WHERE attname = 'theirs' AND NOT attisdropped)",
                         "ALTER TABLE usuarios DROP theirs"),
}  # fmt: skip


def test_built_upon(business: Business) -> None:
    """Somebody's own object on what goes: exit 4 names it, whichever kind it is."""
    business.migrate()
    for make, name, _, drop in BUILT.values():
        business.execute(make)
        refusal = business.refused()
        assert name in "\n".join([refusal.message, *refusal.details])
        assert "--force" in refusal.remedy
        business.execute(drop)
    assert business.rollback().exit_status is ExitStatus.DONE
    business.assert_original()


@pytest.mark.parametrize("what", ["view", "index", "foreign key"])
def test_built_upon_and_forced(what: str, business: Business) -> None:
    """--force leaves it and what it stands on, takes the rest, exit 1; once it is gone the same rollback ends the
    work."""
    make, name, there, drop = BUILT[what]
    business.migrate()
    business.execute(make)
    forced = business.rollback(force=True)
    assert forced.exit_status is ExitStatus.FINDINGS
    assert business.database.rows(f"SELECT {there} IS NOT NULL") == [(True,)]
    left = [finding.message for finding in forced.findings if finding.name == "not-reverted"]
    assert any(name in message for message in left), left
    assert ("tenant_id" in business.columns("usuarios")) is (what != "foreign key")
    assert "tenant_id" not in business.columns("estoque_lotes"), "the other tables went back"
    business.execute(drop)
    again = business.rollback()
    assert again.exit_status is ExitStatus.DONE, again.findings
    business.assert_original()


@pytest.mark.pg(">= 15")
def test_published_column(business: Business) -> None:
    """A publication's list of columns that names the tenant column is in the way like a view."""
    business.migrate()
    business.execute(
        "ALTER TABLE usuarios REPLICA IDENTITY FULL; CREATE PUBLICATION theirs FOR TABLE usuarios (id, tenant_id)"
    )
    refusal = business.refused()
    assert "publication theirs" in "\n".join([refusal.message, *refusal.details])
    assert business.rollback(force=True).exit_status is ExitStatus.FINDINGS
    assert business.database.rows("SELECT attnames::text FROM pg_publication_tables") == [("{id,tenant_id}",)]


CHANGED = {
    # What they do, and the step that the refusal names.
    "DROP POLICY tenantry_floor ON usuarios": "public.usuarios: an object that tenantry made was dropped: enable and force",
    "ALTER TABLE estoque_lotes DISABLE ROW LEVEL SECURITY": "public.estoque_lotes: an object that tenantry made was"
    " dropped",
    "ALTER POLICY tenantry_application ON escolas USING (true)": "public.escolas: an object that tenantry made was"
    " changed",
    'DROP TRIGGER "~tenantry_assign" ON usuarios': "give new and changed rows their tenant",
    'ALTER TABLE estoque_lotes DISABLE TRIGGER "~tenantry_assign"': "public.estoque_lotes: an object that tenantry made"
    " was dropped: give new and changed rows their tenant",
    "ALTER TABLE estoque_escolas ALTER tenant_id DROP NOT NULL": "set tenant_id NOT NULL",
    "ALTER TABLE estoque_alertas DROP tenant_id CASCADE": "public.estoque_alertas: an object that tenantry made was dropped: add the column tenant_id",
    "ALTER TABLE estoque_escolas DROP CONSTRAINT tenantry_estoque_escolas_escola_id_fkey": "public.estoque_escolas: an object that tenantry made was dropped: foreign key (escola_id, tenant_id)",
}


def test_changed_by_hand(business: Business) -> None:
    """Objects of ours altered or dropped by hand: exit 4 names each; --force goes all the way back all the same."""
    business.migrate()
    for statement, words in CHANGED.items():
        business.execute(statement)
        refusal = business.refused()
        assert words in "\n".join([refusal.message, *refusal.details])
    result = business.rollback(force=True)
    assert result.exit_status is ExitStatus.DONE, result.findings
    business.assert_original()


def test_values_of_two_tenants(business: Business) -> None:
    """A value that two tenants use since contract: the constraint cannot be global again. Named; with --force all else
    goes back; once the value is changed, the same rollback brings the constraint."""
    business.migrate(Phase.CONTRACT)
    business.execute(
        "INSERT INTO usuarios SELECT (jsonb_populate_record(u, jsonb_build_object('id', 90001, 'escola_id',"
        " (SELECT id FROM escolas e WHERE e.tenant_id <> u.tenant_id LIMIT 1), 'tenant_id',"
        " (SELECT tenant_id FROM escolas e WHERE e.tenant_id <> u.tenant_id ORDER BY id LIMIT 1)))).* FROM usuarios u LIMIT 1"
    )
    refusal = business.refused()
    assert "usuarios_email_key" in "\n".join([refusal.message, *refusal.details])
    forced = business.rollback(force=True)
    assert forced.exit_status is ExitStatus.FINDINGS
    assert [finding.name for finding in forced.findings if finding.table] == ["not-reverted"]
    assert business.database.rows("SELECT to_regclass('usuarios_email_key')") == [(None,)]
    assert "tenant_id" not in business.columns("usuarios")
    business.execute("DELETE FROM usuarios WHERE id = 90001")
    assert business.rollback().exit_status is ExitStatus.DONE
    business.assert_original()


def test_a_tenant_that_is_used(business: Business) -> None:
    """The tenant that the spec added, and a key of somebody's that would take rows along: named, and nothing is lost."""
    spec, slug = business.spec, "central"
    business = replace(
        business, spec=spec.model_copy(update={"tenant": spec.tenant.model_copy(update={"default": slug})})
    )
    business.migrate()
    business.execute(
        "CREATE TABLE contracts (id int, tenant_id uuid REFERENCES tenants ON DELETE CASCADE);"
        f"INSERT INTO contracts SELECT 1, id FROM tenants WHERE slug = '{slug}'"
    )
    refusal = business.refused()
    assert "public.contracts" in "\n".join([refusal.message, *refusal.details])
    forced = business.rollback(force=True)
    assert forced.exit_status is ExitStatus.FINDINGS
    assert business.database.rows("SELECT count(*) FROM contracts") == [(1,)]


def test_others_changes_stay(business: Business) -> None:
    """What others have made of their own since is no obstacle: it stays, and is noted as no doing of ours."""
    business.migrate()
    business.execute(
        "ALTER TABLE usuarios ADD telefone text; CREATE INDEX mine ON usuarios (nome); CREATE TABLE mine_too (id int);"
        "CREATE VIEW my_view AS SELECT nome FROM usuarios"
    )
    result = business.rollback()
    assert result.exit_status is ExitStatus.DONE, result.findings
    (noted,) = [finding for finding in result.findings if finding.name == "changed-since"]
    assert "usuarios.telefone" in str(noted.samples)
    assert "telefone" in business.columns("usuarios")
    business.execute("DROP VIEW my_view; ALTER TABLE usuarios DROP telefone; DROP INDEX mine; DROP TABLE mine_too")
    assert business.database.dump() == business.dump


def test_renamed_column(business: Business) -> None:
    """Our column under another name goes, too: it is known by its number."""
    business.migrate()
    business.execute("ALTER TABLE usuarios RENAME tenant_id TO dono")
    result = business.rollback()
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert business.database.dump() == business.dump


def test_rewritten_meanwhile(business: Business, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that somebody empties while the rollback runs: it is not called unchanged."""
    from tenantry.execution.rollback import executor as reverting

    business.migrate()
    whole = reverting.Reverting.all

    def emptied(self: reverting.Reverting, entries: object) -> int:
        count = whole(self, entries)  # type: ignore[arg-type]
        business.execute("TRUNCATE estoque_alertas")
        return count

    monkeypatch.setattr(reverting.Reverting, "all", emptied)
    result = business.rollback()
    assert [finding.name for finding in result.findings if finding.severity == "warning"] == ["table-rewritten"]
    assert "estoque_alertas" in str(result.findings)
    assert checksums(business.database)["usuarios"] == business.rows["usuarios"]


class Builder:
    """Builds an index on the tenant column once the first step is reverted."""

    def __init__(self, business: Business) -> None:
        self.business = business
        self.built = False

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                if event.action == "reverted" and not self.built:
                    self.built = True
                    self.business.execute("CREATE INDEX theirs ON usuarios (nome, tenant_id)")


@pytest.mark.parametrize("force", [False, True])
def test_built_meanwhile(force: bool, business: Business) -> None:
    """What somebody builds while the rollback runs is not dropped along with our column, either."""
    business.migrate()
    options = RollbackOptions(force=force)
    if force:
        forced = rollback(business.target, options, Builder(business))
        assert forced.exit_status is ExitStatus.FINDINGS
        assert "index public.theirs" in str(forced.findings)
    else:
        with pytest.raises(Refused, match=r"other objects depend on it: index public\.theirs"):
            rollback(business.target, options, Builder(business))
    assert business.database.rows("SELECT to_regclass('theirs') IS NOT NULL") == [(True,)]
    business.execute("DROP INDEX theirs")
    assert business.rollback().exit_status is ExitStatus.DONE
    business.assert_original()


def test_half_way_back(business: Business) -> None:
    """A rollback from contract that stops half-way, where its own work looks like somebody's: it goes on without --force."""
    business.migrate(Phase.CONTRACT)
    business.execute(
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$"
    )
    business.execute("CREATE EVENT TRIGGER not_now ON sql_drop WHEN TAG IN ('DROP POLICY') EXECUTE FUNCTION refuse()")
    with pytest.raises(Failed, match="not now"):
        business.rollback()
    business.execute("DROP EVENT TRIGGER not_now; DROP FUNCTION refuse")
    result = business.rollback()
    assert result.exit_status is ExitStatus.DONE, result.findings
    business.assert_original()


class Listener:
    """Keeps what was found."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def __call__(self, event: Event) -> None:
        match event:
            case FindingReported(finding):
                self.findings.append(finding)


def test_dropped_tables(business: Business) -> None:
    """Tables that their owner has dropped since, or a whole schema of them: one line of information says what went with
    them, and the others go back at the first try."""
    business.execute("CREATE SCHEMA elsewhere; ALTER TABLE estoque_alertas SET SCHEMA elsewhere")
    tables = tuple(
        one.model_copy(update={"name": "elsewhere.estoque_alertas"}) if one.name == "estoque_alertas" else one
        for one in business.spec.table
    )
    spec = business.spec.model_copy(update={"schemas": ("public", "elsewhere"), "table": tables, "rule": ()})
    business = replace(business, spec=spec)
    business.migrate()
    business.execute("DROP SCHEMA elsewhere CASCADE; DROP TABLE estoque_escolas_historico CASCADE")
    listener = Listener()
    result = rollback(business.target, RollbackOptions(), listener)
    assert result.exit_status is ExitStatus.DONE, result.findings
    (said,) = [finding for finding in listener.findings if finding.name == "went-along"]
    assert (said.severity, said.refuses) == (Severity.INFO, False)
    assert "elsewhere.estoque_alertas, public.estoque_escolas_historico, which others have dropped" in said.message
    assert "tenantry" not in business.database.dump()
    assert "tenant_id" not in business.columns("usuarios")
