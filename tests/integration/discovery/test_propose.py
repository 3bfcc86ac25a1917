"""What discover proposes, and that the data decides."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from discovery import discovering
from tenantry.discovery.proposal import Undecided
from tenantry.discovery.spec_file import spec_text
from tenantry.errors import UsageError
from tenantry.model.spec import Assign, Orphans, Spec
from tenantry.presets.loading import load

discover, part, reasons = discovering.discover, discovering.part, discovering.reasons

PRESETS = Path(importlib.import_module("tenantry.presets").__file__ or "").parent

STORES = """
    CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
    INSERT INTO tenants VALUES (10, 'north'), (20, 'south');
    CREATE TABLE stores (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, name text UNIQUE);
    INSERT INTO stores VALUES (1, 10, 'a'), (2, 20, 'b');
"""


def test_existing_columns_become_the_tenant_column(database: Any) -> None:
    """Whether a foreign key says so or only the name and the type; another type is another thing."""
    database.execute(
        STORES
        + """
        CREATE TABLE logs (id int PRIMARY KEY, tenant_id int, store int REFERENCES stores);
        CREATE TABLE other (id int PRIMARY KEY, account int NOT NULL REFERENCES tenants);
        INSERT INTO logs VALUES (1, 10, 1), (2, NULL, 2);
        INSERT INTO other VALUES (1, 10), (2, 20);
        """
    )
    proposal = discover(database)
    assert proposal.spec.tenant.column == "tenant_id"
    assert part(proposal, "stores").paths == ((("tenant_id",),),)
    assert part(proposal, "logs").paths == ((("tenant_id",),),)
    assert part(proposal, "other").paths == ((("account",),),)
    (logs,) = proposal.undecided
    assert logs.part.undecided == "tenant_id is NULL in 1 of 2 rows, and of one of these store leads to a tenant"
    assert 'set paths = [["tenant_id"], ["store"]]' in reasons(proposal, "logs")
    database.execute("UPDATE logs SET store = NULL WHERE tenant_id IS NULL")
    assert (part(discover(database), "logs").undecided or "").startswith("1 of 2 rows find no tenant")


def test_a_column_that_is_something_else_keeps_its_name(database: Any) -> None:
    """The tenant column gets another one there; a key of another type is a path and nothing more."""
    database.execute(
        STORES
        + """
        CREATE TABLE owners (id int PRIMARY KEY);
        CREATE TABLE leases (id int PRIMARY KEY, tenant_id text, store int NOT NULL REFERENCES stores);
        CREATE TABLE rents (id int PRIMARY KEY, tenant_id int REFERENCES owners, store int REFERENCES stores);
        CREATE TABLE bills (id int PRIMARY KEY, tenant bigint NOT NULL REFERENCES tenants);
        CREATE TABLE debts (id int PRIMARY KEY, tenant_id bigint NOT NULL REFERENCES tenants);
        """
    )
    proposal = discover(database)
    columns = {name: part(proposal, name).column for name in ("leases", "rents", "bills", "debts", "stores")}
    assert columns == {
        "leases": "tenantry_tenant_id", "rents": "tenantry_tenant_id", "bills": "tenant_id",
        "debts": "tenantry_tenant_id", "stores": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "decision"),
    [
        ("(1, 1), (2, 2)", "owned"),
        ("(1, 1), (2, 2), (3, NULL)", "mixed"),
        ("(1, NULL), (2, NULL)", "shared"),
        ("", "empty"),
    ],
)
def test_over_nullable_keys_the_data_decides(database: Any, rows: str, decision: str) -> None:
    """All rows find a tenant: owned; some: mixed; none: shared; no rows: owned, and orphans are refused."""
    database.execute(STORES + "CREATE TABLE items (id int PRIMARY KEY, store int REFERENCES stores)")
    if rows:
        database.execute(f"INSERT INTO items VALUES {rows}")
    proposal = discover(database)
    items = part(proposal, "items")
    assert items.shared == (decision == "shared")
    assert items.orphans is (Orphans.SHARED if decision == "mixed" else Orphans.FAIL)
    assert items.undecided is None
    said = {
        "owned": "All 2 rows find their tenant.",
        "mixed": "2 of 3 rows find a tenant.",
        "shared": "None of the 2 rows finds a tenant along store: shared by all.",
        "empty": "one without will be refused",
    }
    assert said[decision] in reasons(proposal, "items")


def test_paths_that_compete(database: Any) -> None:
    """Paths that agree are alternatives; those that do not are undecided, with the numbers and samples."""
    database.execute(
        STORES
        + """
        CREATE TABLE users (id int PRIMARY KEY, store int NOT NULL REFERENCES stores);
        INSERT INTO users VALUES (1, 1), (2, 2);
        CREATE TABLE good (id int PRIMARY KEY, store int REFERENCES stores, "by" int REFERENCES users);
        CREATE TABLE bad (LIKE good INCLUDING ALL);
        ALTER TABLE bad ADD FOREIGN KEY (store) REFERENCES stores, ADD FOREIGN KEY ("by") REFERENCES users;
        CREATE TABLE behind (id int PRIMARY KEY, bad int NOT NULL REFERENCES bad);
        CREATE TABLE trade (id int PRIMARY KEY, buyer int NOT NULL REFERENCES tenants,
            seller int NOT NULL REFERENCES tenants);
        INSERT INTO good VALUES (1, 1, 1), (2, 2, NULL), (3, NULL, 1);
        INSERT INTO bad VALUES (1, 1, 1), (2, 2, 1); INSERT INTO behind VALUES (1, 1);
        INSERT INTO trade VALUES (1, 10, 10), (2, 10, 20);
        """
    )
    proposal = discover(database)
    assert part(proposal, "good").paths == ((("store",),), (("by",),))
    assert "store: 2, 1 by this path only." in reasons(proposal, "good")
    undecided = part(proposal, "bad").undecided
    assert undecided == "store and by disagree in 1 of 2 rows, such as id 2 (north, south)"
    assert "disagree in 1 of 2 rows" in (part(proposal, "trade").undecided or "")
    assert part(proposal, "behind").undecided is None


def test_a_never_null_path_makes_others_needless(database: Any) -> None:
    """They are named with their numbers, and references are held by the composite keys anyway."""
    database.execute(
        STORES
        + """
        CREATE TABLE shelves (id int PRIMARY KEY, store int NOT NULL REFERENCES stores);
        CREATE TABLE boxes (id int PRIMARY KEY, shelf int REFERENCES shelves,
            store int NOT NULL REFERENCES stores);
        INSERT INTO shelves VALUES (1, 1); INSERT INTO boxes VALUES (1, 1, 1), (2, NULL, 2);
        """
    )
    proposal = discover(database)
    assert part(proposal, "boxes").paths == ((("store",),),)
    assert "shelf leads there too, for 1 rows and to no other tenant." in reasons(proposal, "boxes")


def test_a_self_reference_is_no_path_by_itself(database: Any) -> None:
    """It can help where another path begins; alone it says nothing."""
    database.execute(
        STORES
        + """
        CREATE TABLE places (id int PRIMARY KEY, parent int REFERENCES places);
        CREATE TABLE groups (id int PRIMARY KEY, parent int REFERENCES groups, store int REFERENCES stores);
        CREATE TABLE staff (id int PRIMARY KEY, boss int REFERENCES staff,
            store int NOT NULL REFERENCES stores);
        CREATE TABLE crew (id int PRIMARY KEY, boss int REFERENCES crew, store int REFERENCES stores);
        INSERT INTO crew VALUES (1, NULL, 1), (2, 1, 1), (3, NULL, 2);
        INSERT INTO places VALUES (1, NULL), (2, 1);
        INSERT INTO groups VALUES (1, NULL, 1), (2, 1, NULL), (3, 2, NULL), (4, NULL, 2);
        INSERT INTO staff VALUES (1, NULL, 1), (2, 1, 1), (3, NULL, 2);
        """
    )
    proposal = discover(database)
    assert part(proposal, "places").undecided == "no path reaches it"
    assert part(proposal, "groups").paths == ((("store",),), (("parent",),))
    assert part(proposal, "staff").paths == ((("store",),),)
    assert part(proposal, "crew").paths == ((("store",),),)


def test_cycles_and_composite_keys(database: Any) -> None:
    """Tables that refer to each other find their tenants in rounds; a hop may have two columns."""
    database.execute(
        STORES
        + """
        CREATE TABLE a (x int, y int, store int REFERENCES stores, PRIMARY KEY (x, y));
        CREATE TABLE b (id int PRIMARY KEY, ax int, ay int, FOREIGN KEY (ax, ay) REFERENCES a);
        ALTER TABLE a ADD b int REFERENCES b;
        INSERT INTO a VALUES (1, 1, 1), (2, 2, NULL), (3, 3, 2);
        INSERT INTO b VALUES (1, 1, 1), (2, 3, 3);
        UPDATE a SET b = 1 WHERE x = 2;
        """
    )
    proposal = discover(database)
    assert part(proposal, "b").paths == ((("ax", "ay"),),)
    assert part(proposal, "a").paths == ((("store",),), (("b",),))
    assert part(proposal, "a").orphans is Orphans.FAIL


def test_children_tell_the_owner(database: Any) -> None:
    """Lots take their movements' tenant; products that two tenants move stay undecided, with the numbers."""
    database.execute(
        STORES
        + """
        CREATE TABLE products (id int PRIMARY KEY, name text);
        CREATE TABLE lots (id int PRIMARY KEY, product int NOT NULL REFERENCES products, code text,
            UNIQUE (product, code));
        CREATE TABLE moves (id int PRIMARY KEY, lot int NOT NULL REFERENCES lots,
            store int REFERENCES stores);
        CREATE TABLE labels (id int PRIMARY KEY, lot int NOT NULL REFERENCES lots);
        INSERT INTO products VALUES (1), (2);
        INSERT INTO lots VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'a');
        INSERT INTO moves VALUES (1, 1, 1), (2, 1, NULL), (3, 2, 2), (4, 3, 2);
        INSERT INTO labels VALUES (1, 1), (2, 3);
        """
    )
    proposal = discover(database)
    lots = part(proposal, "lots")
    assert (lots.children, lots.paths, lots.undecided) == (("moves.lot",), (), None)
    assert lots.unique == ()
    assert part(proposal, "moves").paths == ((("store",),), (("lot",),))
    assert part(proposal, "labels").paths == ((("lot",),),)
    assert part(proposal, "products").undecided == "no path reaches it, and 1 of 2 rows have children of two tenants"


