"""What the data and the schema really say: who typed a row in, who uses it, and whose tables are nobody's."""

from typing import Any

import pytest

from discovery import discovering
from tenantry.discovery.proposal import Undecided
from tenantry.discovery.spec_file import spec_text
from tenantry.model.spec import Orphans, Spec
from tenantry.planning.ownership import resolve

discover, part, reasons = discovering.discover, discovering.part, discovering.reasons

TENANTS = """
    CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
    INSERT INTO tenants VALUES (10, 'north'), (20, 'south');
    CREATE TABLE users (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
    INSERT INTO users VALUES (1, 10), (2, 20);
"""


@pytest.mark.parametrize("column", ["created_by", "write_uid", "criado_por", "angelegt_von"])
def test_who_typed_a_row_in_is_not_who_owns_it(database: Any, column: str) -> None:
    """Countries that the administrator entered are everybody's, a product for all stays so, and an invoice may be
    entered by another tenant's user."""
    database.execute(
        TENANTS
        + f"""
        CREATE TABLE countries (id int PRIMARY KEY, {column} int REFERENCES users);
        INSERT INTO countries VALUES (1, 1), (2, 1);
        CREATE TABLE products (id int PRIMARY KEY, tenant_id int REFERENCES tenants, {column} int REFERENCES users);
        INSERT INTO products VALUES (1, 10, 1), (2, 20, 2), (3, NULL, 1);
        CREATE TABLE invoices (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants,
          country int REFERENCES countries, {column} int REFERENCES users);
        INSERT INTO invoices VALUES (1, 10, 1, 1), (2, 20, 1, 2), (3, 20, 2, 1);
        """
    )
    proposal = discover(database)
    assert part(proposal, "countries").shared is True
    assert part(proposal, "products").paths == ((("tenant_id",),),)
    assert part(proposal, "products").orphans is Orphans.SHARED
    assert part(proposal, "invoices").paths == ((("tenant_id",),),)
    assert not proposal.undecided
    crossing = {one.child for one in proposal.spec.reference if one.crosses}
    assert crossing == {f"countries.{column}", f"products.{column}", f"invoices.{column}"}
    assert "who wrote the row" in reasons(proposal, "invoices")


def test_writers_are_told_without_their_names(database: Any) -> None:
    """By the graph and the data: nearly all tables refer to that parent, twice each or against what else they say."""
    database.execute(
        TENANTS
        + "".join(
            f"""
            CREATE TABLE t{number} (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants,
              alpha int REFERENCES users, beta int REFERENCES users);
            INSERT INTO t{number} VALUES (1, 10, 1, 2), (2, 20, 1, 2);
            """
            for number in range(5)
        )
    )
    proposal = discover(database)
    assert not proposal.undecided
    assert {one.child for one in proposal.spec.reference} >= {f"t{number}.alpha" for number in range(5)}


def test_writers_in_few_of_many_tables(database: Any) -> None:
    """A pair of columns of the same names in some tables of a schema that has many others."""
    audited = "alpha int REFERENCES users, beta int REFERENCES users"
    database.execute(
        TENANTS
        + f"""
        CREATE TABLE countries (id int PRIMARY KEY, {audited});
        CREATE TABLE orders (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, {audited});
        CREATE TABLE items (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, {audited});
        INSERT INTO countries VALUES (1, 1, NULL), (2, 1, 1);
        INSERT INTO orders SELECT n, 10 + 10 * (n % 2), 1 + n % 2, 1 FROM generate_series(1, 8) n;
        INSERT INTO items SELECT n, 10 + 10 * (n % 2), 1, 1 + n % 2 FROM generate_series(1, 8) n;
        """
        + "".join(f"CREATE TABLE t{number} (id int PRIMARY KEY);" for number in range(20))
    )
    proposal = discover(database)
    assert part(proposal, "countries").shared or part(proposal, "countries").undecided
    assert part(proposal, "orders").paths == ((("tenant_id",),),)


def test_a_user_who_owns_is_no_writer(database: Any) -> None:
    """A key that is never NULL and has no such name is a path, also where most tables have it."""
    database.execute(
        TENANTS
        + "".join(
            f"""
            CREATE TABLE t{number} (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
            INSERT INTO t{number} VALUES (1, 1), (2, 2);
            """
            for number in range(5)
        )
    )
    proposal = discover(database)
    assert all(part(proposal, f"t{number}").paths == ((("user_id",),),) for number in range(5))
    assert not proposal.spec.reference


