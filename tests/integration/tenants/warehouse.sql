-- Three tenants, and every odd thing that a tenant's rows can be.
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TYPE place AS (street text, number integer);
CREATE DOMAIN percentage AS numeric(5, 2) CHECK (value BETWEEN 0 AND 100);
CREATE TABLE tenants (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, slug text NOT NULL UNIQUE, name text);
INSERT INTO tenants (slug, name) VALUES ('one', 'One'), ('two', 'Zwei ☃'), ('three', NULL);
CREATE TABLE currencies (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO currencies VALUES ('EUR', 'euro'), ('USD', 'dollar'), ('JPY', 'yen');

CREATE TABLE people (id serial PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants, email text NOT NULL UNIQUE,
  invited_by integer REFERENCES people ON DELETE SET NULL, chosen_by integer);
INSERT INTO people (tenant_id, email) SELECT 1 + n % 3, 'p' || n || '@example.com' FROM generate_series(1, 30) n;
-- Who invited whom: a line of three in each tenant, and a circle of two.
UPDATE people SET invited_by = id - 3 WHERE id BETWEEN 4 AND 9;
UPDATE people SET invited_by = CASE WHEN id > 24 THEN id - 3 ELSE id + 3 END WHERE id BETWEEN 22 AND 27;
-- An auditor of tenant one looks at everybody's.
UPDATE people SET chosen_by = 3 WHERE id = 20;
ALTER TABLE people ADD CONSTRAINT chosen FOREIGN KEY (chosen_by) REFERENCES people;

CREATE TABLE egg (id integer PRIMARY KEY, hen integer NOT NULL, tenant_id integer NOT NULL REFERENCES tenants, code text UNIQUE);
CREATE TABLE hen (id integer PRIMARY KEY, egg integer NOT NULL REFERENCES egg, tenant_id integer NOT NULL REFERENCES tenants);
INSERT INTO egg SELECT n, n, 1 + n % 3, 'c' || n FROM generate_series(1, 30) n;
INSERT INTO hen SELECT n, n, 1 + n % 3 FROM generate_series(1, 30) n;
ALTER TABLE egg ADD FOREIGN KEY (hen) REFERENCES hen;

CREATE TABLE typed (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person integer NOT NULL REFERENCES people,
  number bigint GENERATED ALWAYS AS IDENTITY, serial serial, doubled integer GENERATED ALWAYS AS (serial * 2) STORED,
  raw bytea, document jsonb, plain json, list integer[], texts text[], share percentage, feeling mood, feelings mood[],
  span int4range, at timestamptz, day interval, real double precision, money numeric, home place, point point, mark path,
  short varchar(3), fixed char(5), uid uuid, "Odd ""Name" text, scan oid
);
INSERT INTO typed (person, raw, document, plain, list, texts, share, feeling, feelings, span, at, day, real, money, home,
                   point, mark, short, fixed, uid, "Odd ""Name")
  SELECT 1 + n % 30, decode(md5(n::text), 'hex'), jsonb_build_object('n', n), '{"b":1,  "a":1}', ARRAY[n, NULL],
         ARRAY['a"b', 'c,d', NULL], n, CASE n % 2 WHEN 0 THEN 'low' ELSE 'high' END::mood, ARRAY['low', 'high']::mood[],
         int4range(n, n + 2), timestamptz '2025-03-30 01:30:00+00' + n * interval '17 min', n * interval '1 day 3 seconds',
         1 / (n + 0.3)::float8, n * 1.10, ROW('street, "x"', n)::place, point(n, 0.1), '[(0,0),(1,1)]', 'abc', 'ab', NULL,
         E'tab\t\\ newline\n\\.' || chr(13) FROM generate_series(1, 60) n;
INSERT INTO typed (person, texts, short) VALUES (1, '{}', ''), (2, NULL, NULL);
UPDATE typed SET scan = lo_from_bytea(0, 'a large object') WHERE id IN (3, 4);

-- No key, equal rows, a value of NULL alone.
CREATE TABLE keyless (note text, person integer REFERENCES people);
INSERT INTO keyless SELECT CASE WHEN n % 3 > 0 THEN 'n' || n % 5 END, 1 + n % 30 FROM generate_series(1, 90) n;

CREATE TABLE orders (id integer, at date NOT NULL, person integer NOT NULL REFERENCES people,
  currency text NOT NULL REFERENCES currencies, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE orders_early PARTITION OF orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE orders_late PARTITION OF orders DEFAULT PARTITION BY LIST (id);
CREATE TABLE orders_late_1 PARTITION OF orders_late DEFAULT;
INSERT INTO orders SELECT n, date '2024-11-01' + n, 1 + n % 30, CASE n % 3 WHEN 2 THEN 'USD' ELSE 'EUR' END, 'o' || n
  FROM generate_series(1, 120) n;
CREATE TABLE lines (order_id integer, at date, n integer, note text, PRIMARY KEY (order_id, at, n),
  FOREIGN KEY (order_id, at) REFERENCES orders ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO lines SELECT o.id, o.at, n, 'l' FROM orders o, generate_series(1, 3) n;

CREATE TABLE shops (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants, note text);
CREATE TABLE kiosks (opened date) INHERITS (shops);
INSERT INTO shops SELECT n, 1 + n % 3, 'shop' FROM generate_series(1, 9) n;
INSERT INTO kiosks SELECT n, 1 + n % 3, 'kiosk', '2024-05-01' FROM generate_series(11, 19) n;

-- A notice without a shop is everybody's.
CREATE TABLE notices (id integer PRIMARY KEY, shop integer REFERENCES shops, note text);
INSERT INTO notices SELECT n, NULLIF(n % 10, 0), 'n' || n FROM generate_series(1, 30) n;
CREATE TABLE replies (id integer PRIMARY KEY, notice integer NOT NULL REFERENCES notices, shop integer NOT NULL REFERENCES shops);
INSERT INTO replies SELECT n, n, n % 10 FROM generate_series(1, 9) n;
INSERT INTO replies VALUES (10, 10, 1), (11, 20, 2), (12, 30, 3);

CREATE TABLE products (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE product_tenants (product integer REFERENCES products, tenant_id integer REFERENCES tenants, price numeric,
  PRIMARY KEY (product, tenant_id));
INSERT INTO products SELECT n, 'product ' || n FROM generate_series(1, 12) n;
-- The first four are everybody's three, then each has its own; the last is nobody's.
INSERT INTO product_tenants SELECT n, t, n FROM generate_series(1, 4) n, generate_series(1, 3) t;
INSERT INTO product_tenants SELECT n, 1 + n % 3, n FROM generate_series(5, 11) n;

-- Whatever is written here is written down, changed, or refused.
CREATE TABLE said (what text);
CREATE TABLE watched (id integer PRIMARY KEY, person integer NOT NULL REFERENCES people, value text, at timestamptz DEFAULT '2020-01-01');
INSERT INTO watched SELECT n, 1 + n % 30, 'v' || n FROM generate_series(1, 60) n;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO said VALUES (TG_NAME || TG_OP);
  IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'nothing is deleted here'; END IF;
  NEW.at := now(); RETURN NEW;
END $$;
CREATE TRIGGER origin BEFORE INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION shout();
CREATE TRIGGER always BEFORE INSERT OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION shout();
ALTER TABLE watched ENABLE ALWAYS TRIGGER always;
CREATE RULE loud AS ON INSERT TO watched DO ALSO INSERT INTO said VALUES ('rule');
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO said VALUES (TG_NAME || TG_OP); RETURN COALESCE(NEW, OLD); END $$;
CREATE TRIGGER everywhere BEFORE INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION pass();

CREATE SCHEMA other;
CREATE TABLE other."a ""b"" ../c.csv" (id integer PRIMARY KEY, person integer NOT NULL REFERENCES people, "t" text, "~digest" text);
INSERT INTO other."a ""b"" ../c.csv" SELECT n, 1 + n % 30, 'x', NULL FROM generate_series(1, 30) n;

CREATE TABLE ledger (id bigserial PRIMARY KEY, person integer NOT NULL REFERENCES people, item integer NOT NULL, quantity numeric NOT NULL);
INSERT INTO ledger (person, item, quantity) SELECT 1 + n % 30, n % 4, CASE WHEN n < 200 THEN 3 ELSE -2 END FROM generate_series(1, 300) n;
