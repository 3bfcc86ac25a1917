-- A stock ledger: a child of 1,000 stores of 40 tenants; about 150 bytes a row, four indexes.
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE);
INSERT INTO tenants (slug) SELECT 'tenant-' || n FROM generate_series(1, 40) AS n;
CREATE TABLE stores (id integer PRIMARY KEY, name text NOT NULL, tenant_id uuid REFERENCES tenants);
INSERT INTO stores
SELECT n, 'store ' || n, (SELECT id FROM tenants WHERE slug = 'tenant-' || 1 + n % 40) FROM generate_series(1, 1000) AS n;
CREATE TABLE movements (
  id bigint PRIMARY KEY,
  store_id integer NOT NULL REFERENCES stores,
  product_id integer NOT NULL,
  lot text NOT NULL,
  kind text NOT NULL,
  quantity numeric(12, 3) NOT NULL,
  quantity_before numeric(12, 3) NOT NULL,
  reason text,
  user_id integer,
  moved_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
INSERT INTO movements
SELECT n, 1 + n * 7919 % 1000, 1 + n * 104729 % 5000, 'LOT-' || n * 31 % 100000,
       CASE n % 3 WHEN 0 THEN 'out' ELSE 'in' END, n % 1000 / 10.0, n % 5000 / 7.0,
       CASE WHEN n % 4 > 0 THEN 'moved by the nightly delivery no. ' || n % 977 END, n % 500,
       timestamptz '2026-01-01' - n * 86413 % 31536000 * interval '1 second', '2026-01-01'
FROM generate_series(1, :rows::bigint) AS n;
CREATE INDEX ON movements (store_id);
CREATE INDEX ON movements (product_id, moved_at);
CREATE INDEX ON movements (moved_at);