def test_only_the_writer_is_known(database: Any) -> None:
    """Nothing is decided in silence."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE notes (id int PRIMARY KEY, created_by int REFERENCES users, updated_by int REFERENCES users);
        INSERT INTO notes VALUES (1, 1, 1), (2, 2, 2);
        """
    )
    undecided = part(discover(database), "notes").undecided
    assert undecided is not None
    assert undecided.startswith("its columns only tell who wrote a row")


def test_a_reference_without_a_foreign_key(database: Any) -> None:
    """A copy of tenants' rows, such as a history, is a question of its own, even where the rest is to be shared."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE orders (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
        CREATE TABLE order_lines (id int PRIMARY KEY, "order" int NOT NULL REFERENCES orders, text text);
        CREATE TABLE order_lines_history (id int, "order" int, text text, at timestamptz);
        CREATE TABLE rates (id int PRIMARY KEY, text text);
        INSERT INTO orders VALUES (1, 10), (2, 20);
        INSERT INTO order_lines VALUES (1, 1, 'a'), (2, 2, 'b');
        INSERT INTO order_lines_history SELECT id, "order", text, now() FROM order_lines;
        INSERT INTO rates VALUES (1, 'a');
        """
    )
    for undecided in (Undecided.ASK, Undecided.SHARED):
        proposal = discover(database, undecided=undecided)
        question = part(proposal, "order_lines_history").undecided
        assert question == "order looks like a reference without a foreign key: order_lines.order refers to orders"
        assert part(proposal, "rates").undecided == ("no path reaches it" if undecided is Undecided.ASK else None)


def test_what_leads_to_shared_tables_only(database: Any) -> None:
    """Empty tables are decided by their keys, however many of them stand between."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE kinds (id int PRIMARY KEY, tenant_id int REFERENCES tenants);
        INSERT INTO kinds VALUES (1, NULL);
        CREATE TABLE templates (id int PRIMARY KEY, kind_id int NOT NULL REFERENCES kinds);
        CREATE TABLE template_uses (id int PRIMARY KEY, template_id int NOT NULL REFERENCES templates);
        """
    )
    proposal = discover(database)
    assert [part(proposal, name).shared for name in ("kinds", "templates", "template_uses")] == [True, True, True]
    assert "decided by its foreign keys" in reasons(proposal, "template_uses")


def test_the_bookkeeping_of_tools(database: Any) -> None:
    """Shared, or shared and written; a namesake with other columns, or one with a tenant, is a table as others."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE django_migrations (id int PRIMARY KEY, app text, name text, applied timestamptz);
        CREATE TABLE django_session (session_key text PRIMARY KEY, session_data text, expire_date timestamptz);
        CREATE TABLE alembic_version (version_num text PRIMARY KEY);
        CREATE TABLE jobs (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, queue text, payload text,
          attempts int);
        CREATE TABLE cache (id int PRIMARY KEY, place text);
        INSERT INTO jobs VALUES (1, 10);
        """
    )
    proposal = discover(database)
    shared = {name: part(proposal, name).shared for name in ("django_migrations", "django_session", "alembic_version")}
    assert shared == {"django_migrations": True, "django_session": "write", "alembic_version": True}
    assert part(proposal, "jobs").paths == ((("tenant_id",),),)
    assert part(proposal, "cache").undecided == "no path reaches it"
    database.execute("DROP TABLE jobs, users, tenants")
    first = discover(database)
    assert part(first, "django_session").shared == "write"
    assert part(first, "cache").assign is not None


def test_a_reference_that_may_be_meant_to_cross(database: Any) -> None:
    """The question comes with the line that answers it."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE visits (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants,
          host int NOT NULL REFERENCES users);
        INSERT INTO visits VALUES (1, 10, 1), (2, 20, 1);
        """
    )
    proposal = discover(database)
    assert "host disagree in 1 of 2 rows" in (part(proposal, "visits").undecided or "")
    assert '[[reference]] from = "visits.host" crosses = true' in reasons(proposal, "visits")


