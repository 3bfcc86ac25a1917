"""tenantry export: what an ORM reads from the files is what is in the migrated database."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine

from alembic_history import History
from django_project import Project
from servers import Database, Server
from shop import OWNER, SCHEMA, SPEC
from sqlalchemy_shop import url
from tenantry import MigrateOptions, export, migrate
from tenantry.commands.export import read_context
from tenantry.errors import Refused, UsageError
from tenantry.exports import Orm, write
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import PRESETS, load, spec_path


def build(preset: str) -> Callable[[Database], None]:
    def made(database: Database) -> None:
        with database.connect() as connection:
            load(connection, preset=preset, rows=40)
        migrate(Target(database.dsn), Spec.read(spec_path(preset)), MigrateOptions(until=Phase.CONTRACT, force=True))

    return made


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest, server: Server) -> Iterator[tuple[Database, Spec]]:
    """A preset after contract."""
    database = server.create(f"export_{request.param}", server.template(request.param, build(request.param)))
    yield database, Spec.read(spec_path(request.param))
    server.drop(database)


def written(preset: tuple[Database, Spec], orm: Orm, folder: Path, **options: Any) -> Mapping[str, str]:
    """The export, also as files in `folder`."""
    database, spec = preset
    return put(folder, export(Target(database.dsn), spec, orm, **options))


def put(folder: Path, files: Mapping[str, str]) -> Mapping[str, str]:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return files


def test_sqlalchemy_and_alembic(preset: tuple[Database, Spec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The revision changes nothing; then autogenerate, which compares columns, types, defaults, keys and indexes, finds
    no difference between models and database, without a filter."""
    database, _ = preset
    module = f"{database.name}_models"
    (models,) = written(preset, Orm.SQLALCHEMY, tmp_path).values()
    (tmp_path / f"{module}.py").write_text(models)
    monkeypatch.syspath_prepend(tmp_path)
    history = History(tmp_path, f"{module}.Base.metadata", use_filter=False)
    before = database.dump()
    command.revision(history.config(database.dsn), "first", rev_id="aaa")
    written(preset, Orm.ALEMBIC, history.versions.parent, after="aaa")
    command.upgrade(history.config(database.dsn), "head")
    command.check(history.config(database.dsn))
    assert len(sys.modules[module].Base.metadata.tables) > 8
    database.execute("DROP TABLE alembic_version")
    assert database.dump() == before


COMPARE = """
import django, sys
django.setup()
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import Count, GeneratedField
from tenantry_app import tenant

call_command("check", fail_level="WARNING")
operator = connections["operator"]
seen = set()
with operator.cursor() as cursor:
    for model in apps.get_app_config(sys.argv[1]).get_models():
        table = model._meta.db_table
        seen.add(table)
        there = {column.name: column for column in operator.introspection.get_table_description(cursor, table)}
        cursor.execute("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                       " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", [f'"{table}"'])
        types = dict(cursor.fetchall())
        fields = {field.column: field for field in model._meta.concrete_fields}
        assert fields.keys() == there.keys(), table
        for name, field in fields.items():
            own = (field.db_type(operator) or "").replace("varchar", "character varying")
            assert own.replace(", ", ",") == types[name], (table, name, own, types[name])
            assert field.null == there[name].null_ok, (table, name)
            assert field.has_db_default() == (there[name].default is not None) or field.primary_key or isinstance(
                field, GeneratedField), (table, name)
        constraints = operator.introspection.get_constraints(cursor, table)
        unique = {tuple(one["columns"]) for one in constraints.values()
                  if one["unique"] and None not in one["columns"] and one["columns"]}
        declared = {(field.column,) for field in fields.values() if field.unique}
        declared |= {tuple(model._meta.get_field(name).column for name in one.fields) for one in model._meta.constraints}
        assert unique == declared, (table, unique ^ declared)
        keys = {(one["columns"][0], *one["foreign_key"]) for one in constraints.values()
                if one["foreign_key"] and len(one["columns"]) == 1}
        assert keys == {(field.column, field.related_model._meta.db_table, field.target_field.column)
                        for field in fields.values() if field.is_relation}, table
        with tenant(sys.argv[2]):
            list(model.objects.all())
assert set(operator.introspection.table_names()) == seen
call_command("makemigrations", "--check")
call_command("migrate", sys.argv[1], "--database", "operator", verbosity=0)
model = apps.get_model(sys.argv[1], sys.argv[3])
with tenant(sys.argv[2]):
    row = model.objects.create(**{
        field.name: "1" for field in model._meta.fields
        if not (field.null or field.primary_key or field.has_db_default())})
    assert sys.argv[2] in map(str, row.__dict__.values())
    print("a new row")
"""


