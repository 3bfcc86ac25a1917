"""Rows that belong to several tenants, as a link table says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tenantry import RollbackOptions, rollback, status, validate
from tenantry.errors import Refused, UsageError
from tenantry.model.finding import Severity
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

SCHEMA = """
CREATE TABLE products (id int PRIMARY KEY, name text);
CREATE TABLE product_channels (
    id serial PRIMARY KEY, product_id int NOT NULL REFERENCES products ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenants
);
CREATE TABLE orders (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, product_id int REFERENCES products);
CREATE VIEW catalogue AS SELECT id, name FROM products;
INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 7) n;
INSERT INTO product_channels (product_id, tenant_id) VALUES (1, 1), (2, 1), (3, 1), (3, 2), (4, 2), (5, 2);
INSERT INTO orders VALUES (1, 1, 1), (2, 2, 4), (3, 2, 1);
"""
TABLES = """
[[table]]
name = "products"
membership = "product_channels"
%s
[[table]]
name = "product_channels"
paths = [["tenant_id"]]
[[table]]
name = "orders"
paths = [["tenant_id"]]
"""


def visible_ids(shop: Any, tenant: int | None, query: str = "SELECT id FROM products ORDER BY 1") -> list[Any]:
    with shop.connect() as session:
        session.execute(f"SET LOCAL ROLE {shop.application}")
        if tenant is not None:
            session.execute(f"SET LOCAL app.tenant_id = '{tenant}'")
        return [row[0] for row in session.execute(query)]


def refused(shop: Any, tenant: int, statement: str) -> None:
    with shop.connect() as session:
        session.execute(f"SET LOCAL ROLE {shop.application}; SET LOCAL app.tenant_id = '{tenant}'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)
        session.rollback()


def findings_of(shop: Any) -> list[tuple[str, str]]:
    findings = validate(shop.target, shop.spec).findings
    return sorted((one.name, str(one.table)) for one in findings if one.severity is not Severity.INFO)


@pytest.mark.differs
def test_members_read(business: Callable[..., Any]) -> None:
    """Each tenant the rows that are linked to it, through views too, and without a tenant none; what refers to them works;
    nobody but the operator makes rows or links, or takes them away; rollback is exact."""
    shop = business(SCHEMA, TABLES % "")
    before, rows = shop.database.dump(), shop.rows("SELECT * FROM products ORDER BY 1")
    shop.migrate(Phase.CONTRACT)
    assert visible_ids(shop, 1) == [1, 2, 3]
    assert visible_ids(shop, 2) == [3, 4, 5]
    assert visible_ids(shop, 3) == []
    assert visible_ids(shop, None) == []
    if shop.database.server.major >= 15:
        assert visible_ids(shop, 1, "SELECT id FROM catalogue ORDER BY 1") == [1, 2, 3]
    # An order may name a product that its tenant does not see.
    assert visible_ids(shop, 2, "SELECT count(*) FROM orders") == [2]
    assert visible_ids(shop, 2, "SELECT count(*) FROM orders JOIN products p ON p.id = product_id") == [1]
    for statement in ("INSERT INTO products VALUES (8, 'x')", "UPDATE products SET name = 'x'", "DELETE FROM products",
                      "INSERT INTO product_channels (product_id, tenant_id) VALUES (4, 1)",
                      "UPDATE product_channels SET product_id = 4", "DELETE FROM product_channels"):  # fmt: skip
        refused(shop, 1, statement)
    assert findings_of(shop) == []
    # The operator sees and writes all, and a tenant what it is linked to from then on.
    shop.execute("INSERT INTO product_channels (product_id, tenant_id) VALUES (7, 1)")
    assert visible_ids(shop, 1) == [1, 2, 3, 7]
    shop.execute("DELETE FROM product_channels WHERE product_id = 7")
    kinds = {str(one.table): one.kind for one in status(shop.target, shop.spec).tables}
    assert kinds["public.products"] == "membership"
    shop.rollback()
    assert shop.database.dump() == before
    assert shop.rows("SELECT * FROM products ORDER BY 1") == rows


def test_members_change(business: Callable[..., Any]) -> None:
    """With writable = true a tenant changes rows that are linked to it, and no others; it makes none and takes none away."""
    shop = business(SCHEMA, TABLES % "writable = true")
    shop.migrate(Phase.ISOLATE)
    with shop.connect() as session:
        session.execute(f"SET LOCAL ROLE {shop.application}; SET LOCAL app.tenant_id = '1'")
        assert session.execute("UPDATE products SET name = 'mine'").rowcount == 3
    assert shop.rows("SELECT id FROM products WHERE name = 'mine' ORDER BY 1") == [(1,), (2,), (3,)]
    for statement in (
        "INSERT INTO products VALUES (8, 'x')",
        "DELETE FROM products",
        "UPDATE products SET id = 9 WHERE id = 2",
    ):
        with shop.connect() as session:
            session.execute(f"SET LOCAL ROLE {shop.application}; SET LOCAL app.tenant_id = '1'")
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ForeignKeyViolation)):
                session.execute(statement)
            session.rollback()
    assert findings_of(shop) == []
    part = shop.spec.table[0].model_copy(update={"writable": False})
    reading = replace(shop, spec=shop.spec.model_copy(update={"table": (part, *shop.spec.table[1:])}))
    reading.migrate(Phase.ISOLATE)
    refused(shop, 1, "UPDATE products SET name = 'again'")


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("DROP POLICY tenantry_floor_member ON products", {("not-in-force", "public.products"), ("tenants-not-apart", "public.products")}),
        ("ALTER TABLE products DISABLE ROW LEVEL SECURITY", {("not-in-force", "public.products"), ("table-open", "public.products"), ("tenants-not-apart", "public.products")}),
        ("ALTER POLICY tenantry_floor_member ON products USING (true)", {("altered", "public.products"), ("tenants-not-apart", "public.products")}),
        ("CREATE POLICY open ON products USING (true)", {("policy-added", "public.products")}),
        ("GRANT TRUNCATE ON products TO {role}", {("privilege-past-policies", "public.products")}),
        ("DROP INDEX {index}", {("not-in-force", "public.product_channels")}),
        ("ALTER POLICY tenantry_application ON product_channels USING (false)", {("altered", "public.product_channels"), ("own-rows-hidden", "public.product_channels"), ("own-rows-hidden", "public.products")}),
    ],
    ids=["no policy", "not enabled", "wrong policy", "another policy", "TRUNCATE", "no index", "links that nobody sees"],
)  # fmt: skip
def test_what_validate_finds(business: Callable[..., Any], fault: str, names: set[tuple[str, str]]) -> None:
    """Policies that are missing or wrong, by the catalog and by trying; and migrate makes them again."""
    shop = business(SCHEMA, TABLES % "")
    shop.migrate(Phase.ISOLATE)
    assert findings_of(shop) == []
    ((index,),) = shop.rows(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'product_channels'::regclass"
        " AND pg_get_indexdef(indexrelid) LIKE '%(tenant_id, product_id)'"
    )
    shop.execute(fault.format(role=shop.application, index=index))
    assert set(findings_of(shop)) == names
    if "CREATE POLICY" in fault:
        assert visible_ids(shop, 1) == [1, 2, 3]
    if ("not-in-force", "public.products") in names:
        shop.migrate(Phase.ISOLATE)
        assert findings_of(shop) == []
        assert visible_ids(shop, 1) == [1, 2, 3]


def test_attempts(business: Callable[..., Any]) -> None:
    """How many were made on it is not none."""
    shop = business(SCHEMA, TABLES % "writable = true")
    shop.migrate(Phase.ISOLATE)
    shop.execute(f"GRANT INSERT, DELETE ON products TO {shop.application}")
    # With every privilege, and a policy of somebody's for each command, the floor holds.
    shop.execute(f"CREATE POLICY wide ON products TO {shop.application} USING (true) WITH CHECK (true)")
    print(
        [
            (one.message, one.samples)
            for one in validate(shop.target, shop.spec).findings
            if one.name == "tenants-not-apart"
        ]
    )
    assert findings_of(shop) == [("policy-added", "public.products")]
    shop.execute("ALTER POLICY tenantry_floor_member ON products USING (true) WITH CHECK (true)")
    (one,) = [one for one in validate(shop.target, shop.spec).findings if one.name == "tenants-not-apart"]
    for what in ("read", "update", "delete", "insert"):
        assert what in one.message


def test_a_role_without_the_links(business: Callable[..., Any], role: Callable[..., str]) -> None:
    """Whoever reads the table and is no application needs no right on the links: a legacy role sees all until contract, others
    nothing; nobody gets an error."""
    legacy, other = role("LOGIN", name="legacy"), role("LOGIN", name="other")
    shop = business(SCHEMA, TABLES % "")
    shop.execute(f"GRANT SELECT ON products TO {legacy}, {other}")
    application = shop.spec.application.model_copy(update={"legacy_roles": (legacy,)})
    shop = replace(shop, spec=shop.spec.model_copy(update={"application": application}))
    shop.migrate(Phase.ISOLATE, force=True)
    for name, rows in ((legacy, 7), (other, 0)):
        with shop.connect(user=name) as session:
            assert session.execute("SELECT count(*) FROM products").fetchone() == (rows,)
    shop.migrate(Phase.CONTRACT, force=True)
    with shop.connect(user=legacy) as session:
        assert session.execute("SELECT count(*) FROM products").fetchone() == (0,)
    shop.rollback()
    with shop.connect(user=other) as session:
        assert session.execute("SELECT count(*) FROM products").fetchone() == (7,)


def test_rollback_of_the_link(business: Callable[..., Any]) -> None:
    """With the link table what stands on it goes back: policies, and what the application may do with the table."""
    shop = business(SCHEMA, TABLES % "")
    shop.migrate(Phase.ISOLATE)
    rollback(shop.target, RollbackOptions(tables=("product_channels",)))
    refused(shop, 1, "SELECT FROM products")
    assert shop.rows("SELECT count(*) FROM pg_policy WHERE polrelid = 'products'::regclass") == [(0,)]
    shop.migrate(Phase.ISOLATE)
    assert visible_ids(shop, 1) == [1, 2, 3]


def test_names_and_parts(business: Callable[..., Any]) -> None:
    """Names that need quotes, a key of two columns, partitions on both sides, a link whose tenant comes along a path."""
    shop = business(
        """
        CREATE TABLE "Stores" (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
        CREATE TABLE "member" (region int, "No." int, name text, PRIMARY KEY (region, "No.")) PARTITION BY LIST (region);
        CREATE TABLE member_1 PARTITION OF "member" FOR VALUES IN (1);
        CREATE TABLE member_2 PARTITION OF "member" FOR VALUES IN (2);
        CREATE TABLE "m ""l" (store int NOT NULL REFERENCES "Stores", r int, n int,
                              FOREIGN KEY (r, n) REFERENCES "member") PARTITION BY HASH (store);
        CREATE TABLE m_l_0 PARTITION OF "m ""l" FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE m_l_1 PARTITION OF "m ""l" FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        INSERT INTO "Stores" VALUES (10, 1), (20, 2);
        INSERT INTO "member" VALUES (1, 1), (1, 2), (2, 1), (2, 2);
        INSERT INTO "m ""l" VALUES (10, 1, 1), (10, 2, 1), (20, 2, 1), (20, 2, 2);
        """,
        """
        [[table]]
        name = '"Stores"'
        paths = [["tenant_id"]]
        [[table]]
        name = "member"
        membership = '"m ""l"'
        [[table]]
        name = '"m ""l"'
        paths = [["store"]]
        """,
    )
    before = shop.database.dump()
    shop.migrate(Phase.CONTRACT)
    query = 'SELECT format(\'%s %s\', region, "No.") FROM "member" ORDER BY 1'
    assert visible_ids(shop, 1, query) == ["1 1", "2 1"]
    assert visible_ids(shop, 2, query) == ["2 1", "2 2"]
    refused(shop, 1, "SELECT FROM member_1")
    assert findings_of(shop) == []
    shop.execute('ALTER TABLE "m ""l" RENAME n TO number; ALTER TABLE "member" RENAME "No." TO no')
    assert visible_ids(shop, 2, "SELECT no FROM member ORDER BY 1") == [1, 2]
    shop.execute('ALTER TABLE "m ""l" RENAME number TO n; ALTER TABLE "member" RENAME no TO "No."')
    shop.rollback()
    assert shop.database.dump() == before


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ('[[table]]\nname = "products"\nmembership = "orders2"', "the table public.orders2 does not exist; did you mean"),
        ('[[table]]\nname = "products"\nmembership = "products"', "public.products is not an owned table"),
        ('[[table]]\nname = "products"\nmembership = "orders"\npaths = [["id"]]', "has no paths"),
        ('[[table]]\nname = "products"\nshared = true\nwritable = true', "writable needs membership"),
        ('[[table]]\nname = "products"\nmembership = "product_channels"\n[[table]]\nname = "product_channels"\nshared = true',
         "product_channels is not an owned table"),
        ('[[table]]\nname = "products"\nmembership = "orders"\n[[table]]\nname = "orders"\npaths = [["tenant_id"]]\norphans = "shared"',
         "would link to no tenant"),
        ('[[table]]\nname = "product_channels"\nmembership = "orders"\n[[table]]\nname = "orders"\npaths = [["tenant_id"]]',
         "must have exactly one foreign key to public.product_channels, and has none"),
    ],
)  # fmt: skip
def test_what_does_not_fit(business: Callable[..., Any], tables: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        business(SCHEMA, tables).migrate(Phase.EXPAND)
    assert message in " ".join([error.value.message, *error.value.details])


def test_a_link_that_is_undecided(business: Callable[..., Any]) -> None:
    shop = business(
        SCHEMA, (TABLES % "").replace('name = "product_channels"', 'name = "product_channels"\nundecided = "x"')
    )
    with pytest.raises(Refused) as refusal:
        shop.migrate(Phase.EXPAND)
    assert "public.product_channels, which it needs, is undecided" in str(refusal.value.details) + refusal.value.message


def test_an_application_that_writes_links(business: Callable[..., Any]) -> None:
    """What it loses is said beforehand, and what to do."""
    shop = business(SCHEMA, TABLES % "")
    shop.execute(f"CREATE ROLE {shop.application}; GRANT INSERT ON product_channels, products TO {shop.application}")
    with pytest.raises(Refused, match="which link rows to tenants") as refusal:
        shop.migrate(Phase.ISOLATE)
    assert "whose rows belong to several tenants" in str(refusal.value.details)


def cost(session: Any, query: str) -> int:
    """The buffers that a query reads."""
    top = session.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}").fetchone()[0][0]["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"]


def test_what_the_policy_costs(business: Callable[..., Any]) -> None:
    """All products of a tenant cost within 1.5 of the same on a table that it owns, in buffers; a few of them what the links
    take besides."""
    shop = business(
        """
        CREATE TABLE products (id int PRIMARY KEY, name text);
        CREATE TABLE product_channels (product_id int NOT NULL REFERENCES products, tenant_id int NOT NULL REFERENCES tenants,
                                       PRIMARY KEY (product_id, tenant_id));
        CREATE TABLE own (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, name text);
        INSERT INTO tenants SELECT n, 't' || n FROM generate_series(3, 20) n;
        INSERT INTO products SELECT n, 'product ' || n FROM generate_series(1, 40000) n;
        INSERT INTO product_channels SELECT n, 1 + n % 20 FROM generate_series(1, 40000) n;
        INSERT INTO own SELECT n, 1 + n % 20, 'product ' || n FROM generate_series(1, 40000) n;
        """,
        """
        [[table]]
        name = "products"
        membership = "product_channels"
        [[table]]
        name = "product_channels"
        paths = [["tenant_id"]]
        [[table]]
        name = "own"
        paths = [["tenant_id"]]
        """,
    )  # fmt: skip
    shop.migrate(Phase.ISOLATE)
    with shop.connect(autocommit=True) as session:
        session.execute("CHECKPOINT")  # A page whose commits are not on disk yet is not marked as visible to all.
        session.execute("VACUUM ANALYZE products, product_channels, own")
    with shop.connect() as session:
        session.execute(f"SET LOCAL ROLE {shop.application}; SET LOCAL app.tenant_id = '2'")
        session.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        for query, least in (("SELECT count(name) FROM {}", 0), ("SELECT name FROM {} WHERE id = 21", 5),
                             ("SELECT name FROM {} WHERE id BETWEEN 2000 AND 2100", 15),
                             ("SELECT name FROM {} ORDER BY id LIMIT 20", 15)):  # fmt: skip
            member, own = (cost(session, query.format(table)) for table in ("products", "own"))
            assert member <= max(1.5 * own, own + least), query
