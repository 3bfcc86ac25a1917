"""What tenantry has recorded as SQL follows a table's rename, and nothing else does."""

from __future__ import annotations

import pytest

from tenantry.execution.renames import current_names
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.model.schema import Trigger
from tenantry.steps import DropUserTrigger
from unit.planning.entries import entry, journal

WAS, NOW = Name("public", "sales"), Name("public", "'; DROP TABLE x; --")


@pytest.mark.parametrize(
    ("text", "now"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON public.sales FOR", 'CREATE TRIGGER t AFTER INSERT ON public."\'; DROP TABLE x; --" FOR'),
        ('CREATE TRIGGER " ON public.sales " AFTER', 'CREATE TRIGGER " ON public.sales " AFTER'),
        ("BEFORE UPDATE OF sales ON public.sales_old", "BEFORE UPDATE OF sales ON public.sales_old"),
        ("WHEN (new.a = 'it''s public.sales')", "WHEN (new.a = 'it''s public.sales')"),
        ("CREATE UNIQUE INDEX sales ON", "CREATE UNIQUE INDEX \"'; DROP TABLE x; --\" ON"),
    ],
)  # fmt: skip
def test_only_names_of_tables_are_replaced(text: str, now: str) -> None:
    """A name within a string or another name stays: what a table's owner calls it must not become SQL of tenantry's."""
    touch = Trigger(name="t", before=False, row=True, events=("INSERT",), enabled="O", function=Name("public", "f"))
    step = DropUserTrigger(phase=Phase.DISTRIBUTE, table=WAS, trigger=touch)
    before = {"trigger": text, "comment": "the key of public.sales", "owner": "public.sales"}
    (found,) = current_names(journal(entry(step, before=before, named=NOW))).entries.values()
    assert found.before == {**before, "trigger": now}
