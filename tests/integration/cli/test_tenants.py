"""tenantry tenants, sample, discover, housekeeping and status on their own."""

from __future__ import annotations

import json

import pytest

from conftest import Command
from servers import Database


def test_list_add_rename(shop: Command, estoque: Database) -> None:
    """A tenant is added with its name, renamed, and keeps its key; duplicates and strangers are refused."""
    before = len(shop("tenants", "list", "--json").json["tenants"])
    dry = shop("tenants", "add", "novo", "--name", "Novo Município", "--dry-run")
    assert dry.status == 0
    assert dry.stdout.startswith("INSERT INTO ")
    assert shop("tenants", "add", "novo", "--name", "Novo Município").status == 0
    (novo,) = (one for one in shop("tenants", "list", "--json").json["tenants"] if one["slug"] == "novo")
    assert novo["name"] == "Novo Município"
    again = shop("tenants", "add", "novo")
    assert (again.status, "already" in again.stderr) == (4, True)
    assert shop("tenants", "rename", "novo", "velho").status == 0
    assert estoque.rows("SELECT id::text, name FROM tenants WHERE slug = 'velho'") == [(novo["key"], "Novo Município")]
    stranger = shop("tenants", "rename", "velo", "x")
    assert (stranger.status, 'did you mean "velho"' in stranger.stderr) == (2, True)
    assert shop("tenants", "add", " ").status == 2
    assert len(shop("tenants", "list", "--json").json["tenants"]) == before + 1


def test_columns_that_nobody_can_guess(shop: Command, estoque: Database) -> None:
    """A NOT NULL column that is no text wants a value: exit 2, and it is named; a text gets the name."""
    estoque.execute(
        "ALTER TABLE tenants ADD COLUMN uf text NOT NULL DEFAULT 'SP'; ALTER TABLE tenants ALTER uf DROP DEFAULT"
    )
    assert shop("tenants", "add", "um").status == 0
    estoque.execute(
        "ALTER TABLE tenants ADD COLUMN since date NOT NULL DEFAULT now(); ALTER TABLE tenants ALTER since DROP DEFAULT"
    )
    outcome = shop("tenants", "add", "dois")
    assert (outcome.status, "since date" in outcome.stderr) == (2, True)
    assert estoque.rows("SELECT slug FROM tenants WHERE slug IN ('um', 'dois')") == [("um",)]


def test_triggers_of_the_tenant_table(shop: Command, estoque: Database) -> None:
    """They find what they name without a schema; one that objects is quoted, and nothing is added."""
    estoque.execute("""
        CREATE FUNCTION allowed(slug text) RETURNS bool LANGUAGE sql AS $$ SELECT slug <> 'evil' $$;
        CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF NOT allowed(NEW.slug) THEN RAISE 'no, not %', NEW.slug; END IF; RETURN NEW; END $$;
        CREATE TRIGGER look BEFORE INSERT OR UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION look();
    """)
    assert shop("tenants", "add", "good").status == 0
    for words in (("add", "evil"), ("rename", "good", "evil")):
        outcome = shop("tenants", *words)
        assert (outcome.status, "no, not evil" in outcome.stderr) == (2, True)
    assert estoque.rows("SELECT slug FROM tenants WHERE slug IN ('good', 'evil')") == [("good",)]


