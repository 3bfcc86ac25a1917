-- Names and types that no ORM is made for.
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
CREATE SCHEMA "side ""shop""";
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN code AS varchar(5);
CREATE TABLE odd (
  "class" integer, pk integer, metadata text DEFAULT 'a:b :c', "a""b'; import os" text, "ação" code NOT NULL, "1" mood,
  objects text[], words tsvector, amount numeric DEFAULT 1.5, at timestamp(3) DEFAULT now(), "time" time(2) with time zone,
  span interval, bits bit(3), double integer GENERATED ALWAYS AS (pk * 2) STORED, number integer NOT NULL UNIQUE,
  counted bigint GENERATED ALWAYS AS IDENTITY, share real DEFAULT 5 % 3,
  tenant_id integer NOT NULL REFERENCES tenants, PRIMARY KEY ("class", pk)
);
CREATE UNIQUE INDEX odd_lower ON odd (lower(metadata), "ação" DESC) INCLUDE (amount) WHERE pk > 0;
CREATE INDEX odd_words ON odd USING gin (words);
CREATE INDEX odd_down ON odd (at DESC NULLS LAST, amount);
CREATE UNIQUE INDEX "odd""'''" ON odd (amount);
CREATE TABLE "the '''
""""""; import os" (tenant_id integer REFERENCES tenants, "x
import os" integer);
CREATE TABLE "side ""shop""".odd (
  id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants, "class" integer, pk integer,
  FOREIGN KEY ("class", pk) REFERENCES odd, FOREIGN KEY (id) REFERENCES odd (number)
);
CREATE TABLE parts (id integer, tenant_id integer NOT NULL REFERENCES tenants, PRIMARY KEY (id, tenant_id))
  PARTITION BY LIST (tenant_id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
