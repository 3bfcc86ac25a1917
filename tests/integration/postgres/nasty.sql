-- What legal schemas hold that a reader of the catalog can get wrong.
CREATE SCHEMA "Odd ""Schema"".x";
CREATE SCHEMA elsewhere;
CREATE DOMAIN code AS varchar(12) CHECK (VALUE <> '');
CREATE DOMAIN strict_code AS code NOT NULL;
CREATE TYPE pair AS (a int, b text);

CREATE TABLE "order" (
    "select" int GENERATED ALWAYS AS IDENTITY,
    "a.b" strict_code,
    "Qty ""x""" numeric(10, 2) DEFAULT 1.50 NOT NULL,
    twice numeric GENERATED ALWAYS AS ("Qty ""x""" * 2) STORED,
    dropped int,
    tags text[],
    PRIMARY KEY ("select"),
    CONSTRAINT "Code USING btree (" UNIQUE ("a.b"),
    CONSTRAINT later UNIQUE (twice, "Qty ""x""") DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE "order" DROP COLUMN dropped;
CREATE UNIQUE INDEX "on x USING btree (y" ON "order" (lower("a.b")) WHERE "Qty ""x""" > 0;
CREATE UNIQUE INDEX including ON "order" ("Qty ""x""" DESC) INCLUDE (tags);
CREATE INDEX mixed ON "order" (twice, (twice + 1), "a.b" varchar_pattern_ops);
CREATE INDEX gin_tags ON "order" USING gin (tags);

CREATE TABLE "Odd ""Schema"".x"."naïve_table_with_a_name_of_63_bytes_ééééééééééééé" (
    id bigserial PRIMARY KEY,
    a int, b text,
    CONSTRAINT ab UNIQUE (b, a)
);
CREATE TABLE child (
    id int PRIMARY KEY,
    parent_b text, parent_a int,
    ord int NOT NULL REFERENCES "order" ON DELETE CASCADE ON UPDATE RESTRICT DEFERRABLE INITIALLY DEFERRED,
    self int REFERENCES child ON DELETE SET DEFAULT,
    code varchar(12),
    during int4range,
    CONSTRAINT two FOREIGN KEY (parent_a, parent_b)
        REFERENCES "Odd ""Schema"".x"."naïve_table_with_a_name_of_63_bytes_ééééééééééééé" (a, b) MATCH FULL,
    CONSTRAINT apart EXCLUDE USING gist (during WITH &&)
);
ALTER TABLE child ADD CONSTRAINT by_code FOREIGN KEY (code) REFERENCES "order" ("a.b") NOT VALID;

CREATE TABLE measured (id int, region text, at date NOT NULL, ord int REFERENCES "order", PRIMARY KEY (id, region, at))
    PARTITION BY LIST (region);
CREATE TABLE measured_north PARTITION OF measured FOR VALUES IN ('n') PARTITION BY RANGE (at);
CREATE TABLE elsewhere.measured_north_2024 PARTITION OF measured_north
    FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE hashed (id int, name text) PARTITION BY HASH (lower(name), id);
CREATE TABLE measured_rest PARTITION OF measured DEFAULT;
CREATE TABLE reading (id int PRIMARY KEY, m_id int, m_region text, m_at date,
    FOREIGN KEY (m_id, m_region, m_at) REFERENCES measured ON DELETE SET NULL);

CREATE TABLE animal (id int PRIMARY KEY, name text);
CREATE TABLE dog (barks boolean) INHERITS (animal);
CREATE TABLE wet (depth int);
CREATE TABLE seal () INHERITS (wet, dog);

CREATE TABLE holder (one animal, many animal[], p pair);
CREATE TABLE silent (id int);
CREATE RULE "swallow it" AS ON INSERT TO silent DO INSTEAD NOTHING;

CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER "Stamp" BEFORE INSERT OR UPDATE ON measured FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE CONSTRAINT TRIGGER late AFTER DELETE ON child DEFERRABLE FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE child DISABLE TRIGGER late;
CREATE FUNCTION elsewhere.dogs(text, int DEFAULT 1) RETURNS SETOF public.dog LANGUAGE sql AS 'SELECT * FROM public.dog';
CREATE FUNCTION standard() RETURNS bigint LANGUAGE sql RETURN (SELECT count(*) FROM "order");

ALTER TABLE child ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Mine only" ON child AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (id > 0);
CREATE POLICY all_of_it ON child USING (true);
ALTER TABLE child REPLICA IDENTITY FULL;

CREATE VIEW v1 WITH (security_barrier = true) AS SELECT * FROM "order";
CREATE VIEW elsewhere."v 2" AS SELECT v1."select", c.id FROM public.v1 JOIN public.child c ON c.ord = v1."select";
CREATE MATERIALIZED VIEW elsewhere.m3 AS SELECT count(*) FROM elsewhere."v 2";
CREATE TABLE elsewhere.unrelated (id int);
CREATE VIEW elsewhere.unrelated_view AS SELECT * FROM elsewhere.unrelated;

CREATE PUBLICATION parts FOR TABLE measured, child;

-- What tenantry leaves behind while it works.
CREATE TABLE tenants (id uuid PRIMARY KEY);
ALTER TABLE animal ADD COLUMN tenant_id uuid CONSTRAINT tenantry_animal_fk REFERENCES tenants;
CREATE UNIQUE INDEX tenantry_animal_u ON animal (tenant_id, id);
CREATE INDEX "~tenantry_old" ON animal (tenant_id);
ALTER TABLE measured ADD COLUMN tenant_id uuid;
CREATE POLICY tenantry_floor ON animal AS RESTRICTIVE USING (true);
CREATE TRIGGER "~tenantry_assign" BEFORE INSERT ON animal FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE SCHEMA tenantry;
CREATE TABLE tenantry.runs (id int);
CREATE FUNCTION tenantry.assign() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER zzz BEFORE UPDATE ON animal FOR EACH ROW EXECUTE FUNCTION tenantry.assign();
CREATE VIEW tenantry.peek AS SELECT * FROM public.animal;
