"""What reads models from a database pairs each column with the one that the user's own key pairs it with."""

from __future__ import annotations

import warnings
from io import StringIO

import pytest
from django.core.management import call_command
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.automap import automap_base

from django_shop import close, point
from servers import Database
from sqlalchemy_shop import url

KEYS = """
SELECT conname, array_agg(c.attname::text ORDER BY k.position), array_agg(p.attname::text ORDER BY k.position)
FROM pg_constraint f, unnest(conkey, confkey) WITH ORDINALITY k(own, parent, position)
JOIN pg_attribute c ON c.attnum = k.own JOIN pg_attribute p ON p.attnum = k.parent
WHERE contype = 'f' AND conrelid = 'orders'::regclass AND c.attrelid = conrelid AND p.attrelid = confrelid
GROUP BY conname ORDER BY conname
"""


@pytest.mark.server
def test_the_users_column_is_first(shop: Database) -> None:
    assert shop.rows(KEYS) == [
        ("orders_customer_id_fkey", ["customer_id"], ["id"]),
        ("tenantry_orders_customer_id_fkey", ["customer_id", "tenant_id"], ["id", "tenant_id"]),
        ("tenantry_tenant_fkey", ["tenant_id"], ["id"]),
    ]


def test_inspectdb(shop: Database) -> None:
    point("operator", shop.dsn)
    said = StringIO()
    call_command("inspectdb", "orders", "customers", database="operator", stdout=said)
    close()
    assert "customer = models.ForeignKey('Customers', models.DO_NOTHING)" in said.getvalue()
    assert said.getvalue().count("tenant = models.ForeignKey('Tenants', models.DO_NOTHING)") == 2


def test_automap(shop: Database) -> None:
    engine = create_engine(url(shop.dsn, "psycopg"), poolclass=NullPool)
    base = automap_base()
    with warnings.catch_warnings():
        # Two keys set the tenant column, to the same value.
        warnings.simplefilter("ignore", SAWarning)
        base.prepare(autoload_with=engine)
        relationships = base.classes.orders.__mapper__.relationships
        pairs = {
            relation.key: {(own.name, parent.name) for own, parent in relation.local_remote_pairs}
            for relation in relationships
        }
    assert pairs["tenants"] == {("tenant_id", "id")}
    assert pairs["customers"] - {("tenant_id", "tenant_id")} == {("customer_id", "id")}
