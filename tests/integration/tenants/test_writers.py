"""Other tenants write while one is exported, removed and imported: they wait for no more than a batch."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tenants.conftest import Isolated

LARGE = """
INSERT INTO ledger (person, item, quantity, owner_id)
  SELECT 1 + 3 * (n % 10), n % 4, CASE WHEN n > 16000 THEN -1 ELSE 1 END, 2
  FROM generate_series(1, 30000) n;
INSERT INTO keyless (note, person, owner_id) SELECT 'n', 1 + 3 * (n % 10), 2 FROM generate_series(1, 30000) n;
ALTER TABLE orders DISABLE TRIGGER everywhere;
INSERT INTO orders SELECT n, date '2024-11-01' + n % 100, 1 + 3 * (n % 10), 'EUR', 'o', 2 FROM generate_series(1000, 20000) n;
ALTER TABLE orders ENABLE TRIGGER everywhere;
"""
"""Of tenant two; what was taken out of the ledger stands behind what came in, and balances may not go below zero."""
WRITES = (
    "INSERT INTO ledger (person, item, quantity, owner_id) VALUES (2, 1, 1, 3), (3, 2, 5, 1)",
    "INSERT INTO keyless (note, person, owner_id) VALUES ('w', 2, 3), ('w', 3, 1)",
    "UPDATE people SET invited_by = 2 WHERE id = 5",
    "INSERT INTO shops VALUES (%s, 1, 'w')",
    "UPDATE currencies SET name = name WHERE code = 'JPY'",
)
OF_TRIGGERS = (
    "INSERT INTO orders VALUES (%s, '2024-12-01', 2, 'USD', 'w', 3)",
    "DELETE FROM orders WHERE id = -1",
)
"""On a table with triggers of its own, on INSERT and DELETE."""


NUMBERS = itertools.count(1_000_000)


class Writers:
    """Two sessions of other tenants; `longest` has the seconds that each statement took at most."""

    def __init__(self, one: Isolated, statements: tuple[str, ...]) -> None:
        self.one, self.statements = one, statements
        self.longest: dict[str, float] = dict.fromkeys(statements, 0.0)
        self.written, self.failures = 0, list[str]()
        self._over = threading.Event()

    def work(self) -> None:
        with self.one.database.connect(autocommit=True) as connection:
            while not self._over.is_set():
                for statement in self.statements:
                    number = next(NUMBERS)
                    begun = time.monotonic()
                    try:
                        connection.execute(statement, [number] if "%s" in statement else None)
                    except psycopg.Error as error:
                        self.failures.append(f"{statement}: {error}")
                    self.longest[statement] = max(self.longest[statement], time.monotonic() - begun)
                    self.written += 1
                time.sleep(0.002)

    @contextmanager
    def writing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()


@pytest.mark.server
def test_who_waits(warehouse: Isolated, tmp_path: Path) -> None:
    """A removal keeps writers waiting for a batch at most, also of tables with triggers; an import those of tables without
    them not at all. All that was written is there, and the tenant is what it was."""
    one = warehouse
    one.database.execute(LARGE)
    of_tenant = (
        "SELECT (SELECT sum(hashtext(t::text)) FROM orders t WHERE owner_id = 2),"
        " (SELECT sum(hashtext(t::text)) FROM ledger t WHERE owner_id = 2),"
        " (SELECT count(*) FROM keyless WHERE owner_id = 2), (SELECT sum(quantity) FROM balances WHERE owner_id = 2)"
    )
    before = one.database.rows(of_tenant)
    removing = Writers(one, WRITES + OF_TRIGGERS)
    with removing.writing():
        done = one.remove("two", tmp_path / "kept")
    assert removing.failures == []
    assert done.rows > 79_000
    assert removing.written > 200
    assert max(removing.longest.values()) < 1.5, removing.longest
    importing = Writers(one, WRITES)
    with importing.writing():
        one.load(tmp_path / "kept")
    assert importing.failures == []
    assert importing.written > 50
    assert max(importing.longest.values()) < 1.5, importing.longest
    assert one.database.rows(of_tenant) == before
    written = one.database.rows("SELECT count(*) FROM keyless WHERE note = 'w'")[0][0]
    assert written == 2 * sum(w.written // len(w.statements) for w in (removing, importing))
    sums = "SELECT owner_id, item, sum(quantity) FROM {} GROUP BY 1, 2 ORDER BY 1, 2"
    assert one.database.rows(sums.format("balances")) == one.database.rows(sums.format("ledger"))
