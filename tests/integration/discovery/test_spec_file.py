"""The file that discover writes, and the picture: the same for the same database, whatever its names."""

from typing import Any

from discovery import discovering
from tenantry.discovery.diagram import diagram
from tenantry.discovery.spec_file import spec_text

HOSTILE = """
    CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text);
    INSERT INTO tenants (slug) VALUES ('a'), ('b
# c');
    CREATE TABLE "x
[tenant]"
 (id text PRIMARY KEY, "tenant\x01
# id" uuid REFERENCES tenants, "or" uuid REFERENCES tenants);
    INSERT INTO "x
[tenant]"
 SELECT E'k"\n#' || a.slug || b.slug, a.id, b.id FROM tenants a, tenants b;
    CREATE TABLE "]] --> ""t0" (id int PRIMARY KEY, "tenant\x01
# id" uuid REFERENCES tenants);
"""


def test_no_name_breaks_out_of_a_comment(database: Any) -> None:
    """Line breaks in names, keys and slugs stay where they are; the file says what was proposed."""
    database.execute(HOSTILE)
    proposal = discovering.discover(database)
    assert len(proposal.undecided) == 1
    text = spec_text(proposal)
    allowed = ("#", "[tenant]", "[[table]]", '"', "]")
    assert all(line.startswith(allowed) or not line or " = " in line for line in text.splitlines())


def test_the_same_database_gives_the_same_file(database: Any) -> None:
    database.execute(HOSTILE)
    first, second = discovering.discover(database), discovering.discover(database)
    assert spec_text(first) == spec_text(second)
    assert diagram(first) == diagram(second)


def test_the_diagram_shows_ways_and_decisions(database: Any) -> None:
    """Tables by what was decided, arrows by what is followed; names cannot end a label."""
    database.execute(HOSTILE)
    picture = diagram(discovering.discover(database))
    nodes = [line for line in picture.splitlines() if ":::" in line]
    assert len(nodes) == 3
    assert all(line.count('"') == 2 for line in nodes)
    assert sum(line.endswith(":::undecided") for line in nodes) == 1
    assert sum(" --> " in line or "-->|" in line for line in picture.splitlines()) == 3
