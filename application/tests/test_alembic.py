"""Alembic: after contract, autogenerate proposes nothing for models that are as they were before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, ForeignKey, Identity, Integer, MetaData, Table, Text, create_engine

from servers import Database
from shop import OWNER
from sqlalchemy_shop import url
from tenantry_app.alembic import TenantFilter


def models(*, tenant_column: bool = False) -> MetaData:
    """The shop's tables as they were before it was migrated, with the tenant's key where it was the user's own."""
    metadata = MetaData()
    Table(
        "tenants",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("slug", Text, nullable=False, unique=True),
        Column("status", Text, nullable=False),
    )
    Table("units", metadata, Column("id", Integer, primary_key=True), Column("name", Text, nullable=False))
    Table(
        "customers", metadata, Column("id", Integer, primary_key=True), Column("tenant_id", Integer, ForeignKey("tenants.id"), nullable=False),
        Column("name", Text, nullable=False), Column("email", Text, unique=True),
    )  # fmt: skip
    own = [Column("tenant_id", Integer, ForeignKey("tenants.id"), nullable=False)] if tenant_column else []
    Table(
        "orders", metadata, Column("id", Integer, Identity(), primary_key=True),
        Column("customer_id", Integer, ForeignKey("customers.id"), nullable=False), Column("note", Text), *own,
    )  # fmt: skip
    return metadata


@pytest.fixture
def connection(shop: Database) -> Iterator[Connection]:
    engine = create_engine(url(f"{shop.dsn} user={OWNER}".replace("user=postgres ", ""), "psycopg"))
    with engine.connect() as made:
        yield made
    engine.dispose()


def proposed(connection: Connection, metadata: MetaData, **options: Any) -> list[Any]:
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


@pytest.mark.parametrize("tenant_column", [False, True])
def test_nothing_is_proposed(tenant_column: bool, connection: Connection) -> None:
    metadata = models(tenant_column=tenant_column)
    assert len(proposed(connection, metadata)) > 3
    assert proposed(connection, metadata, include_object=TenantFilter(connection)) == []


def test_what_is_new_in_the_models_is(connection: Connection) -> None:
    metadata = models()
    metadata.tables["orders"].append_column(Column("total", Integer, unique=True))
    Table("news", metadata, Column("id", Integer, primary_key=True))
    found = proposed(connection, metadata, include_object=TenantFilter(connection))
    assert sorted(change[0] for change in found) == ["add_column", "add_constraint", "add_table"]
