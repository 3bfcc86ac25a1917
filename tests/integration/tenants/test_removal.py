"""A removal that meets others: who keeps a table, who writes in the tenant's name, who refers to its rows."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tenantry import RemoveOptions, create_key, list_keys, preview_removal, remove_tenant
from tenantry.errors import Failed, Interrupted, Refused
from tenantry.execution.events import Event, Reading
from tenants.conftest import Isolated, content

pytestmark = pytest.mark.server
PERSON = 1
"""One of tenant two's people."""


def once(said: str, act: Callable[[], object]) -> Callable[[Event], None]:
    """An observer that acts when it is first told that something is looked at whose name begins with these words."""
    left = [act]

    def observe(event: Event) -> None:
        if isinstance(event, Reading) and event.at.startswith(said) and left:
            left.pop()()

    return observe


def test_a_table_that_somebody_keeps(warehouse: Isolated, tmp_path: Path) -> None:
    """Where a table with triggers cannot be locked, the session that keeps it is named; what is deleted stays deleted,
    and the same command goes on, with the first one's export."""
    one, before = warehouse, content(warehouse.database)
    with one.database.connect(application_name="keeper") as keeper:
        keeper.execute("LOCK TABLE orders_early IN ROW EXCLUSIVE MODE")
        with pytest.raises(Failed, match=r"Could not lock public\.orders_early within 0\.6 s") as error:
            one.remove("two", tmp_path / "kept", lock_timeout=0.2, lock_budget=0.6)
        assert "keeper" in " ".join(error.value.details)
    halfway = content(one.database)
    assert sum(map(len, before.values())) - sum(map(len, halfway.values())) > 0
    shown = preview_removal(one.target, one.spec, "two", RemoveOptions())
    assert (shown.unfinished is not None, shown.folder) == (True, None)
    done = one.remove("two", tmp_path / "another")
    assert (done.folder, done.rows) == (tmp_path / "kept", done.exported)
    assert not (tmp_path / "another").exists()
    one.load(tmp_path / "kept")
    assert content(one.database) == before
    # A removal that has come to its end is none that the next one goes on with.
    assert one.remove("two", tmp_path / "another").folder == tmp_path / "another"


def test_its_api_keys_end(warehouse: Isolated, tmp_path: Path) -> None:
    """And no one else's."""
    for slug in ("two", "three"):
        create_key(warehouse.target, warehouse.spec, slug, "till")
    assert warehouse.remove("two", tmp_path / "kept").ended_keys == 1
    assert [(key.slug, key.active) for key in list_keys(warehouse.target, warehouse.spec)] == [
        ("", False), ("three", True)
    ]  # fmt: skip


def test_rows_that_come_after_the_export(warehouse: Isolated, tmp_path: Path) -> None:
    """They go along where their table is still to come, and it says how many; where it has been passed, the foreign key
    refuses, and the next run takes them."""
    one = warehouse
    write = f"INSERT INTO keyless (note, person, owner_id) VALUES ('late', {PERSON}, 2)"
    options = RemoveOptions(folder=tmp_path / "kept")
    passed = once("public.people: ", lambda: one.database.execute(write))
    with pytest.raises(Failed, match="does not let the rows go"):
        remove_tenant(one.target, one.spec, "two", options, observer=passed)
    done = remove_tenant(one.target, one.spec, "two", options)
    assert (done.unexported, done.rows) == (1, done.exported + 1)
    assert one.database.rows("SELECT count(*) FROM keyless WHERE owner_id = 2") == [(0,)]


def test_rows_that_come_to_refer(warehouse: Isolated, tmp_path: Path) -> None:
    """A row of nobody's tenant whose foreign key would take it along: it is refused before anything is done, and where it
    comes to refer meanwhile, before it is deleted."""
    one = warehouse
    one.database.execute("CREATE TABLE visits (id int PRIMARY KEY, person int REFERENCES people ON DELETE CASCADE)")
    options = RemoveOptions(folder=tmp_path / "kept")
    one.database.execute(f"INSERT INTO visits VALUES (1, {PERSON})")
    with pytest.raises(Refused, match=r"1 row of public\.visits by person to public\.people: 1"):
        remove_tenant(one.target, one.spec, "two", options)
    assert not (tmp_path / "kept").exists()
    one.database.execute("DELETE FROM visits")
    meanwhile = once("public.ledger: ", lambda: one.database.execute(f"INSERT INTO visits VALUES (2, {PERSON})"))
    with pytest.raises(Refused, match=r"have come to refer to rows that go: 1 row of public\.visits"):
        remove_tenant(one.target, one.spec, "two", options, observer=meanwhile)
    assert one.database.rows("SELECT id FROM visits") == [(2,)]
    one.database.execute("DELETE FROM visits")
    assert remove_tenant(one.target, one.spec, "two", options).folder == tmp_path / "kept"


def test_stopped(warehouse: Isolated, tmp_path: Path) -> None:
    """Ctrl-C lets the batch in hand come to its end; the same command goes on."""

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)

    options = RemoveOptions(folder=tmp_path / "kept")
    with pytest.raises(Interrupted, match="Stopped between two batches"):
        remove_tenant(
            warehouse.target, warehouse.spec, "two", options, observer=once("public.keyless: ", interrupt)
        )  # fmt: skip
    left = sum(map(len, content(warehouse.database).values()))
    done = remove_tenant(warehouse.target, warehouse.spec, "two", options)
    assert done.rows == done.exported
    assert sum(map(len, content(warehouse.database).values())) < left


def test_stopped_before_the_first_batch(warehouse: Isolated, tmp_path: Path) -> None:
    """Ctrl-C during the export ends it at once: no folder is left, no row is deleted, and no removal has begun."""
    one, before = warehouse, content(warehouse.database)
    options = RemoveOptions(folder=tmp_path / "kept")
    exporting = once("the rows of public.keyless", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        remove_tenant(one.target, one.spec, "two", options, observer=exporting)
    assert not (tmp_path / "kept").exists()
    assert content(one.database) == before
    assert preview_removal(one.target, one.spec, "two", options).unfinished is None


def test_an_export_that_is_gone(warehouse: Isolated, tmp_path: Path) -> None:
    """A removal goes on only if the export that it has made is there, or with --backup none and --force."""
    one, folder = warehouse, tmp_path / "kept"
    stop = once("public.keyless: ", lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.5)))
    with pytest.raises(Interrupted):
        remove_tenant(one.target, one.spec, "two", RemoveOptions(folder=folder), observer=stop)
    folder.rename(tmp_path / "elsewhere")
    before = content(one.database)
    with pytest.raises(Refused, match=r"its export cannot be read: .*kept is not there"):
        one.remove("two", tmp_path / "another")
    assert content(one.database) == before
    assert one.remove("two").rows > 100
    one.load(tmp_path / "elsewhere")


def test_a_removal_that_is_undone(warehouse: Isolated, tmp_path: Path) -> None:
    """A tenant that is imported again before its own row was deleted is exported again by the next removal."""
    one, before = warehouse, content(warehouse.database)
    with one.database.connect(application_name="keeper") as keeper:
        keeper.execute("SELECT FROM tenants WHERE slug = 'two' FOR KEY SHARE")
        with pytest.raises(Failed, match="lock"):
            one.remove("two", tmp_path / "kept", lock_timeout=0.2, lock_budget=0.6)
    assert preview_removal(one.target, one.spec, "two", RemoveOptions()).unfinished is not None
    one.load(tmp_path / "kept")
    assert content(one.database) == before
    done = one.remove("two", tmp_path / "another")
    assert (done.folder, done.rows) == (tmp_path / "another", done.exported)
