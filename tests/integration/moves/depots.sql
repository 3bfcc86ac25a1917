-- Tenants whose rows can move: tables with keys of all sorts, and one that all tenants share.
CREATE TABLE firms (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE, host text UNIQUE);
CREATE TABLE units (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO units VALUES ('kg', 'kilogram'), ('m', 'metre');
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE places (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, firm_id uuid NOT NULL REFERENCES firms, code text NOT NULL UNIQUE,
  inside integer REFERENCES places, doubled integer GENERATED ALWAYS AS (length(code) * 2) STORED
);
CREATE TABLE items (
  id bigserial PRIMARY KEY, place_id integer NOT NULL REFERENCES places ON DELETE CASCADE,
  unit text NOT NULL REFERENCES units, note text, document jsonb, feeling mood
);
CREATE TABLE moves (item_id bigint NOT NULL REFERENCES items, at timestamptz NOT NULL, quantity numeric NOT NULL,
  CONSTRAINT once UNIQUE (item_id, at));
CREATE TABLE notes (place_id integer REFERENCES places, text text);
