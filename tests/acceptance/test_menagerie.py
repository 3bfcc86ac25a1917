"""What real databases do to a tool like this, each in a small schema of our own: there, right, and back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from acceptance.menagerie import spec, table
from acceptance.round_trip import Further, there_and_back
from daily import daily
from operator_runs import operated
from servers import Database
from tenantry import MigrateOptions, migrate, validate
from tenantry.model.plan import Phase
from tenantry.model.verdict import serious

pytestmark = [pytest.mark.server, pytest.mark.differs]


@pytest.fixture(autouse=True, params=daily(range(3)), ids=["until contract", "until distribute", "with writers"])
def further(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them also goes on to the phase distribute, unless that is refused, and once more with writers."""
    monkeypatch.setattr(Further, "wanted", request.param > 0)
    monkeypatch.setattr(Further, "writers", request.param > 1)


KEYS = {
    "uuid": ("uuid", "gen_random_uuid()"),
    "int": ("integer", "(random() * 1e9)::int"),
    "bigint": ("bigint", "(random() * 1e15)::bigint"),
    "text": ("text", "'key ' || random()"),
    "varchar": ("varchar(40)", "'key ' || random()"),
    "char": ("char(30)", "'key ' || random()"),
    "domain": ("tenant_key", "gen_random_uuid()"),
}


@pytest.mark.parametrize("kind", daily(KEYS, 3))
def test_tenant_keys(kind: str, database: Database, role: Callable[..., str]) -> None:
    """Tenant keys of every type, with hostile names all around."""
    type_, value = KEYS[kind]
    database.execute(f"""
        CREATE DOMAIN tenant_key AS uuid CHECK (VALUE IS NOT NULL);
        CREATE SCHEMA "a ""b"" % $1";
        CREATE TABLE "a ""b"" % $1"."Tenants'" ("The Id" {type_} PRIMARY KEY, "Slug %s" text NOT NULL UNIQUE);
        INSERT INTO "a ""b"" % $1"."Tenants'" SELECT {value}, 't' || n FROM generate_series(1, 3) n;
        CREATE TABLE "order" ("%id" int PRIMARY KEY, "{{owner}}" {type_} NOT NULL REFERENCES "a ""b"" % $1"."Tenants'");
        CREATE TABLE "{"x" * 63}" ("select" int PRIMARY KEY, "from %" int NOT NULL REFERENCES "order" ON DELETE CASCADE,
          "{"c" * 63}" text UNIQUE);
        INSERT INTO "order" SELECT n, (SELECT "The Id" FROM "a ""b"" % $1"."Tenants'" ORDER BY "Slug %s" OFFSET n % 3 LIMIT 1)
          FROM generate_series(1, 30) n;
        INSERT INTO "{"x" * 63}" SELECT n, 1 + n % 30, n::text FROM generate_series(1, 300) n;
    """)
    made = spec(
        role(create=False, name="app"),
        table('"order"', paths="""[['{owner}']]""") + table('"' + "x" * 63 + '"', paths="[['from %']]"),
        tenant='\\"a \\"\\"b\\"\\" % $1\\".\\"Tenants\'\\"',
        more='key = "The Id"\nslug = "Slug %s"\ncolumn = "ten%ant \\"x\\""',
        schemas="""["public", 'a "b" % $1']""",
    )
    there_and_back(database, made)
    migrate(operated(database, made), made, MigrateOptions(until=Phase.ENFORCE))
    wrong = database.rows(
        f'SELECT count(*) FROM "{"x" * 63}" c JOIN "order" o ON o."%id" = c."from %"'
        ' WHERE c."ten%ant ""x""" IS DISTINCT FROM o."{owner}"'
    )
    assert wrong == [(0,)]
    found = serious(validate(operated(database, made), made).findings)
    assert {(finding.name, finding.message.split()[2]) for finding in found} == {("phase-pending", "isolate")}


