"""Django 5.2 or newer: models of all tables, and a migration of Django's state, which changes no database."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tenantry.errors import UsageError
from tenantry.exports.context import (
    DEFAULT_SCHEMA,
    ExportContext,
    Files,
    Type,
    class_names,
    identifiers,
    numbered,
    plain_uniques,
    primary_key,
)
from tenantry.model.name import Name
from tenantry.model.schema import Column, ForeignKey, Table

MODELS = '''\
"""The tables as they are after the migration: `tenantry export django`."""

from __future__ import annotations

from typing import Any

from django.db import models


class Other(models.Field):
    """A type of the database that Django has no field for."""

    def __init__(self, *args: Any, db_type: str = "", **options: Any) -> None:
        self.name_of_type = db_type
        super().__init__(*args, **options)

    def db_type(self, connection: Any) -> str:
        return self.name_of_type

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        return name, path, args, {{**options, "db_type": self.name_of_type}}


{models}'''
MIGRATION = '''\
"""What tenantry has added, for Django's state: the database is not changed."""

from django.db import migrations, models

import {app}.models


class Migration(migrations.Migration):
{initial}    dependencies = {dependencies}
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
{operations}
            ],
        ),
    ]
'''
FIELDS = {
    "smallint": "SmallIntegerField", "integer": "IntegerField", "bigint": "BigIntegerField", "text": "TextField",
    "boolean": "BooleanField", "double precision": "FloatField", "date": "DateField", "uuid": "UUIDField",
    "jsonb": "JSONField", "bytea": "BinaryField", "interval": "DurationField", "inet": "GenericIPAddressField",
    "character varying": "CharField", "numeric": "DecimalField", "time without time zone": "TimeField",
    "timestamp with time zone": "DateTimeField",
}  # fmt: skip
COUNTED = {"smallint": "SmallAutoField", "integer": "AutoField", "bigint": "BigAutoField"}
ON_DELETE = {"c": "CASCADE", "n": "SET_NULL", "r": "RESTRICT"}
RESERVED = {
    "pk", "objects", "check", "clean", "clean_fields", "date_error_message", "delete", "from_db", "full_clean", "save",
    "get_constraints", "get_deferred_fields", "prepare_database_save", "refresh_from_db", "arefresh_from_db", "asave",
    "adelete", "save_base", "serializable_value", "unique_error_message", "validate_constraints", "validate_unique",
}  # fmt: skip
"""The attributes that every model has already."""
NUMBER = re.compile(r"\A(\d{4})_\w+\Z")


@dataclass(frozen=True, slots=True)
class Model:
    """A model's fields, by their names, and its unique constraints, each as Python text. `key`: the field that is the
    primary key."""

    table: str
    key: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    constraints: dict[str, str] = field(default_factory=dict)


def django_files(context: ExportContext) -> Files:
    """models.py, and one migration: the first, of all models, or the one that follows `after`.

    Raises UsageError if `after` is not the name of a migration.
    """
    live = _Writer(context, context.tables).models
    models = (_class(name, model) for name, model in live.items())
    if context.after is None:
        number, operations = "0001_initial", [_create(context.app, name, model) for name, model in live.items()]
    else:
        match = NUMBER.match(context.after)
        if match is None:
            raise UsageError(
                f"--after: {context.after!r} is not the name of a migration", remedy="Write it as 0007_name."
            )
        number = f"{int(match[1]) + 1:04}_tenants"
        original = _Writer(context, tuple(context.original_tables.values())).models
        operations = list(_difference(context.app, original, live))
    migration = MIGRATION.format(
        app=context.app, initial="    initial = True\n" if context.after is None else "",
        dependencies=[] if context.after is None else [(context.app, context.after)],
        operations=textwrap.indent(",\n".join(operations) + ",", " " * 16),
    )  # fmt: skip
    return {
        "__init__.py": "",
        "models.py": MODELS.format(models="\n\n".join(models)),
        "migrations/__init__.py": "",
        f"migrations/{number}.py": migration,
    }


def _class(name: str, model: Model) -> str:
    lines = [f"{one} = {text}" for one, text in model.fields.items()]
    lines += ["", "class Meta:", f"    db_table = {model.table!r}"]
    if model.constraints:
        lines += ["    constraints = [", *(f"        {text}," for text in model.constraints.values()), "    ]"]
    return f"class {name}(models.Model):\n" + textwrap.indent("\n".join(lines), "    ") + "\n"


def _create(app: str, name: str, model: Model) -> str:
    fields = "".join(f"        ({one!r}, {text}),\n" for one, text in _in_migration(app, model).items())
    constraints = ", ".join(model.constraints.values())
    options = f"{{'db_table': {model.table!r}, 'constraints': [{constraints}]}}"
    return f"migrations.CreateModel(\n    {name!r},\n    [\n{fields}    ],\n    options={options},\n)"


def _in_migration(app: str, model: Model) -> dict[str, str]:
    """The fields as in a migration: classes with their module, and `serialize=False` for the primary key."""
    original = {}
    for name, text in model.fields.items():
        text = re.sub(r"\AOther\(", f"{app}.models.Other(", text)
        text = re.sub(r"\A(models\.(?:ForeignKey|OneToOneField)\()'", rf"\1'{app}.", text)
        if name == model.key:
            text = f"{text[:-1]}, serialize=False)"
        elif name == "pk":
            text = f"{text[:-1]}, blank=True, editable=False, primary_key=True, serialize=False)"
        original[name] = text
    return original


def _difference(app: str, original: Mapping[str, Model], live: Mapping[str, Model]) -> Iterator[str]:
    for name, model in live.items():
        if name not in original:
            yield _create(app, name, model)
    for name, model in live.items():
        before = original.get(name)
        if before is None:
            continue
        for constraint in (one for one in before.constraints if one not in model.constraints):
            yield f"migrations.RemoveConstraint({name!r}, {constraint!r})"
        for one, text in _in_migration(app, model).items():
            if one not in before.fields:
                yield f"migrations.AddField({name!r}, {one!r}, {text})"
            elif before.fields[one] != model.fields[one]:
                yield f"migrations.AlterField({name!r}, {one!r}, {text})"
        for constraint, text in model.constraints.items():
            if constraint not in before.constraints:
                yield f"migrations.AddConstraint({name!r}, {text})"


@dataclass(frozen=True)
class _Writer:
    context: ExportContext
    tables: tuple[Table, ...]

    @cached_property
    def _classes(self) -> Mapping[Name, str]:
        """From the live schema, so that a table has the same name in both schemas."""
        return class_names(self.context.tables, {"Other", "Any", "Model"})

    @cached_property
    def models(self) -> dict[str, Model]:
        return {self._classes[table.name]: self._model(table) for table in self.tables if primary_key(table)}

    def _model(self, table: Table) -> Model:
        key, names = primary_key(table), self._names(table)
        model = Model(_table_name(table.name), names[key[0]] if len(key) == 1 else "")
        for column in table.columns:
            model.fields[names[column.name]] = self._field(table, column, names[column.name])
        if len(key) > 1:
            parts = ", ".join(repr(names[name]) for name in key)
            model.fields["pk"] = f"models.CompositePrimaryKey({parts})"
        for unique in plain_uniques(table):
            if unique.columns != key and len(unique.columns) > 1:
                fields = [names[name] for name in unique.columns]
                model.constraints[unique.name] = f"models.UniqueConstraint(fields={fields!r}, name={unique.name!r})"
        return model

    def _names(self, table: Table) -> dict[str, str]:
        """The field of each column; that of a foreign key without _id. In the order of the live table, whose columns
        include those of the original table."""
        columns = [column.name for column in table.columns]
        keys = {column for column in columns if self._key(table, column) is not None}
        short = {name: name.removesuffix("_id") for name in keys}
        wanted = (name if short.get(name, name) in columns else short.get(name, name) for name in columns)
        return dict(zip(columns, identifiers(wanted, RESERVED), strict=True))

    def _key(self, table: Table, column: str) -> ForeignKey | None:
        """The user's foreign key of this column alone, to a table that has a model."""
        keys = (key for key in self.context.keys(table) if key.columns == (column,))
        return next((key for key in keys if primary_key(self.context.live.tables[key.parent])), None)

    def _field(self, table: Table, column: Column, name: str) -> str:
        kind, options = _kind(column)
        key = self._key(table, column.name)
        if primary_key(table) == (column.name,):
            options["primary_key"] = "True"
            if numbered(column) and column.base_type in COUNTED and key is None:
                return _call(f"models.{COUNTED[column.base_type]}", {**_column(name, column, False), **options})
        elif any(unique.columns == (column.name,) for unique in plain_uniques(table)):
            options["unique"] = "True"
        if not column.not_null:
            options |= {"null": "True", "blank": "True"}
        default = _default(column)
        if default is not None and not column.generated:
            options["db_default"] = default
        if column.name == self.context.tenant_column(table.name) and default is not None:
            options["editable"] = "False"
        if key is not None:
            return self._relation(table, column, key, name, options)
        if column.generated == "s" and default is not None:
            null = {"null": "True"} if not column.not_null else {}
            options = {"expression": default, "output_field": _call(kind, options), "db_persist": "True", **null}
            return _call("models.GeneratedField", {**_column(name, column, False), **options})
        return _call(kind, {**_column(name, column, False), **options})

    def _relation(self, table: Table, column: Column, key: ForeignKey, name: str, options: dict[str, str]) -> str:
        for unneeded in ("max_length", "max_digits", "decimal_places", "db_type"):
            options.pop(unneeded, None)
        parent = self.context.live.tables[key.parent]
        on_delete = ON_DELETE.get(key.on_delete, "DO_NOTHING")
        if on_delete == "SET_NULL" and column.not_null:
            on_delete = "DO_NOTHING"
        more = {"db_index": "False", "related_name": repr(f"{self._classes[table.name].lower()}_{name}_set")}
        if primary_key(parent) != key.parent_columns:
            more["to_field"] = repr(self._names(parent)[key.parent_columns[0]])
        kind = "OneToOneField" if "unique" in options or "primary_key" in options else "ForeignKey"
        options.pop("unique", None)
        call = _call("", {**_column(name, column, True), **more, **options})[1:]
        return f"models.{kind}({self._classes[key.parent]!r}, models.{on_delete}, {call}"


def _table_name(name: Name) -> str:
    # Django quotes the name as a whole, and has no option for a schema.
    return name.name if name.schema == DEFAULT_SCHEMA else f'{name.schema}"."{name.name}'


def _kind(column: Column) -> tuple[str, dict[str, str]]:
    """A field's class and its arguments for the type."""
    type = Type.of(column)
    other = "Other", {"db_type": repr(type.text)}
    kind = FIELDS.get(type.name)
    if kind is None or type.array:
        return other
    match kind, type.arguments:
        case "CharField", (length,):
            return f"models.{kind}", {"max_length": str(length)}
        case "DecimalField", (digits, places):
            return f"models.{kind}", {"max_digits": str(digits), "decimal_places": str(places)}
        case ("CharField", ()) | (_, ()) if kind != "DecimalField":
            return f"models.{kind}", {}
    return other


def _column(name: str, column: Column, relation: bool) -> dict[str, str]:
    attribute = f"{name}_id" if relation else name
    return {"db_column": repr(column.name)} if column.name != attribute else {}


def _default(column: Column) -> str | None:
    """The column's default, or a generated column's expression; None for values that are numbered."""
    if column.default is None:
        return None
    return f"models.Func(template={column.default.replace('%', '%%')!r})"


def _call(name: str, options: Mapping[str, str]) -> str:
    return f"{name}({', '.join(f'{option}={value}' for option, value in options.items())})"
