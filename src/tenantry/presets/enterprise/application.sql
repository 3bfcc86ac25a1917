-- What an application does that knows no tenants. Statements `name.1`, `name.2`, … are one transaction.
-- %(pick)s and %(other)s are random numbers from 0 to 1, %(name)s is a text that nobody else uses.

-- name: issue.1
INSERT INTO inventory_ledger (item_id, location_id, lot_id, movement_type, quantity, unit_cost, reference, user_id)
SELECT item_id, location_id, lot_id, 'issue', -1, unit_cost, %(name)s, user_id FROM inventory_ledger
WHERE id >= %(pick)s * (SELECT max(id) FROM inventory_ledger) ORDER BY id LIMIT 1

-- name: issue.2
INSERT INTO audit_logs (user_id, action, entity, entity_id) SELECT max(id), 'issue', 'inventory_ledger', 1 FROM users
WHERE email NOT LIKE '%%@demo.example'

-- name: new_item.1
INSERT INTO items (code, name, category, unit, unit_cost) VALUES (%(name)s, 'demonstration', 'demo', 'kg', 1)

-- name: new_item.2
INSERT INTO lots (item_id, lot_code) VALUES (currval(pg_get_serial_sequence('items', 'id')), %(name)s)

-- name: reprice.1
UPDATE items SET unit_cost = unit_cost + 0.01
WHERE id = (SELECT id FROM items WHERE id >= %(pick)s * (SELECT max(id) FROM items) ORDER BY id LIMIT 1)

-- name: move_location.1
UPDATE count_sheets SET location_id =
  (SELECT id FROM locations WHERE id >= %(other)s * (SELECT max(id) FROM locations) ORDER BY id LIMIT 1)
WHERE id = (SELECT id FROM count_sheets WHERE id >= %(pick)s * (SELECT max(id) FROM count_sheets) ORDER BY id LIMIT 1)

-- name: hire.1
INSERT INTO users (email, full_name, role) VALUES (%(name)s || '@demo.example', 'Demonstration', 'clerk')

-- name: leave.1
DELETE FROM users WHERE id = (SELECT min(id) FROM users WHERE email LIKE '%%@demo.example')
  AND NOT EXISTS (SELECT FROM audit_logs a WHERE a.user_id = users.id)

-- name: look.1
SELECT item_id, sum(quantity) FROM stock_on_hand GROUP BY item_id ORDER BY 2 DESC LIMIT 5
