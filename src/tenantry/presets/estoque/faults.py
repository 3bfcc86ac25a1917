"""The faults that can be planted in the preset estoque; each is a new row, so that the other rows are unchanged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date

from tenantry.presets.sample import PLANTED, Fault, Planted

_AT = "2025-06-29 16:59:59-03"
_MADE = date(2025, 3, 1)
_EXPIRES = date(2026, 3, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultContext:
    """The rows among which faults are planted.

    `schools` are of three municipalities; no school stores the last two of the `products` (a number); `used` is the
    highest id of each table.
    """

    schools: tuple[int, int, int]
    products: int
    used: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class _Garden:
    """Adds rows with the next id of their table, and records those that are faulty."""

    context: FaultContext
    planted: Planted = field(default_factory=Planted)
    kind: str = ""

    def next(self, table: str) -> int:
        return self.context.used[table] + len(self.planted.rows.get(table, ())) + 1

    def fault(self, table: str, key: int, detail: str) -> None:
        self.planted.faults.append(Fault(kind=self.kind, table=table, key=key, detail=detail))

    def lot(
        self,
        mark: str,
        opening: float,
        movements: list[tuple[float, float, float, int | None]],
        *,
        expires: date = _EXPIRES,
    ) -> tuple[int, list[int]]:
        """A lot of the first product with its movements (before, quantity taken out, after, school)."""
        lot = self.next("estoque_lotes")
        self.planted.add(
            "estoque_lotes",
            (lot, 1, f"X-{mark}-{lot}", opening, movements[-1][2], _MADE, expires, "ativo", None),
        )
        keys = []
        for before, quantity, after, school in movements:
            key = self.next("estoque_movimentacoes")
            row = (key, lot, 1, "saida", quantity, before, after, None, None, school, _AT)
            keys.append(self.planted.add("estoque_movimentacoes", row))
        return lot, keys

    def shelf(
        self, school: int, product: int, movements: list[tuple[str, float, float, float]], *, history_school: int
    ) -> tuple[int, list[int]]:
        """A stock of a school; its history (kind, before, quantity, after) names the school `history_school`."""
        stock = self.next("estoque_escolas")
        self.planted.add("estoque_escolas", (stock, school, product, movements[-1][3], 0, 400, _AT, None))
        keys = []
        for kind, before, quantity, after in movements:
            key = self.next("estoque_escolas_historico")
            row = (key, stock, history_school, product, kind, before, quantity, after, None, None, _AT)
            keys.append(self.planted.add("estoque_escolas_historico", row))
        return stock, keys


def _orphans(garden: _Garden) -> None:
    """People without a school, and lots without a movement that has a school."""
    for number in range(PLANTED):
        user = garden.next("usuarios")
        email = f"sem.escola.{number + 1}@nenhuma.example"
        garden.planted.add("usuarios", (user, f"Pessoa sem escola {number + 1}", email, "almoxarife", None))
        garden.fault("usuarios", user, "no school")
        lot, movements = garden.lot("ORFAO", 30, [(30, 10, 20, None), (20, 5, 15, None)])
        garden.fault("estoque_lotes", lot, "no movement with a school")
        for movement in movements:
            garden.fault("estoque_movimentacoes", movement, "no school, and a lot without an owner")


def _conflicts(garden: _Garden) -> None:
    """Lots whose movements are of two tenants, and history that names another tenant's school."""
    schools = garden.context.schools
    for number in range(PLANTED):
        ours, theirs = schools[number], schools[(number + 1) % len(schools)]
        lot, movements = garden.lot("DOIS", 30, [(30, 10, 20, ours), (20, 5, 15, theirs)])
        garden.fault("estoque_lotes", lot, "movements of two tenants")
        for movement in movements:
            garden.fault("estoque_movimentacoes", movement, "a lot of two tenants")
        _, history = garden.shelf(ours, garden.context.products, [("entrada", 0, 8, 8)], history_school=theirs)
        garden.fault("estoque_escolas_historico", history[0], "its school and its stock are of two tenants")


def _negative_stock(garden: _Garden) -> None:
    """Lots and stocks from which more was taken than there was; their chains are correct."""
    for school in garden.context.schools:
        lot, _ = garden.lot("NEGATIVO", 10, [(10, 14.5, -4.5, school)])
        garden.fault("estoque_lotes", lot, "quantidade_atual is -4.5")
        movements = [("entrada", 0.0, 8.0, 8.0), ("saida", 8.0, 12.5, -4.5)]
        stock, _ = garden.shelf(school, garden.context.products - 1, movements, history_school=school)
        garden.fault("estoque_escolas", stock, "quantidade_atual is -4.5")


def _expired_before_made(garden: _Garden) -> None:
    """Lots that expired a month before they were made."""
    for school in garden.context.schools:
        lot, _ = garden.lot("VALIDADE", 30, [(30, 10, 20, school)], expires=date(2025, 2, 1))
        garden.fault("estoque_lotes", lot, "data_validade is before data_fabricacao")


def _broken_chain(garden: _Garden) -> None:
    """Movements that do not start with the quantity at which the one before ended, and movements whose sum is wrong."""
    for school in garden.context.schools:
        _, movements = garden.lot("LACUNA", 40, [(40, 10, 30, school), (26, 6, 20, school)])
        garden.fault("estoque_movimentacoes", movements[1], "starts at 26 where the one before ended at 30")
        _, movements = garden.lot("SOMA", 40, [(40, 10, 25, school), (25, 5, 20, school)])
        garden.fault("estoque_movimentacoes", movements[0], "40 - 10 is not 25")


_PLANTS: dict[str, Callable[[_Garden], None]] = {
    "orphans": _orphans,
    "conflicts": _conflicts,
    "negative-stock": _negative_stock,
    "expired-before-made": _expired_before_made,
    "broken-chain": _broken_chain,
}

FAULTS = tuple(_PLANTS)


def plant(context: FaultContext, faults: Collection[str]) -> Planted:
    """The rows of the chosen faults; the order in which they are named does not matter."""
    garden = _Garden(context=context)
    for kind in FAULTS:
        if kind in faults:
            garden.kind = kind
            _PLANTS[kind](garden)
    return garden.planted