def test_a_few_mistakes_among_children_are_shown(database: Any) -> None:
    """One lot of many that two tenants move: the children are proposed, and that lot is named."""
    database.execute(
        STORES
        + """
        CREATE TABLE lots (id int PRIMARY KEY);
        CREATE TABLE moves (id int PRIMARY KEY, lot int NOT NULL REFERENCES lots,
            store int NOT NULL REFERENCES stores);
        INSERT INTO lots SELECT generate_series(1, 40);
        INSERT INTO moves SELECT g, g, 1 + g % 2 FROM generate_series(1, 40) AS g;
        INSERT INTO moves VALUES (41, 7, 1);
        """
    )
    lots = part(discover(database), "lots")
    assert lots.children == ("moves.lot",)
    assert lots.undecided == "moves.lot leads to two tenants in 1 of 40 rows, such as id 7 (north, south)"


def test_children_of_one_tenant_tell_nothing(database: Any) -> None:
    """With one tenant in the data everything agrees, so agreement is no evidence."""
    database.execute(
        STORES
        + """
        CREATE TABLE units (id int PRIMARY KEY);
        CREATE TABLE items (id int PRIMARY KEY, unit int REFERENCES units,
            store int NOT NULL REFERENCES stores);
        INSERT INTO units VALUES (1), (2); INSERT INTO items VALUES (1, 1, 1), (2, 2, 1);
        """
    )
    assert part(discover(database), "units").children == ()
    # The other tenant's rows have no unit.
    database.execute("INSERT INTO items VALUES (3, NULL, 2)")
    proposal = discover(database)
    assert part(proposal, "units").children == ()
    assert part(proposal, "units").undecided is not None