def test_django(preset: tuple[Database, Spec], tmp_path: Path) -> None:
    """Models are what introspection sees: columns, types, NULLs, defaults, unique and foreign keys; nothing is left to
    be migrated, whether the migration is the first one or follows a team's own, and none changes the database; a new
    row has its tenant without a word."""
    database, spec = preset
    ((key,),) = database.rows(f"SELECT id::text FROM {spec.tenant.table} LIMIT 1")
    dsn = f"{database.dsn} user=tenantry_app".replace("user=postgres ", "")
    database.execute("ALTER ROLE tenantry_app LOGIN")
    model = {"tenants": "Escolas", "organizations": "Items"}[spec.tenant.table]
    before = database.dump()
    project = Project(tmp_path, "stock", "", default=dsn, operator=database.dsn)
    written(preset, Orm.DJANGO, tmp_path / "stock", app="stock")
    assert "a new row" in project.execute(COMPARE, "stock", key, model)
    ground = replace(read_context(Target(database.dsn), spec), app="stock")
    put(tmp_path / "stock", write(Orm.DJANGO, replace(ground, live=ground.original)))
    written(preset, Orm.DJANGO, tmp_path / "stock", app="stock", after="0001_initial")
    assert (tmp_path / "stock" / "migrations" / "0002_tenants.py").exists()
    said = project.run("makemigrations --check", "migrate stock --database operator")
    assert "No changes detected" in said
    assert "Applying stock.0002_tenants... OK" in said
    database.execute("DROP TABLE django_migrations")
    assert database.dump() == before


def test_prisma(preset: tuple[Database, Spec], tmp_path: Path) -> None:
    """Each column is a field, and each foreign key a relation with both its ends, whose names are its own."""
    database, _ = preset
    text = written(preset, Orm.PRISMA, tmp_path)["schema.prisma"]
    models = {
        mapped[1]: body
        for body in re.findall(r"^model \w+ \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
        if (mapped := re.search(r'@@map\("(\w+)"\)', body))
    }
    columns = database.rows(
        "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped"
    )
    assert models.keys() == {table for table, _ in columns}
    assert all(re.search(rf"^  {column} ", models[table], re.MULTILINE) for table, column in columns)
    keys = database.rows("SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'f'"
                         " AND connamespace = 'public'::regnamespace")  # fmt: skip
    for table, key in keys:
        assert text.count(f'@relation("{table}.{key}"') == 2
        assert f'map: "{key}")' in models[table]
    for body in models.values():
        fields = re.findall(r"^  (\w+) ", body, re.MULTILINE)
        assert len(set(fields)) == len(fields)


SPEC_OF_ODD = """
version = 1
schemas = ['public', 'side "shop"']
[tenant]
table = "tenants"
[application]
role = "nobody"
[[table]]
name = "odd"
paths = [["tenant_id"]]
"""


@pytest.fixture(scope="module")
def odd(server: Server) -> Iterator[tuple[Database, Spec]]:
    """Names and types that no ORM is made for."""
    database = server.create("odd_names")
    database.execute((Path(__file__).parent / "odd.sql").read_text())
    yield database, Spec.parse(SPEC_OF_ODD)
    server.drop(database)


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # its own, for a domain that it reads
def test_odd_names_and_types(odd: tuple[Database, Spec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are texts in the files, and never code; SQLAlchemy finds its models to be what is there, and Django takes its
    own without an error."""
    written(odd, Orm.PRISMA, tmp_path)
    (models,) = written(odd, Orm.SQLALCHEMY, tmp_path).values()
    assert not re.search(r"^\\W*import os", models, re.MULTILINE)
    (tmp_path / "odd_models.py").write_text(models)
    monkeypatch.syspath_prepend(tmp_path)
    metadata = importlib.import_module("odd_models").Base.metadata
    engine = create_engine(url(odd[0].dsn, "psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_schemas": True, "include_name": _is_tenantry})
        changes = compare_metadata(context, metadata)
    # SQLAlchemy reads an enumeration and a domain as classes of its own, which the models have by their names.
    assert [(change[0], change[3]) for ((*change,),) in changes] == [("modify_type", "ação"), ("modify_type", "1")]
    project = Project(tmp_path / "django", "stock", "", default=odd[0].dsn, operator=odd[0].dsn)
    written(odd, Orm.DJANGO, project.folder / "stock", app="stock")
    said = project.run("makemigrations --check", "sqlmigrate stock 0001 --database operator")
    assert "No changes detected" in said
    assert "refused" not in said


def _is_tenantry(name: str | None, type: str, parents: Any) -> bool:
    return name in (None, 'side "shop"') if type == "schema" else name != "parts_1"


def test_what_is_not_migrated_is_refused(server: Server, odd: tuple[Database, Spec]) -> None:
    database = server.create("not_migrated")
    database.execute(SCHEMA.replace(f"SET ROLE {OWNER};", ""))
    with pytest.raises(Refused, match=r"public\.orders has no tenant column yet"):
        export(Target(database.dsn), Spec.parse(SPEC), Orm.DJANGO)
    for orm, after in ((Orm.DJANGO, "initial"), (Orm.ALEMBIC, "x\ny")):
        with pytest.raises(UsageError, match="--after"):
            export(Target(odd[0].dsn), odd[1], orm, after=after)