STRUCTURES = {
    "partitions": (
        """
        CREATE TABLE shop (id int PRIMARY KEY, tenant int NOT NULL REFERENCES tenants);
        CREATE TABLE sale (id int, at date, shop_id int NOT NULL REFERENCES shop ON DELETE CASCADE, note text,
          PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (at);
        CREATE TABLE sale_1a PARTITION OF sale_1 FOR VALUES IN ('2025-06-03');
        CREATE TABLE sale_1b PARTITION OF sale_1 DEFAULT;
        CREATE TABLE "Sale 2" PARTITION OF sale DEFAULT;
        CREATE TABLE sale_item (sale_id int, sale_at date, n int, PRIMARY KEY (sale_id, sale_at, n),
          FOREIGN KEY (sale_id, sale_at) REFERENCES sale ON UPDATE CASCADE);
        INSERT INTO shop SELECT n, 1 + n % 3 FROM generate_series(1, 10) n;
        INSERT INTO sale SELECT n, date '2025-06-01' + n, 1 + n % 10, CASE WHEN n % 2 = 0 THEN 'a' END FROM generate_series(1, 500) n;
        INSERT INTO sale_item SELECT id, at, 1 FROM sale;
        """,
        table("shop", paths='[["tenant"]]') + table("sale", paths='[["shop_id"]]')
        + table("sale_item", paths='[[["sale_id", "sale_at"]]]'),
        "SELECT count(*) FROM sale_item i JOIN sale s ON s.id = i.sale_id JOIN shop h ON h.id = s.shop_id"
        " WHERE i.tenant_id IS DISTINCT FROM h.tenant OR s.tenant_id IS DISTINCT FROM h.tenant",
    ),
    "keys on the partitions only": (
        """
        CREATE TABLE shop (id int PRIMARY KEY, tenant int NOT NULL REFERENCES tenants);
        CREATE TABLE sale (id int, at int, shop_id int NOT NULL) PARTITION BY RANGE (at);
        CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM (0) TO (250);
        CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM (250) TO (1000);
        ALTER TABLE sale_1 ADD FOREIGN KEY (shop_id) REFERENCES shop;
        ALTER TABLE sale_2 ADD FOREIGN KEY (shop_id) REFERENCES shop ON DELETE CASCADE;
        INSERT INTO shop SELECT n, 1 + n % 3 FROM generate_series(1, 10) n;
        INSERT INTO sale SELECT n, n, 1 + n % 10 FROM generate_series(1, 500) n;
        """,
        table("shop", paths='[["tenant"]]') + table("sale", paths='[["shop_id"]]'),
        "SELECT count(*) FROM sale s JOIN shop h ON h.id = s.shop_id WHERE s.tenant_id IS DISTINCT FROM h.tenant",
    ),
    "inheritance": (
        """
        CREATE TABLE shop (id int PRIMARY KEY, tenant int NOT NULL REFERENCES tenants);
        CREATE TABLE document (id int PRIMARY KEY, shop_id int NOT NULL REFERENCES shop);
        CREATE TABLE invoice (total numeric, PRIMARY KEY (id), FOREIGN KEY (shop_id) REFERENCES shop) INHERITS (document);
        INSERT INTO shop SELECT n, 1 + n % 3 FROM generate_series(1, 10) n;
        INSERT INTO document SELECT n, 1 + n % 10 FROM generate_series(1, 50) n;
        INSERT INTO invoice SELECT 100 + n, 1 + n % 10, n FROM generate_series(1, 50) n;
        """,
        table("shop", paths='[["tenant"]]') + table("document", paths='[["shop_id"]]'),
        "SELECT count(*) FROM document d JOIN shop h ON h.id = d.shop_id WHERE d.tenant_id IS DISTINCT FROM h.tenant",
    ),
    "children tell, all keys deferred": (
        """
        CREATE TABLE shop (id int PRIMARY KEY, tenant int NOT NULL REFERENCES tenants);
        CREATE TABLE product (id int PRIMARY KEY, name text);
        CREATE TABLE lot (id int PRIMARY KEY, product int NOT NULL REFERENCES product DEFERRABLE INITIALLY DEFERRED,
          code text UNIQUE, parent int REFERENCES lot ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE move (id int PRIMARY KEY, lot int NOT NULL REFERENCES lot DEFERRABLE INITIALLY DEFERRED,
          shop int REFERENCES shop ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO shop SELECT n, 1 + n % 3 FROM generate_series(1, 10) n;
        INSERT INTO product VALUES (1, 'x');
        INSERT INTO lot SELECT n, 1, 'c' || n, NULL FROM generate_series(1, 50) n;
        INSERT INTO move SELECT n, 1 + n % 50, CASE WHEN n <= 50 THEN 1 + (n % 50) % 10 END FROM generate_series(1, 200) n;
        """,
        table("shop", paths='[["tenant"]]') + table("product", shared="true")
        + table("lot", children='["move.lot"]', unique='["lot_code_key"]')
        + table("move", paths='[["shop"], ["lot"]]'),
        "SELECT count(*) FROM move m JOIN lot l ON l.id = m.lot LEFT JOIN shop h ON h.id = m.shop"
        " WHERE m.tenant_id IS DISTINCT FROM l.tenant_id OR m.tenant_id IS DISTINCT FROM coalesce(h.tenant, m.tenant_id)"
        " OR m.tenant_id IS NULL",
    ),
    "a cycle, a closure table, a nested set": (
        """
        CREATE TABLE shop (id int PRIMARY KEY, tenant int NOT NULL REFERENCES tenants, main int);
        CREATE TABLE place (id int PRIMARY KEY, shop int REFERENCES shop, above int REFERENCES place, lft int, rgt int);
        ALTER TABLE shop ADD FOREIGN KEY (main) REFERENCES place;
        CREATE TABLE place_path (above int REFERENCES place, below int REFERENCES place, depth int, PRIMARY KEY (above, below));
        CREATE UNIQUE INDEX place_expression ON place (lower(lft::text), coalesce(rgt, 0)) WHERE lft > 0;
        CREATE TABLE booking (place int NOT NULL REFERENCES place, during int4range, EXCLUDE USING gist (during WITH &&));
        INSERT INTO shop SELECT n, 1 + n % 3 FROM generate_series(1, 10) n;
        INSERT INTO place SELECT n, n, NULL, n, n FROM generate_series(1, 10) n;
        INSERT INTO place SELECT 10 + n, NULL, n, 10 + n, n FROM generate_series(1, 40) n;
        UPDATE shop SET main = id;
        INSERT INTO place_path SELECT above, id, 1 FROM place WHERE above IS NOT NULL;
        INSERT INTO booking SELECT n, int4range(n, n + 1) FROM generate_series(1, 50) n;
        """,
        table("shop", paths='[["tenant"]]')
        + table("place", paths='[["shop"], ["above"]]', unique='["place_expression"]')
        + table("place_path", paths='[["above"], ["below"]]') + table("booking", paths='[["place"]]'),
        "SELECT count(*) FROM place_path x JOIN place a ON a.id = x.above JOIN place b ON b.id = x.below"
        " WHERE x.tenant_id IS DISTINCT FROM a.tenant_id OR x.tenant_id IS DISTINCT FROM b.tenant_id OR x.tenant_id IS NULL",
    ),
    "a text code, a key to a unique that is not the primary key": (
        """
        CREATE TABLE item (id int PRIMARY KEY, tenant int NOT NULL REFERENCES tenants, code text NOT NULL UNIQUE,
          kind int, sub int, UNIQUE (kind, sub));
        CREATE TABLE assignment (id int GENERATED BY DEFAULT AS IDENTITY, item_code text,
          double int GENERATED ALWAYS AS (length(item_code)) STORED);
        CREATE TABLE part (id serial PRIMARY KEY, kind int NOT NULL, sub int NOT NULL,
          FOREIGN KEY (kind, sub) REFERENCES item (kind, sub) ON UPDATE CASCADE ON DELETE CASCADE);
        INSERT INTO item SELECT n, 1 + n % 3, 'i' || n, n % 4, n FROM generate_series(1, 20) n;
        INSERT INTO assignment (item_code) SELECT 'i' || 1 + n % 20 FROM generate_series(1, 100) n;
        INSERT INTO part (kind, sub) SELECT kind, sub FROM item;
        """,
        table("item", paths='[["tenant"]]') + table("assignment", paths='[["item_code"]]')
        + table("part", paths='[[["kind", "sub"]]]')
        + '[[reference]]\nfrom = "assignment.item_code"\nto = "item.code"\n',
        "SELECT count(*) FROM assignment a JOIN item i ON i.code = a.item_code WHERE a.tenant_id IS DISTINCT FROM i.tenant",
    ),
    "mixed tables, and a shared table on the way": (
        """
        CREATE TABLE category (id int PRIMARY KEY, tenant int REFERENCES tenants, name text NOT NULL UNIQUE);
        CREATE TABLE product (id int PRIMARY KEY, category int REFERENCES category, name text);
        CREATE TABLE word (id int PRIMARY KEY, product int REFERENCES product ON DELETE SET NULL);
        INSERT INTO category SELECT n, CASE WHEN n > 3 THEN 1 + n % 3 END, 'c' || n FROM generate_series(1, 12) n;
        INSERT INTO product SELECT n, 1 + n % 12 FROM generate_series(1, 60) n;
        INSERT INTO word SELECT n, CASE WHEN n % 5 > 0 THEN 1 + n % 60 END FROM generate_series(1, 100) n;
        """,
        table("category", paths='[["tenant"]]', orphans='"shared"', unique='["category_name_key"]')
        + table("product", paths='[["category"]]', orphans='"shared"')
        + table("word", paths='[["product"]]', orphans='"default"'),
        "SELECT count(*) FROM product p JOIN category c ON c.id = p.category WHERE p.tenant_id IS DISTINCT FROM c.tenant",
    ),
    "assigned by column, by expression, quarantined": (
        """
        CREATE TABLE branch (id int PRIMARY KEY, client_name text);
        CREATE TABLE mail (id int PRIMARY KEY, address text);
        CREATE TABLE stray (id int PRIMARY KEY, branch int REFERENCES branch);
        CREATE TABLE everything (id int PRIMARY KEY);
        INSERT INTO branch SELECT n, 't' || 1 + n % 3 FROM generate_series(1, 12) n;
        INSERT INTO mail SELECT n, 'x@t' || 1 + n % 3 FROM generate_series(1, 12) n;
        INSERT INTO stray SELECT n, CASE WHEN n < 5 THEN n END FROM generate_series(1, 12) n;
        INSERT INTO everything SELECT n FROM generate_series(1, 12) n;
        """,
        table("branch", assign='{ column = "client_name" }') + table("mail", assign="{ sql = \"split_part(mail.address, '@', 2)\" }")
        + table("stray", paths='[["branch"]]', orphans='"quarantine"') + table("everything", assign='{ tenant = "new one" }'),
        "SELECT count(*) FROM mail m JOIN tenants t ON t.id = m.tenant_id WHERE m.address <> 'x@' || t.slug",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name: str, database: Database, role: Callable[..., str]) -> None:
    """There and back again; and in between every row is in its tenant."""
    script, tables, wrong = STRUCTURES[name]
    database.execute(
        "CREATE TABLE tenants (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, slug text NOT NULL UNIQUE, name text NOT NULL);"
        "INSERT INTO tenants (slug, name) SELECT 't' || n, 'T' FROM generate_series(1, 3) n;" + script
    )
    made = spec(role(create=False, name="app"), tables, more='default = "default"' if "default" in tables else "")
    there_and_back(database, made)
    migrate(operated(database, made), made, MigrateOptions(until=Phase.CONTRACT))
    assert database.rows(wrong) == [(0,)]
    assert not serious(validate(operated(database, made), made).findings)
    # Of a key to a partitioned table PostgreSQL keeps a copy for each partition, which before 18 it never marks valid.
    invalid = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated AND conparentid = 0"
    assert database.rows(invalid) == [(0,)]