def test_names_schemas_partitions_heirs_and_odd_keys(database: Any) -> None:
    """Names are written as SQL reads them; partitions, heirs, views and foreign tables are not listed."""
    database.execute(
        '''
        CREATE SCHEMA "My Shop";
        CREATE DOMAIN ident AS bigint;
        CREATE TABLE "My Shop"."Tenants" ("Id" ident PRIMARY KEY, "Slug" text);
        CREATE TABLE "My Shop"."or""der
#" ("I d" bigint GENERATED ALWAYS AS IDENTITY, d date,
            "Tenant" bigint NOT NULL REFERENCES "My Shop"."Tenants")
            PARTITION BY RANGE (d);
        CREATE TABLE p1 PARTITION OF "My Shop"."or""der
#" FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
        CREATE TABLE "select" (id int PRIMARY KEY, t bigint REFERENCES "My Shop"."Tenants",
            twice int GENERATED ALWAYS AS (id * 2) STORED);
        CREATE TABLE heir () INHERITS ("select");
        CREATE TABLE events (id int, d date) PARTITION BY RANGE (d);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
        ALTER TABLE events_1 ADD FOREIGN KEY (id) REFERENCES "select";
        CREATE VIEW v AS SELECT * FROM "select";
        INSERT INTO "My Shop"."Tenants" VALUES (1), (2); INSERT INTO "select" VALUES (1, 1), (2, 2);
        INSERT INTO heir VALUES (3, NULL); INSERT INTO events VALUES (1, '2020-05-05');
        '''
    )  # fmt: skip
    proposal = discover(database)
    assert proposal.spec.tenant.table == '"My Shop"."Tenants"'
    assert proposal.spec.tenant.slug == "Slug"
    names = {one.name for one in proposal.spec.table}
    assert names == {"events", "select", '"My Shop"."or""der\n#"'}
    assert part(proposal, "events").paths == ((("id",),),)
    assert proposal.undecided == ()