def test_tenant_columns_that_no_key_declares(database: Any) -> None:
    """A column of the key's type whose values are tenants is a path; another type, or other values, is a question."""
    database.execute(
        """
        CREATE TABLE tenants (id int PRIMARY KEY, name text);
        INSERT INTO tenants VALUES (1, 'A'), (2, 'B');
        CREATE TABLE items (id int PRIMARY KEY, tenant_id int NOT NULL);
        INSERT INTO items VALUES (1, 1), (2, 2);
        CREATE TABLE prefs (id int PRIMARY KEY, tenant_id varchar(10) NOT NULL);
        INSERT INTO prefs VALUES (1, '1');
        CREATE TABLE rents (id int PRIMARY KEY, tenant_id int NOT NULL);
        INSERT INTO rents VALUES (1, 77), (2, 78);
        """
    )
    proposal = discover(database)
    assert part(proposal, "items").paths == ((("tenant_id",),),)
    assert part(proposal, "prefs").undecided is not None
    assert (
        part(proposal, "rents").undecided
        == "tenant_id looks like a tenant's key, but contains no tenant in any of 2 rows"
    )


@pytest.mark.parametrize(
    ("tenants", "items", "why"),
    [
        ("id int NOT NULL UNIQUE, name text", "tenant_id int REFERENCES tenants (id)", "its primary key does not have exactly one column"),
        ("region text, id int, PRIMARY KEY (region, id)",
         "region text, tenant_id int, FOREIGN KEY (region, tenant_id) REFERENCES tenants", "not have exactly one"
         " column"),
        ("id numeric(10, 2) PRIMARY KEY", "tenant_id numeric(10, 2) REFERENCES tenants", "its key is not a uuid"),
    ],
)  # fmt: skip
def test_a_tenant_table_whose_key_cannot_serve(database: Any, tenants: str, items: str, why: str) -> None:
    """It is named, with the reason; nothing is merged into one new tenant."""
    database.execute(
        f"CREATE TABLE tenants ({tenants}); CREATE TABLE items (id int PRIMARY KEY, {items});"
        "CREATE TABLE units (id int PRIMARY KEY)"
    )
    proposal = discover(database)
    assert len(proposal.undecided) == 3
    assert all("public.tenants" in (one.part.undecided or "") for one in proposal.undecided)
    assert why in " ".join(spec_text(proposal).replace("#", "").split())


@pytest.mark.parametrize(
    ("links", "figures"),
    [
        ("(1, 10), (2, 10), (2, 20), (3, 20)", "3 of 4 rows are linked to a tenant, 1 to several"),
        ("(1, 10), (2, 10), (3, 20)", "3 of 4 rows are linked to a tenant, 0 to several"),
        ("(1, 10), (2, 10), (3, 10)", "pairs its rows with tenants"),
    ],
    ids=["several", "one each", "one tenant"],
)
def test_a_link_table_pairs_rows_with_tenants(database: Any, links: str, figures: str) -> None:
    """Whether it says who may see them nobody can know from the data: a question, with one tenant as with many, whose answer
    is to delete a line. A table that has more to say of each pair, such as a stock, is none."""
    database.execute(
        TENANTS
        + f"""
        CREATE TABLE products (id int PRIMARY KEY, name text);
        CREATE TABLE listings (id serial PRIMARY KEY, product_id int NOT NULL REFERENCES products,
          tenant_id int NOT NULL REFERENCES tenants, since timestamptz DEFAULT now(), published boolean,
          UNIQUE (product_id, tenant_id));
        CREATE TABLE articles (id int PRIMARY KEY, name text);
        CREATE TABLE stock (article_id int NOT NULL REFERENCES articles, tenant_id int NOT NULL REFERENCES tenants,
          quantity numeric, PRIMARY KEY (article_id, tenant_id));
        INSERT INTO products VALUES (1), (2), (3), (4);
        INSERT INTO listings (product_id, tenant_id) VALUES {links};
        INSERT INTO articles VALUES (1), (2);
        INSERT INTO stock VALUES (1, 10), (1, 20), (2, 10), (2, 20);
        """
    )
    proposal = discover(database)
    found = part(proposal, "products")
    assert found.membership == "listings"
    assert found.undecided is not None
    assert figures in found.undecided
    assert part(proposal, "articles").shared is True
    text = spec_text(proposal)
    decided = "\n".join(line for line in text.splitlines() if not line.startswith("undecided"))
    ownership = resolve(Spec.parse(decided), discovering.schema_of(database))
    assert [member.link.name for member in ownership.members] == ["listings"]
