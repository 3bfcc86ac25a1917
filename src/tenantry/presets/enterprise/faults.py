"""The faults that can be planted in the preset enterprise.

As all rows belong to one organization there are no orphans and no conflicts, and its ledger stores no running quantity
whose chain could break.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from tenantry.presets.sample import PLANTED, Fault, Planted, Row

FAULTS = ("negative-stock", "expired-before-made")

_AT = "2025-06-29 16:59:59-03"
_MADE = date(2025, 3, 1)


def plant(used: Mapping[str, int], faults: Collection[str]) -> Planted:
    """The rows of the chosen faults; `used` is the highest id of the tables lots and inventory_ledger."""
    planted = Planted()
    lot, movement = used["lots"], used["inventory_ledger"]
    if "negative-stock" in faults:
        for _ in range(PLANTED):
            lot, movement = lot + 1, movement + 2
            planted.add("lots", _lot(lot, date(2026, 3, 1)))
            planted.add("inventory_ledger", (movement - 1, 1, 1, lot, "receipt", 5, 1, None, None, _AT))
            planted.add("inventory_ledger", (movement, 1, 1, lot, "issue", -9.5, 1, None, None, _AT))
            detail = "5 received and 9.5 issued at location 1"
            planted.faults.append(Fault(kind="negative-stock", table="lots", key=lot, detail=detail))
    if "expired-before-made" in faults:
        for _ in range(PLANTED):
            lot += 1
            planted.add("lots", _lot(lot, date(2025, 2, 1)))
            detail = "expires_on is before manufactured_on"
            planted.faults.append(Fault(kind="expired-before-made", table="lots", key=lot, detail=detail))
    return planted


def _lot(lot: int, expires: date) -> Row:
    return lot, 1, f"X-{lot}", None, _MADE, expires
