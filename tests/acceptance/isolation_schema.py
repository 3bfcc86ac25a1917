"""A schema of owned, mixed, shared and partitioned tables, and its spec."""

from __future__ import annotations

from checks.isolated_tenants import BESIDE, TABLES

SCHEMA = f"""
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE, name text NOT NULL);
INSERT INTO tenants (slug, name) VALUES ('one', 'One'), ('two', 'Two');
CREATE TABLE "Order" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org uuid NOT NULL REFERENCES tenants,
  code text NOT NULL UNIQUE, total numeric NOT NULL DEFAULT 0);
CREATE TABLE line (order_id bigint NOT NULL REFERENCES "Order" ON DELETE CASCADE, number int, what text NOT NULL,
  tag int, PRIMARY KEY (order_id, number));
CREATE TABLE tag (id int PRIMARY KEY, org uuid REFERENCES tenants, name text NOT NULL UNIQUE);
ALTER TABLE line ADD FOREIGN KEY (tag) REFERENCES tag;
{BESIDE}INSERT INTO "Order" (org, code, total) SELECT t.id, t.slug || n, n FROM tenants t, generate_series(1, 5) n;
INSERT INTO tag SELECT 1, NULL, 'everybody';
INSERT INTO tag SELECT 2, id, 'ones' FROM tenants WHERE slug = 'one';
INSERT INTO tag SELECT 3, id, 'twos' FROM tenants WHERE slug = 'two';
INSERT INTO line SELECT id, 1, 'thing', 1 FROM "Order";
INSERT INTO event SELECT id, date '2025-06-01', id FROM "Order" UNION ALL SELECT id, date '2027-01-01', id FROM "Order";
"""


SPEC = f"""
[tenant]
table = "tenants"
[application]
role = "{{role}}"
{TABLES}"""
