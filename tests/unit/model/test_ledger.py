"""What is made for a ledger, under names that no two ledgers share."""

from __future__ import annotations

from dataclasses import replace

from tenantry.model.ledger import Ledger
from unit.schemas import name
from unit.steps.examples import LEDGER


def names(ledger: Ledger) -> list[str]:
    made = (ledger.storage, ledger.corrections, ledger.crossings, ledger.crossings_index, ledger.function("balance"))
    return [str(one) for one in made]


def test_names() -> None:
    """Each another, and in our schema; after the table as it was called when they were made, whatever it is now."""
    assert len({*names(LEDGER)}) == 5
    assert all(one.startswith("tenantry.") for one in names(LEDGER))
    assert names(replace(LEDGER, table=name("renamed"))) == names(LEDGER)
    others = (replace(LEDGER, called=called) for called in ("public.movements_x", 'public."Movements"', "a.movements"))
    assert len({one for ledger in (LEDGER, *others) for one in names(ledger)}) == 20


def test_columns_of_the_key() -> None:
    """Balances keep the names of then, the ledger has those of now."""
    first, second = LEDGER.key
    renamed = replace(LEDGER, key=(first, replace(second, source="item_id")), tree=(name("part"),))
    assert renamed.columns == ("tenant_id", "product_id")
    assert renamed.sources == ("tenant_id", "item_id")
    assert renamed.key_column("product_id").in_ledger == "item_id"
    assert renamed.relations == (LEDGER.table, name("part"))
