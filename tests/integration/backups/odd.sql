CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TYPE place AS (street text, number integer);
CREATE DOMAIN percentage AS numeric(5, 2) CHECK (value BETWEEN 0 AND 100);
CREATE TABLE shops (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO shops VALUES (1, 'one'), (2, 'two');
-- 63 bytes, twice: in another schema under the same name.
CREATE TABLE ":long" (id integer PRIMARY KEY, note text);
INSERT INTO ":long" SELECT n, 'note ' || n FROM generate_series(1, 50) n;
-- No key, equal rows, NULLs.
CREATE TABLE keyless (a integer, b text);
INSERT INTO keyless SELECT n % 7, CASE WHEN n % 3 > 0 THEN 'b' || n % 5 END FROM generate_series(1, 60) n;
CREATE TABLE parted (id integer, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_early PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE parted_late PARTITION OF parted DEFAULT PARTITION BY LIST (id);
CREATE TABLE parted_late_1 PARTITION OF parted_late DEFAULT;
INSERT INTO parted SELECT n, date '2024-11-01' + n, 'note' FROM generate_series(1, 100) n;
CREATE TABLE parent (id integer PRIMARY KEY, note text);
CREATE TABLE heir (extra text) INHERITS (parent);
INSERT INTO parent SELECT n, 'parent' FROM generate_series(1, 10) n;
INSERT INTO heir SELECT n, 'heir', 'extra' FROM generate_series(11, 20) n;
CREATE TABLE typed (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  number bigint GENERATED ALWAYS AS IDENTITY,
  serial serial,
  doubled integer GENERATED ALWAYS AS (serial * 2) STORED,
  raw bytea, document jsonb, plain json, list integer[], texts text[], share percentage, feeling mood,
  feelings mood[], span int4range, at timestamptz, day interval, real double precision, money numeric,
  home place, point point, mark path, short varchar(3), fixed char(5), uid uuid, "Odd ""Name" text
);
INSERT INTO typed (raw, document, plain, list, texts, share, feeling, feelings, span, at, day, real, money, home, point,
                   mark, short, fixed, uid, "Odd ""Name")
  SELECT decode(md5(n::text), 'hex'), jsonb_build_object('n', n), '{"b":1,  "a":1}', ARRAY[n, NULL], ARRAY['a"b', 'c,d', NULL],
         n, CASE n % 2 WHEN 0 THEN 'low' ELSE 'high' END::mood, ARRAY['low', 'high']::mood[], int4range(n, n + 2),
         timestamptz '2025-03-30 01:30:00+00' + n * interval '17 min', n * interval '1 day 3 seconds', 1 / (n + 0.3)::float8,
         n * 1.10, ROW('street, "x"', n)::place, point(n, 0.1), '[(0,0),(1,1)]', 'abc', 'ab', NULL, E'tab\t\\ newline\n'
  FROM generate_series(1, 40) n;
INSERT INTO typed (raw) VALUES (NULL);
CREATE TABLE empty (id integer PRIMARY KEY);
-- Circles: a table to itself, and two to each other; a unique value that changes hands.
CREATE TABLE chain (
  id integer PRIMARY KEY, up integer REFERENCES chain ON DELETE CASCADE, place integer NOT NULL UNIQUE
);
INSERT INTO chain SELECT n, NULLIF(n - 1, 0), n FROM generate_series(1, 30) n;
CREATE TABLE egg (id integer PRIMARY KEY, hen integer NOT NULL, code integer UNIQUE);
CREATE TABLE hen (id integer PRIMARY KEY, egg integer NOT NULL REFERENCES egg);
INSERT INTO egg SELECT n, n, n FROM generate_series(1, 20) n;
INSERT INTO hen SELECT n, n FROM generate_series(1, 20) n;
ALTER TABLE egg ADD FOREIGN KEY (hen) REFERENCES hen;
-- Triggers in every state, a rule, and a log that they write to.
CREATE TABLE noise (said text);
CREATE TABLE watched (id integer PRIMARY KEY, value text, changed_at timestamptz DEFAULT '2020-01-01');
INSERT INTO watched SELECT n, 'v' || n FROM generate_series(1, 20) n;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO noise VALUES (TG_NAME); IF TG_OP <> 'DELETE' THEN NEW.changed_at := now(); RETURN NEW; END IF; RETURN OLD; END $$;
CREATE TRIGGER origin BEFORE INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION shout();
CREATE TRIGGER always BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION shout();
CREATE TRIGGER replica BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION shout();
CREATE TRIGGER disabled BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION shout();
ALTER TABLE watched ENABLE ALWAYS TRIGGER always;
ALTER TABLE watched ENABLE REPLICA TRIGGER replica;
ALTER TABLE watched DISABLE TRIGGER disabled;
CREATE RULE refuse AS ON INSERT TO watched DO INSTEAD NOTHING;
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO noise VALUES (TG_NAME); RETURN NEW; END $$;
CREATE TRIGGER everywhere BEFORE INSERT OR UPDATE ON parted FOR EACH ROW EXECUTE FUNCTION pass();
CREATE SCHEMA other;
CREATE TABLE other.":long" (id integer PRIMARY KEY, note text);
INSERT INTO other.":long" SELECT n, 'other ' || n FROM generate_series(1, 5) n;
DELETE FROM noise;
