"""Sample rows of the preset enterprise."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from random import Random
from uuid import UUID

from tenantry.presets.dates import BEGINNING, day, moment
from tenantry.presets.distributions import lengths, pick
from tenantry.presets.enterprise.faults import plant
from tenantry.presets.movements import Chains
from tenantry.presets.sample import Row, SampleTable

_KINDS = ("receipt", "return", "issue", "waste", "adjustment")
_STORES = ("storeroom", "cooler", "freezer")
_QUALITIES = ("Fresh", "Frozen", "Dried", "Smoked", "Canned", "Organic", "Whole", "Sliced")
_FOODS = (
    ("Salmon", "fish", "kg"), ("Chicken", "meat", "kg"), ("Beef", "meat", "kg"),
    ("Tomatoes", "produce", "kg"), ("Mushrooms", "produce", "kg"), ("Apricots", "fruit", "kg"),
    ("Beans", "pantry", "kg"), ("Peppers", "produce", "kg"), ("Milk", "dairy", "l"),
    ("Cheese", "dairy", "kg"), ("Berries", "fruit", "kg"), ("Herbs", "produce", "bunch"),
)  # fmt: skip
_PEOPLE = ("Ada Brown", "Ben Clark", "Cora Diaz", "Dan Evans", "Eve Foster", "Finn Gray", "Gil Hayes")
_ROLES = ("admin", "manager", "clerk", "clerk")
_SUPPLIERS = ("Harbor Foods", "Valley Farms", "Northern Dairy", None)
_FLAGS = ("barcode-scanning", "blind-counts", "expiry-mail", "lot-tracking", "multi-currency", "dashboard")
_COLUMNS = {
    "organizations": "id name slug status created_at",
    "users": "id email full_name role created_at updated_at",
    "items": "id code name category unit unit_cost reorder_level created_at updated_at",
    "locations": "id code name kind parent_id updated_at",
    "lots": "id item_id lot_code supplier manufactured_on expires_on",
    "inventory_ledger": "id item_id location_id lot_id movement_type quantity unit_cost reference user_id created_at",
    "count_sheets": "id location_id status counted_on created_by approved_by updated_at",
    "count_lines": "id count_sheet_id item_id lot_id expected_quantity counted_quantity",
    "audit_logs": "id user_id action entity entity_id details created_at",
    "feature_flags": "id key description enabled updated_at",
}


class Enterprise:
    """About 25 movements a stock (an item at a location, two in three of a lot), an audit entry for ten."""

    def __init__(self, rows: int, seed: int, faults: Collection[str]) -> None:
        self._random = random = Random(seed)
        self._rows = rows
        self._organization = UUID(int=random.getrandbits(128), version=4)
        self._users = min(400, max(4, rows // 2000))
        self._items = min(2000, max(12, rows // 200))
        self._sites = min(50, max(2, rows // 20_000))
        sizes = lengths(random, rows, 25)
        self._stocks = list(self._keys(len(sizes)))
        self._first = [-1] * len(sizes)
        self._chains = Chains(random, sizes, [0.0] * len(sizes))
        lots = max((lot or 0 for _, _, lot in self._stocks), default=0)
        self._item_of_lot = {lot: (item, stock) for stock, (item, _, lot) in enumerate(self._stocks) if lot}
        self.planted = plant({"lots": lots, "inventory_ledger": rows}, faults)

    def tables(self) -> Iterator[SampleTable]:
        """The ledger comes before lots and count lines: only its rows determine when a lot came and what remains of
        it."""
        generated = {
            "organizations": iter([(self._organization, "Central Kitchens", "default", "active", BEGINNING)]),
            "users": self._user_rows(),
            "items": self._item_rows(),
            "locations": self._location_rows(),
            "inventory_ledger": self._ledger_rows(),
            "lots": self._lot_rows(),
            "count_sheets": self._sheet_rows(),
            "count_lines": self._line_rows(),
            "audit_logs": self._audit_rows(),
            "feature_flags": self._flag_rows(),
        }
        for name, rows in generated.items():
            yield SampleTable(name=name, columns=tuple(_COLUMNS[name].split()), rows=self.planted.after(name, rows))

    @property
    def _sheets(self) -> int:
        return max(4, self._rows // 2000)

    def _keys(self, stocks: int) -> Iterator[tuple[int, int, int | None]]:
        """(item, location, lot): of three stocks, one has no lot, and the others are a lot in two locations."""
        lot, item = 0, 1
        for number in range(stocks):
            if number % 3 == 0:
                place, known = divmod(number // 3, self._items)
                yield 1 + known, self._store(place), None
            elif number % 3 == 1:
                lot, item = lot + 1, 1 + int(self._items * self._random.random() ** 2)
                yield item, self._store(lot), lot
            else:
                yield item, self._store(lot + 1), lot

    def _store(self, number: int) -> int:
        """The location of a store; location 1, 5, 9 … is the site to which the three after it belong."""
        number %= self._sites * 3
        return number // 3 * 4 + number % 3 + 2

    def _user(self) -> int | None:
        return 1 + pick(self._random, self._users) if self._random.random() < 0.97 else None

    def _user_rows(self) -> Iterator[Row]:
        for user in range(1, self._users + 1):
            name = _PEOPLE[user % len(_PEOPLE)]
            email = f"{name.lower().replace(' ', '.')}{user}@kitchens.example"
            yield user, email, name, _ROLES[user % len(_ROLES)], BEGINNING, BEGINNING

    def _item_rows(self) -> Iterator[Row]:
        for item in range(1, self._items + 1):
            quality, rest = item % len(_QUALITIES), item // len(_QUALITIES)
            name, category, unit = _FOODS[rest % len(_FOODS)]
            title = f"{_QUALITIES[quality]} {name.lower()} {rest // len(_FOODS) + 1}"
            cost, level = (25 + pick(self._random, 4000)) / 64, pick(self._random, 80) / 4
            yield item, f"ITM-{item:05d}", title, category, unit, cost, level, BEGINNING, BEGINNING

    def _location_rows(self) -> Iterator[Row]:
        for site in range(self._sites):
            first = site * 4 + 1
            yield first, f"S{site + 1:02d}", f"Kitchen {site + 1}", "site", None, BEGINNING
            for place, kind in enumerate(_STORES, first + 1):
                code, title = f"S{site + 1:02d}-{kind[:2].upper()}", f"Kitchen {site + 1} {kind}"
                yield place, code, title, kind, first, BEGINNING

    def _ledger_rows(self) -> Iterator[Row]:
        for number, (stock, kind, before, _, after) in enumerate(self._chains.movements()):
            if self._first[stock] < 0:
                self._first[stock] = number
            item, location, lot = self._stocks[stock]
            reference = f"PO-{number // 9:06d}" if kind == 0 else None
            cost = (25 + item * 37 % 4000) / 64
            movement = (_KINDS[kind], after - before, cost, reference, self._user())
            yield number + 1, item, location, lot, *movement, moment(number, self._rows)

    def _lot_rows(self) -> Iterator[Row]:
        for lot, (item, stock) in self._item_of_lot.items():
            # In both locations, of which `stock` is the second.
            came = min(self._first[place] for place in (stock - 1, stock) if self._stocks[place][2] == lot)
            made = day(came, self._rows) - timedelta(days=60 + pick(self._random, 40))
            expires = made + timedelta(days=90 + pick(self._random, 400))
            supplier = _SUPPLIERS[pick(self._random, len(_SUPPLIERS))]
            yield lot, item, f"{made:%y%j}-{lot}", supplier, made, expires

    def _sheet_rows(self) -> Iterator[Row]:
        for sheet in range(self._sheets):
            status = "approved" if sheet < self._sheets - 2 else "open"
            approver = self._user() if status == "approved" else None
            at = moment(sheet, self._sheets)
            yield sheet + 1, self._store(sheet), status, day(sheet, self._sheets), self._user(), approver, at

    def _line_rows(self) -> Iterator[Row]:
        number = 0
        for sheet in range(self._sheets):
            for _ in range(12):
                number += 1
                stock = pick(self._random, len(self._stocks))
                item, _location, lot = self._stocks[stock]
                expected = self._chains.levels[stock]
                missing = pick(self._random, 8) / 4 if self._random.random() < 0.2 else 0
                yield number, sheet + 1, item, lot, expected, max(0, expected - missing)

    def _audit_rows(self) -> Iterator[Row]:
        entries = max(1, self._rows // 10)
        for number in range(entries):
            action, at = ("create", "update", "export")[pick(self._random, 3)], moment(number, entries)
            subject = ("inventory_ledger", number * 10 + 1)
            yield number + 1, self._user(), action, *subject, '{"source": "web"}', at

    def _flag_rows(self) -> Iterator[Row]:
        for number, key in enumerate(_FLAGS, 1):
            yield number, key, key.replace("-", " ").capitalize(), number % 2 == 0, BEGINNING
