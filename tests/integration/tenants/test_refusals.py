"""What is refused before anything is changed: with the reason, the rows, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servers import Database
from tenantry import (
    MigrateOptions,
    RemovalBackup,
    RemoveOptions,
    migrate,
    preview_export,
    preview_removal,
    remove_tenant,
)
from tenantry.errors import Failed, Refused, UsageError
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.presets import load
from tenants.conftest import HANDED_OVER, Isolated, content, spec_of, target

pytestmark = pytest.mark.server


def refused(call: Callable[[], Any], *words: str, kind: type[Exception] = Refused) -> None:
    with pytest.raises(kind) as error:
        call()
    told = str(error.value) + " ".join(getattr(error.value, "details", ())) + getattr(error.value, "remedy", "")
    assert [word for word in words if word not in told] == [], told


def test_who_has_to_stay(warehouse: Isolated, tmp_path: Path) -> None:
    """No such tenant; one that the spec names; one to whose rows another tenant's rows refer; and no export without
    --force. Nothing is changed, and nothing written."""
    one, before = warehouse, content(warehouse.database)
    refused(lambda: one.remove("tow", tmp_path / "a"), 'did you mean "two"?', kind=UsageError)
    default = one.spec.model_copy(update={"tenant": one.spec.tenant.model_copy(update={"default": "two"})})
    refused(lambda: preview_removal(one.target, default, "two", RemoveOptions()), "is the default tenant")
    refused(lambda: one.remove("held", tmp_path / "a"), "is the quarantine tenant")
    # One of tenant three was chosen by one of tenant one.
    shown = preview_removal(one.target, one.spec, "one", RemoveOptions(folder=tmp_path / "a"))
    assert shown.blockers == ("1 row of public.people by chosen_by to public.people: 20",)
    refused(lambda: one.remove("one", tmp_path / "a"), "1 row of public.people by chosen_by to public.people: 20")
    none = RemoveOptions(backup=RemovalBackup.NONE)
    refused(lambda: remove_tenant(one.target, one.spec, "two", none), "no export of them", "--force")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    refused(lambda: one.export("two", tmp_path / "full"), "is not empty: it has mine")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    refused(lambda: one.export("two", tmp_path / "open" / "x"), "is not safe from other users")
    assert not (tmp_path / "a").exists()
    assert content(one.database) == before
    assert one.database.rows("SELECT FROM tenantry.runs WHERE command LIKE 'tenants%'") == []


def test_before_contract(template: Callable[..., Database], tmp_path: Path) -> None:
    """Before isolate nobody's rows are known for certain; from there on it works."""
    spec = spec_of("enterprise")

    def build(database: Database) -> None:
        with database.connect() as connection:
            load(connection, preset="enterprise", rows=100, seed=1)
        migrate(target(database), spec, MigrateOptions(until=Phase.ENFORCE, force=True, backup=BackupKind.NONE))

    one = Isolated(template("tenants enterprise enforced", build), spec)
    refused(lambda: one.export("default", tmp_path / "x"), "not isolated", "migrate --until isolate")
    migrate(one.target, spec, MigrateOptions(until=Phase.ISOLATE, force=True, backup=BackupKind.NONE))
    assert preview_export(one.target, spec, "default").rows > 100
    one.export("default", tmp_path / "x")
    refused(lambda: one.load(tmp_path / "x"), "public.users has 4 rows of this tenant already")
    one.database.execute(HANDED_OVER)
    before = content(one.database)
    one.remove("second", tmp_path / "second")
    one.load(tmp_path / "second")
    assert content(one.database) == before


def test_an_import_that_does_not_fit(warehouse: Isolated, isolated: Callable[[str], Isolated], tmp_path: Path) -> None:
    """Each thing that is in the way is named, all at once where it can be; nothing is changed."""
    folder = tmp_path / "three"
    warehouse.export("three", folder)
    there = isolated("warehouse")
    refused(
        lambda: there.load(folder),
        "public.people has 10 rows of this tenant already", 'public."a ""b"" ../c.csv"'.replace("public", "other"),
    )  # fmt: skip
    there.remove("three")
    there.database.execute(
        "UPDATE currencies SET name = 'Euro' WHERE code = 'EUR';"
        "UPDATE products SET name = 'other' WHERE id = 2;"
        "INSERT INTO shops VALUES (2, 1, 'taken') ON CONFLICT DO NOTHING;"
        "INSERT INTO shops VALUES (5, 1, 'taken') ON CONFLICT DO NOTHING;"
    )
    before = content(there.database)
    refused(
        lambda: there.load(folder),
        "public.shops: 2 rows with a value of id that another row here has (2; 5)",
        "public.products: 1 row here with other values than in the export (2)",
        "public.orders refers to 1 row of public.currencies with other values here (EUR)",
    )  # fmt: skip
    refused(lambda: there.load(folder, slug="one"), "there is a tenant 'one' with another key, 1")
    assert content(there.database) == before
    there.database.execute("ALTER TABLE shops ADD COLUMN rent text; ALTER TABLE watched ALTER value TYPE varchar(30)")
    refused(
        lambda: there.load(folder),
        "public.shops has a column rent here that is not in the export",
        "public.watched.value is character varying(30) here, and text in the export",
    )  # fmt: skip
    assert there.database.rows("SELECT FROM tenantry.runs WHERE command = 'tenants import'") == []


