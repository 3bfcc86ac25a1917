"""What distributing a database's tables would meet: each thing is named, with what helps, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servers import Database
from tenantry import plan
from tenantry.model.finding import Finding, Severity
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'one'), (0, 'two');
CREATE TABLE boxes (id serial PRIMARY KEY, owner integer NOT NULL REFERENCES tenants, code text UNIQUE, size integer);
CREATE TABLE lines (id bigserial PRIMARY KEY, box integer NOT NULL REFERENCES boxes, at date, number bigint);
CREATE SEQUENCE numbers;
CREATE TABLE tags (id integer PRIMARY KEY, owner integer REFERENCES tenants);
CREATE TABLE goods (id integer PRIMARY KEY);
CREATE TABLE goods_of (good integer REFERENCES goods, owner integer REFERENCES tenants, PRIMARY KEY (owner, good));
CREATE TABLE papers (id integer, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE letters (box integer REFERENCES boxes) INHERITS (papers);
CREATE TABLE events (id integer, at date, owner integer NOT NULL REFERENCES tenants, PRIMARY KEY (id, at))
  PARTITION BY RANGE (at);
CREATE TABLE events_all PARTITION OF events DEFAULT;
ALTER TABLE events_all ADD CONSTRAINT one_at_once EXCLUDE USING btree (at WITH =);
CREATE TABLE codes (id integer PRIMARY KEY, code text NOT NULL,
  owner integer GENERATED ALWAYS AS (left(code, 1)::integer) STORED REFERENCES tenants);
CREATE TABLE stays (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants, room integer, during daterange,
  CONSTRAINT one_at_a_time EXCLUDE USING gist (room WITH =, during WITH &&));
CREATE TABLE units (code text PRIMARY KEY, box integer REFERENCES boxes);
CREATE SCHEMA beside;
CREATE TABLE beside.labels (id integer PRIMARY KEY, box integer REFERENCES boxes);
CREATE TABLE beside.notes (id integer, at date, FOREIGN KEY (id, at) REFERENCES events_all);
CREATE POLICY narrow ON boxes AS RESTRICTIVE USING (size > 0);
CREATE POLICY asking ON lines USING (EXISTS (SELECT FROM tenants));
CREATE POLICY plain ON lines USING (id > 0);
CREATE VIEW sizes AS SELECT b.id, b.code, count(*) FROM boxes b JOIN lines l ON l.box = b.id GROUP BY b.id;
CREATE FUNCTION conflicting() RETURNS void LANGUAGE sql AS
  $$ INSERT INTO boxes (id, owner) VALUES (1, 1) ON CONFLICT (id) DO NOTHING $$;
CREATE FUNCTION naming() RETURNS void LANGUAGE sql AS
  $$ INSERT INTO boxes (owner, code) VALUES (1, 'x') ON CONFLICT (code) WHERE owner IS NOT NULL DO NOTHING $$;
CREATE FUNCTION locking() RETURNS SETOF integer LANGUAGE sql AS $$ SELECT id FROM boxes FOR UPDATE $$;
CREATE FUNCTION numbering() RETURNS void LANGUAGE sql AS
  $$ INSERT INTO lines (box, number) SELECT id, nextval('numbers') FROM boxes $$;
CREATE FUNCTION copying() RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN EXECUTE 'COPY boxes TO PROGRAM ''cat'''; EXECUTE 'MERGE INTO lines USING boxes ON true WHEN MATCHED THEN DELETE';
  END $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER renamed BEFORE UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION touch();
"""
SPEC = """
[tenant]
table = "tenants"
column = "owner"
[application]
role = "{role}"
api_keys = true
[[table]]
name = "boxes"
paths = [["owner"]]
[[table]]
name = "lines"
paths = [["box"]]
[[table]]
name = "tags"
paths = [["owner"]]
orphans = "shared"
[[table]]
name = "goods"
membership = "goods_of"
[[table]]
name = "goods_of"
paths = [["owner"]]
[[table]]
name = "papers"
paths = [["owner"]]
[[table]]
name = "events"
paths = [["owner"]]
[[table]]
name = "codes"
paths = [["owner"]]
[[table]]
name = "stays"
paths = [["owner"]]
[[table]]
name = "units"
shared = true
"""


@pytest.fixture
def found(template: Callable[..., Database], role: Callable[..., str]) -> list[Finding]:
    database = template("to be distributed", lambda database: database.execute(SCHEMA))
    dump = database.dump()
    spec = Spec.parse(SPEC.format(role=role(create=False, name="app")))
    findings = plan(Target(database.dsn), spec, until=Phase.DISTRIBUTE).findings
    assert database.dump() == dump
    return [one for one in findings if one.name.startswith("distribute-")]


REFUSED = {
    ("distribute-refuses-sentinel", "public.tenants"),
    ("distribute-refuses-own-trigger", "public.tenants"),
    ("distribute-refuses-membership", "public.goods"),
    ("distribute-refuses-inheritance", "public.papers"),
    ("distribute-refuses-generated", "public.codes"),
    ("distribute-refuses-exclusion", "public.stays"),
    ("distribute-refuses-exclusion", "public.events_all"),
    ("distribute-refuses-shared-reference", "public.units"),
    ("distribute-refuses-outside-reference", "beside.labels"),
    ("distribute-refuses-outside-reference", "beside.notes"),
    ("distribute-refuses-restrictive-policy", "public.boxes"),
    ("distribute-refuses-permissive-policy", "public.lines"),
    ("distribute-refuses-policy-subquery", "public.lines"),
    ("distribute-refuses-view-on-key", "public.boxes"),
}
CHANGES = {
    ("distribute-changes-sentinel", "public.tags"),
    ("distribute-changes-sequence", "public.boxes"),
    ("distribute-changes-join", "public.sizes"),
    ("distribute-changes-conflict", "public.boxes"),
    ("distribute-changes-locking", "public.boxes"),
    ("distribute-changes-nextval", "public.lines"),
    ("distribute-changes-copy", "public.boxes"),
    ("distribute-changes-merge", "public.lines"),
    ("distribute-changes-floor", "None"),
}


def test_each_thing_is_named(found: list[Finding]) -> None:
    refused = {(one.name, str(one.table)) for one in found if one.refuses and not one.forcible}
    assert refused == REFUSED
    lost = sorted(one.message for one in found if one.name == "distribute-loses")
    assert [message.split(" is dropped")[0] for message in lost] == [
        'The trigger renamed of public.tenants', 'The trigger touched of public.lines'
    ]  # fmt: skip
    assert all(one.forcible for one in found if one.name == "distribute-loses")
    changes = {(one.name, str(one.table)) for one in found if one.severity is Severity.WARNING}
    assert changes - {("distribute-changes", table) for _, table in changes} == CHANGES
    counts = [one.count for one in found if one.name == "distribute-changes-conflict"]
    assert counts == [1], "a statement that names the tenant is let be"
    assert [one for one in found if one.name != "distribute-changes" and not one.remedy.endswith((".", "WHERE."))] == []