def test_the_tenant_table_is_recognised_or_named(database: Any) -> None:
    """By its name, in any schema and after any prefix; where several could be, all are named."""
    database.execute("CREATE TABLE res_companies (id int PRIMARY KEY); CREATE TABLE a (c int REFERENCES res_companies)")
    assert discover(database).spec.tenant.table == "res_companies"
    database.execute("CREATE TABLE organizations (id int PRIMARY KEY); CREATE TABLE b (o int REFERENCES organizations)")
    with pytest.raises(UsageError, match="Several tables") as caught:
        discover(database)
    assert len(caught.value.details) == 2
    assert discover(database, tenant_table="organizations").spec.tenant.table == "organizations"
    with pytest.raises(UsageError, match='did you mean "organizations"'):
        discover(database, tenant_table="organisations")
    with pytest.raises(UsageError, match="primary key does not have exactly one column"):
        discover(database, tenant_table="a")


def test_without_a_tenant_all_rows_become_the_first_ones(database: Any) -> None:
    """The tenant table is made, and every table belongs to the default tenant."""
    with pytest.raises(UsageError, match="contains no table"):
        discover(database)
    database.execute("CREATE TABLE a (id int PRIMARY KEY, tenant_id int); CREATE TABLE b (a int REFERENCES a)")
    proposal = discover(database)
    tenant = proposal.spec.tenant
    assert (tenant.table, tenant.create, tenant.default, tenant.column) == (
        "tenants", True, "default", "tenantry_tenant_id",
    )  # fmt: skip
    assert all(one.assign == Assign(tenant="default") for one in proposal.spec.table)