def test_damaged_folders(warehouse: Isolated, tmp_path: Path) -> None:
    """A folder that is none, incomplete, changed, or open to others is refused before the database is asked."""
    folder = tmp_path / "three"
    export = warehouse.export("three", folder)
    refused(lambda: warehouse.load(tmp_path / "none"), "is not there", kind=UsageError)

    def changed(name: str, change: Callable[[Path], Any], *words: str, kind: type[Exception] = Refused) -> None:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        change(copy)
        refused(lambda: warehouse.load(copy), *words, kind=kind)

    file = next(one.file.name for one in export.tables if one.table.name == "typed")
    changed("a", lambda it: (it / "manifest.json").unlink(), "holds no export", kind=UsageError)
    changed("b", lambda it: (it / file).unlink(), "cannot be read")
    changed("c", lambda it: (it / file).write_bytes((it / file).read_bytes().replace(b"high", b"low", 1)),
            "is not what was written")  # fmt: skip
    changed("d", lambda it: it.chmod(0o777), "is not safe from other users")
    changed("e", lambda it: (it / "manifest.json").write_text("{}"), "cannot be read")

    def later(it: Path) -> None:
        manifest = json.loads((it / "manifest.json").read_text())
        (it / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))

    changed("f", later, "newer tenantry", kind=UsageError)

    def elsewhere(it: Path) -> None:
        manifest = json.loads((it / "manifest.json").read_text())
        manifest["tables"][0]["file"]["name"] = "../../etc/passwd"
        (it / "manifest.json").write_text(json.dumps(manifest))

    changed("g", elsewhere, "a file that no export has")


def test_a_manifest_that_somebody_has_made(warehouse: Isolated, tmp_path: Path) -> None:
    """Whatever names and types it has, none becomes part of a statement."""
    folder, role = tmp_path / "three", "tenant_rows_made"
    warehouse.export("three", folder)
    warehouse.remove("three")
    path = folder / "manifest.json"
    written = path.read_text()
    code = f"text); CREATE ROLE {role}; CREATE TEMP TABLE more (a text"

    def made(change: Callable[[dict[str, Any]], Any], *words: str) -> None:
        manifest = json.loads(written)
        change(manifest)
        path.write_text(json.dumps(manifest))
        refused(lambda: warehouse.load(folder, dry_run=True), "does not fit this database", *words)
        assert warehouse.database.rows(f"SELECT FROM pg_roles WHERE rolname = '{role}'") == []

    def first(manifest: dict[str, Any]) -> dict[str, Any]:
        return dict(manifest["tables"][0])

    foreign = "public.currencies (code), to which public.orders refers, has other types here"
    for types in ([code], ["text", "text"], []):
        made(lambda it, types=types: it["references"][0].update(types=types), foreign)  # type: ignore[misc]
    made(lambda it: it["references"][0].update(parent_columns=["nope"]), "public.currencies (nope), to which")
    made(lambda it: it["tables"].insert(0, first(it) | {"columns": [{"name": "id", "type": code}]}),
         "is in the export several times")  # fmt: skip
    made(lambda it: it["tables"][0]["columns"].insert(0, it["tables"][0]["columns"][0] | {"type": code}),
         "has several columns", f"and {code} in the export")  # fmt: skip


def test_what_is_not_in_it(warehouse: Isolated, tmp_path: Path) -> None:
    """Shared rows, rows of other tenants and large objects are named, and the former have to be there at the import."""
    export = warehouse.export("three", tmp_path / "three")
    assert set(export.left_out) == {
        "1 large object in public.typed.scan: the export has the OID of each, not its contents",
        "1 row of public.people of other tenants, to which public.people (chosen_by) refers",
        "1 row of public.currencies that all tenants see, to which public.orders (currency) refers",
        "1 row of public.notices that all tenants see, to which public.replies (notice) refers",
    }
    warehouse.remove("three")
    warehouse.database.execute("UPDATE people SET chosen_by = NULL; DELETE FROM notices WHERE id = 20")
    before = content(warehouse.database)
    refused(
        lambda: warehouse.load(tmp_path / "three"),
        "public.replies refers to 1 row of public.notices missing here (20)",
    )  # fmt: skip
    assert content(warehouse.database) == before


def test_rows_that_are_changed_on_their_way(warehouse: Isolated, tmp_path: Path) -> None:
    """What changes rows when they are inserted, and is no trigger that could be switched off, undoes the import: what is
    there would not be what was exported."""
    warehouse.export("three", tmp_path / "three")
    warehouse.remove("three")
    before = content(warehouse.database)
    warehouse.database.execute(
        "CREATE FUNCTION tenantry.meddles() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.note := 'changed'; RETURN NEW; END $$;"
        "CREATE TRIGGER meddles BEFORE INSERT ON shops FOR EACH ROW EXECUTE FUNCTION tenantry.meddles()"
    )
    refused(lambda: warehouse.load(tmp_path / "three"), "would not have what was exported", kind=Failed)
    assert content(warehouse.database) == before


def test_into_another_database(warehouse: Isolated, isolated: Callable[[str], Isolated], tmp_path: Path) -> None:
    """Under another slug, into a database of the same schema that has not had the tenant: its sequences go on behind the
    rows; an empty tenant that is there already is taken."""
    folder = tmp_path / "two"
    export = warehouse.export("two", folder)
    there = isolated("warehouse")
    there.remove("two")
    there.database.execute("SELECT setval('people_id_seq', 1), setval('typed_serial_seq', 1)")
    done = there.load(folder, slug="due")
    assert (done.slug, done.rows, done.spec_differs) == ("due", export.rows - 4, False)
    was, now = content(warehouse.database), content(there.database)
    assert set(now.pop("tenants")) - set(was["tenants"]) == {'(2,due,"Zwei ☃")'}
    assert now == {name: rows for name, rows in was.items() if name != "tenants"}
    assert there.database.rows("SELECT nextval('people_id_seq'), nextval('typed_serial_seq')") == [(31, 63)]