def test_tenant_table_that_is_yet_to_be_made(shop: Command, estoque: Database) -> None:
    """Before migrate makes the table there is nobody to list; then there is, and the default and quarantine
    are marked.
    """
    spec = shop.folder / "tenantry.toml"
    text = spec.read_text().split("[[table]]")[0]
    text = text.replace('table   = "tenants"', 'table = "prefeituras"\ncreate = true\ndefault = "principal"')
    names = ("produtos", "escolas", "usuarios", "estoque_escolas", "estoque_lotes", "estoque_escolas_historico",
             "estoque_movimentacoes", "estoque_alertas", "tenants")  # fmt: skip
    text = text.replace('"tenant_id"', '"prefeitura_id"')
    for name in names:
        text += f'[[table]]\nname = "{name}"\nassign = {{ tenant = "principal" }}\n'
    spec.write_text(text)
    early = shop("tenants", "list")
    assert (early.status, "--until expand" in early.stderr) == (2, True)
    assert shop("migrate", "--until", "expand", "--quiet").status == 0
    (only,) = shop("tenants", "list", "--json").json["tenants"]
    assert (only["slug"], only["default"], only["quarantine"]) == ("principal", True, False)
    assert shop("tenants", "add", "outra", "--name", "Outra").status == 0
    named = shop("tenants", "rename", "principal", "x")
    assert (named.status, "migrate would create it again" in named.stderr) == (4, True)


def test_purge_is_refused_while_in_force(shop: Command, estoque: Database) -> None:
    """The journal stays while a rollback may need it; --force gives it up, and the migration stays whole."""
    assert shop("housekeeping").stdout.startswith("tenantry keeps nothing")
    assert shop("housekeeping", "--purge").status == 0
    assert shop("migrate", "--quiet").status == 0
    refused = shop("housekeeping", "--purge")
    assert (refused.status, "rollback" in refused.stderr) == (4, True)
    dry = shop("housekeeping", "--purge", "--force", "--dry-run")
    assert "DROP TABLE" in dry.stdout
    assert estoque.rows("SELECT count(*) > 0 FROM tenantry.steps") == [(True,)]
    before = estoque.dump()
    assert shop("housekeeping", "--purge", "--force").status == 0
    assert estoque.dump() == before
    assert estoque.rows("SELECT to_regclass('tenantry.steps')") == [(None,)]
    # The triggers that serve the old application still find their functions.
    estoque.execute("UPDATE usuarios SET escola_id = escola_id")
    assert shop("rollback", "--confirm").status == 0
    assert estoque.dump() == before


def test_status_of_an_untouched_database(shop: Command) -> None:
    """Without a journal: NOT_STARTED, every table with its kind."""
    status = shop("status", "--json").json
    assert status["word"] == "NOT_STARTED"
    kinds = {table["table"]: table["kind"] for table in status["tables"]}
    assert kinds["public.tenants"] == "tenant"
    assert kinds["public.produtos"] == "shared"
    assert kinds["public.estoque_alertas"] == "mixed"
    assert kinds["public.usuarios"] == "owned"
    (users,) = (table for table in status["tables"] if table["table"] == "public.usuarios")
    assert users["column"] is None


@pytest.mark.parametrize(
    ("damage", "key"),
    [
        ("DROP INDEX tenantry_usuarios__escola_id_idx", "index:public.tenantry_usuarios__escola_id_idx"),
        ("ALTER TABLE usuarios NO FORCE ROW LEVEL SECURITY", "row_security:public.usuarios"),
        ("ALTER POLICY tenantry_floor ON usuarios USING (true)", "row_security:public.usuarios"),
    ],
)
def test_status_names_what_was_altered(shop: Command, estoque: Database, damage: str, key: str) -> None:
    """Somebody drops or changes what is ours: it is named, and migrate puts back what is gone."""
    assert shop("migrate", "--quiet").status == 0
    estoque.execute(damage)
    status = shop("status", "--json").json
    assert status["altered"] == [key]
    assert key in shop("status").stdout


def test_sample(shop: Command, database: Database) -> None:
    """Counts and planted faults are told; a second time is refused; orphans then stop a migration, counted."""
    outcome = shop("sample", "estoque", "--rows", "300", "--faults", "orphans", "--json", dsn=database.dsn)
    assert outcome.status == 0, outcome.stdout
    faults = outcome.json["faults"]
    assert {fault["kind"] for fault in faults} == {"orphans"}
    assert database.rows("SELECT count(*) FROM estoque_movimentacoes")[0][0] >= 300
    assert shop("sample", "estoque", dsn=database.dsn).status == 4
    before = database.dump()
    refused = shop("migrate", dsn=database.dsn)
    assert (refused.status, "orphan" in refused.stderr) == (4, True)
    assert database.dump() == before