@pytest.mark.parametrize("undecided", list(Undecided))
def test_what_no_path_reaches(database: Any, undecided: Undecided) -> None:
    """It is asked for, or as the user said."""
    database.execute(STORES + "CREATE TABLE units (id int PRIMARY KEY)")
    proposal = discover(database, undecided=undecided)
    units = part(proposal, "units")
    assert (units.undecided is not None) == (undecided is Undecided.ASK)
    assert units.shared == (undecided is Undecided.SHARED)
    assert units.assign == (Assign(tenant="default") if undecided is Undecided.DEFAULT else None)
    assert proposal.spec.tenant.default == ("default" if undecided is Undecided.DEFAULT else None)


def test_a_chain_below_rows_of_nobody(database: Any) -> None:
    """All rows that there are lead nowhere, and the tables below them are empty: the proposal is whole, and says the same
    of all of them."""
    database.execute("""
        CREATE TABLE companies (id int PRIMARY KEY, name text); INSERT INTO companies VALUES (1, 'us'), (2, 'them');
        CREATE TABLE users (id int PRIMARY KEY, company_id int REFERENCES companies); INSERT INTO users VALUES (1, NULL);
        CREATE TABLE exports (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
        CREATE TABLE export_lines (id int PRIMARY KEY, export_id int NOT NULL REFERENCES exports);
    """)
    proposal = discover(database)
    assert proposal.undecided == ()
    assert {one.name: one.shared for one in proposal.spec.table} == {
        "users": True,
        "exports": True,
        "export_lines": True,
    }


def test_what_several_tenants_refer_to_is_not_the_default_tenants(database: Any) -> None:
    """Their rows could not point at it: it is shared, and with it what it refers to."""
    database.execute(
        STORES
        + """
        CREATE TABLE makers (id int PRIMARY KEY);
        CREATE TABLE products (id int PRIMARY KEY, maker int REFERENCES makers);
        CREATE TABLE photos (id int PRIMARY KEY, product int REFERENCES products);
        CREATE TABLE sales (store int NOT NULL REFERENCES stores, product int NOT NULL REFERENCES products);
        CREATE TABLE icons (id int PRIMARY KEY);
        CREATE TABLE groups (id int PRIMARY KEY, store int REFERENCES stores, icon int REFERENCES icons);
        INSERT INTO icons VALUES (1); INSERT INTO groups VALUES (1, NULL, 1);
        INSERT INTO makers VALUES (1); INSERT INTO products VALUES (1, 1); INSERT INTO photos VALUES (1, 1);
        INSERT INTO sales VALUES (1, 1), (2, 1);
        """
    )
    proposal = discover(database, undecided=Undecided.DEFAULT)
    assert part(proposal, "products").shared
    assert part(proposal, "makers").shared
    assert part(proposal, "groups").shared
    assert part(proposal, "icons").shared
    assert part(proposal, "photos").assign == Assign(tenant="default")
    assert "1 of 1 rows with children have children of two tenants" in reasons(proposal, "products")
    database.execute("DELETE FROM sales WHERE store = 2")
    assert "sales.product refers to it" in reasons(discover(database), "products")


