"""Alembic: autogenerate for models with or without tenant columns, against a database that tenantry has migrated.

    # env.py
    context.configure(connection=connection, target_metadata=metadata, include_object=TenantFilter(connection))

It leaves out what tenantry has added and the models do not have: the tenant column, the indexes, unique constraints and
foreign keys that include it, objects named tenantry_…, and schema tenantry. A unique constraint or index of the models
is not proposed if the database has a per-tenant one in its place. Alembic does not compare policies and triggers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Connection, inspect


class TenantFilter:
    """An `include_object` for Alembic's context.configure(). `column`: the tenant column."""

    def __init__(self, connection: Connection, *, column: str = "tenant_id") -> None:
        self._column = column
        self._inspector = inspect(connection)
        self._unique = cache(self._read_unique)

    def __call__(self, object: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
        """Whether Alembic is to compare an object. `compare_to`: its counterpart on the other side; None if there is
        none."""
        if compare_to is not None:
            # tenantry adds a default and NOT NULL, also if the models have the column.
            return type_ != "column" or name != self._column
        if not reflected:
            if type_ == "foreign_key_constraint":
                return list(object.columns.keys()) != [self._column]  # to the tenant table: tenantry has its own
            return not (type_ in ("index", "unique_constraint") and self._per_tenant(object))
        match type_:
            case "table":
                return object.schema != "tenantry" and not (name or "").startswith("tenantry_")
            case "column":
                return name != self._column
            case "index" | "unique_constraint" | "foreign_key_constraint":
                return self._column not in object.columns and not (name or "").startswith("tenantry_")
        return True

    def _per_tenant(self, key: Any) -> bool:
        """Whether a unique key of the models is a per-tenant one in the database."""
        if not getattr(key, "unique", True):
            return False
        return frozenset(key.columns.keys()) | {self._column} in self._unique(key.table.name, key.table.schema)

    def _read_unique(self, table: str, schema: str | None) -> frozenset[frozenset[str | None]]:
        if not self._inspector.has_table(table, schema):
            return frozenset()
        indexes = self._inspector.get_indexes(table, schema)
        return frozenset(frozenset(index["column_names"]) for index in indexes if index["unique"])