def test_discover(shop: Command, estoque: Database) -> None:
    """The spec is printed, or written beside its diagram, and never over a file unless told to."""
    before = estoque.dump()
    text = shop("discover").stdout
    assert "[[table]]" in text
    written = shop("discover", "--output", "found.toml", "--diagram", "--undecided", "shared")
    assert written.status == 0, written.stderr
    assert (shop.folder / "found.mmd").read_text().startswith("flowchart")
    again = shop("discover", "--output", "found.toml")
    assert (again.status, "--force" in again.stderr) == (4, True)
    assert estoque.dump() == before
    assert shop("plan", "--config", "found.toml", "--json").json["undecided"] == {}
    assert shop("discover", "--output", "no/such/folder.toml").status == 2


def test_a_tenant_is_exported_removed_and_imported(shop: Command, estoque: Database) -> None:
    """Each with a dry run that changes nothing; a removal without --confirm shows what it would do, and exits 4."""
    assert shop("migrate", "--quiet").status == 0
    slug = shop("tenants", "list", "--json").json["tenants"][0]["slug"]
    rows = estoque.rows("SELECT count(*), sum(hashtext(t::text)) FROM estoque_movimentacoes t")
    dry = shop("tenants", "export", slug, "--output", "there", "--dry-run", "--json").json
    assert (dry["dry_run"], (shop.folder / "there").exists()) == (True, False)
    assert dry["export"]["tables"]["public.estoque_movimentacoes"] > 0
    missing = shop("tenants", "export", "nobody", "--output", "there")
    assert (missing.status, "there is no tenant 'nobody'" in missing.stderr) == (2, True)
    exported = shop("tenants", "export", slug, "--output", "there", "--json").json["export"]
    assert exported["tables"] == dry["export"]["tables"]
    again = shop("tenants", "export", slug, "--output", "there")
    assert (again.status, "is not empty" in again.stderr) == (4, True)
    asked = shop("tenants", "remove", slug)
    assert (asked.status, "takes --confirm" in asked.stderr) == (4, True)
    assert "would be exported first" in asked.stdout
    dry = shop("tenants", "remove", slug, "--dry-run", "--json").json
    assert (dry["tables"], dry["blockers"], dry["unfinished"]) == (exported["tables"], [], None)
    assert shop("tenants", "import", "there", "--as", " x").status == 2
    assert estoque.rows("SELECT count(*), sum(hashtext(t::text)) FROM estoque_movimentacoes t") == rows
    removed = shop("tenants", "remove", slug, "--confirm", "--backup", "none")
    assert (removed.status, "--force" in removed.stderr) == (4, True)
    removed = shop("tenants", "remove", slug, "--confirm", "--json").json
    assert removed["rows"] == removed["exported"] == exported["rows"]
    assert removed["folder"].startswith(str(shop.folder / "backups" / f"tenant_{slug}_"))
    imported = shop("tenants", "import", removed["folder"], "--json").json
    assert (imported["rows"], imported["tenant"]) == (exported["rows"], slug)
    assert estoque.rows("SELECT count(*), sum(hashtext(t::text)) FROM estoque_movimentacoes t") == rows
    there = shop("tenants", "import", removed["folder"])
    assert (there.status, "of this tenant already" in there.stderr) == (4, True)
    reports = [json.loads(path.read_text()) for path in (shop.folder / "reports").glob("*-report-*.json")]
    ends = {(one["command"], one["exit_status"]) for one in reports}
    assert ends >= {("tenants export", 0), ("tenants remove", 0), ("tenants import", 0), ("tenants import", 4)}
