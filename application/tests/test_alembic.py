"""Alembic: after contract, autogenerate proposes nothing for models that are as they were before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, ForeignKey, Identity, Integer, MetaData, Table, Text, create_engine

from alembic_history import History
from conftest import application
from servers import Database
from shop import APPLICATION, OWNER
from sqlalchemy_shop import url
from tenantry_app import OperatorRequired
from tenantry_app.alembic import TenantFilter


def models(*, tenant_column: bool = False) -> MetaData:
    """The shop's tables as they were before it was migrated, with the tenant's key where it was the user's own."""
    metadata = MetaData()
    Table(
        "tenants",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("slug", Text, nullable=False, unique=True),
        Column("status", Text, nullable=False, server_default="active"),
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


def test_revisions(shop: Database, tmp_path: Path) -> None:
    """A revision that autogenerate makes is empty; a data migration as the operator reaches all rows, and as any other
    role it is refused with the reason."""

    history = History(tmp_path, "test_alembic.models()", use_filter=True)
    before = shop.dump()
    command.revision(history.config(shop.dsn), "nothing", autogenerate=True)
    (revision,) = history.versions.glob("*_nothing.py")
    text = revision.read_text()
    assert "op." not in text.split("def upgrade")[1]
    shop.execute("DROP TABLE alembic_version")
    assert shop.dump() == before
    revision.write_text(
        re.sub(r"(def upgrade.*?)pass", r"""\1op.execute("UPDATE orders SET note = 'filled'")""", text, flags=re.DOTALL)
    )
    owner = f"{shop.dsn} user={OWNER}".replace("user=postgres ", "")
    with pytest.raises(
        OperatorRequired, match=f"role {APPLICATION} does not see .* of public.customers, public.orders"
    ):
        command.upgrade(history.config(application(shop)), "head")
    shop.execute("DROP POLICY tenantry_operator ON orders")
    with pytest.raises(OperatorRequired, match=f"role {OWNER} does not see all tenants' rows of public.orders"):
        command.upgrade(history.config(owner), "head")
    assert shop.rows("SELECT count(*) FROM orders WHERE note = 'filled'") == [(0,)]
    command.upgrade(history.config(shop.dsn), "head")
    assert shop.rows("SELECT count(*) FROM orders WHERE note = 'filled'") == [(5,)]