def test_unique_constraints_that_tie_tenants_together(database: Any) -> None:
    """Each is a question to a person, and none is given up on discover's word; those against which nothing speaks stand
    in a line that is there to be taken up."""
    database.execute(
        STORES
        + """
        CREATE TABLE users (id int PRIMARY KEY, store int NOT NULL REFERENCES stores, email text UNIQUE,
            badge text UNIQUE, phone text UNIQUE, code text, UNIQUE (store, code));
        CREATE UNIQUE INDEX users_lower ON users (lower(badge));
        CREATE TABLE calls (id int PRIMARY KEY, phone text NOT NULL REFERENCES users (phone));
        CREATE TABLE codes (code text PRIMARY KEY, store int NOT NULL REFERENCES stores);
        """
    )
    proposal = discover(database)
    assert not any(one.unique for one in proposal.spec.table)
    text = spec_text(proposal)
    assert '# unique = ["stores_name_key"]' in text
    assert '# unique = ["users_badge_key"]' in text
    (users,) = (one for one in proposal.decisions.values() if one.table.name == "users")
    assert {one.name for one in users.constraints if not one.proposed} == {
        "users_email_key", "users_phone_key", "users_lower",
    }  # fmt: skip
    (codes,) = (one for one in proposal.decisions.values() if one.table.name == "codes")
    assert [one.name for one in codes.constraints] == ["codes_pkey"]


def test_estoque(database: Any) -> None:
    """The proposal is the preset's own spec, but for what only a person can know."""
    with database.connect() as connection:
        load(connection, preset="estoque", rows=3000, seed=7)
    proposal = discover(database)
    preset = Spec.read(PRESETS / "estoque" / "tenantry.toml")
    ours = {one.name: one for one in proposal.spec.table}
    theirs = {one.name: one for one in preset.table}
    assert set(ours) == set(theirs)
    assert not proposal.undecided
    assert ours["produtos"].shared == theirs["produtos"].shared
    for name in theirs:
        assert ours[name].paths[:1] == theirs[name].paths[:1]
        assert ours[name].children == theirs[name].children
        assert ours[name].orphans == theirs[name].orphans
    lots = next(one for one in proposal.decisions.values() if one.part.name == "estoque_lotes")
    assert tuple(one.name for one in lots.constraints if one.proposed) == theirs["estoque_lotes"].unique


def test_enterprise(database: Any) -> None:
    """Nothing refers to the organizations yet: all rows become one's."""
    with database.connect() as connection:
        load(connection, preset="enterprise", rows=300, seed=7)
    proposal = discover(database)
    preset = Spec.read(PRESETS / "enterprise" / "tenantry.toml")
    assert proposal.spec.tenant.table == "organizations"
    assert {one.name: one.assign for one in proposal.spec.table} == {one.name: one.assign for one in preset.table}


def test_northwind(realdb: Any) -> None:
    """It has no tenant: one is made, and every row is its own."""
    proposal = discover(realdb("northwind"))
    assert proposal.spec.tenant.create
    assert len(proposal.spec.table) == 14
    assert all(one.assign == Assign(tenant="default") for one in proposal.spec.table)


def test_chinook(realdb: Any) -> None:
    """None, or the employee who looks after a customer; half the tables are out of reach."""
    database = realdb("chinook")
    assert discover(database).spec.tenant.create
    proposal = discover(database, tenant_table="employee")
    owned = {one.name for one in proposal.spec.table if one.paths}
    assert owned == {"customer", "invoice", "invoice_line"}
    assert "256" in (part(discover(database, tenant_table="customer"), "track").undecided or "")
    for undecided in (Undecided.SHARED, Undecided.DEFAULT):
        assert not discover(database, tenant_table="employee", undecided=undecided).undecided


def test_adventureworks(realdb: Any) -> None:
    """Twelve tables reach the territory, some over composite keys; the rest is asked for."""
    proposal = discover(realdb("adventureworks"), tenant_table="sales.salesterritory")
    assert proposal.spec.tenant.key == "territoryid"
    assert len([one for one in proposal.spec.table if one.paths]) == 12
    assert len(proposal.spec.table) == 67
    assert part(proposal, "sales.salesterritoryhistory").paths[0] == (("territoryid",),)
