"""Sample rows of the preset estoque."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, timedelta
from random import Random

from tenantry.presets import names_pt as portuguese
from tenantry.presets.dates import REFERENCE, day, moment
from tenantry.presets.distributions import lengths, pick
from tenantry.presets.estoque.faults import FaultContext, plant
from tenantry.presets.estoque.places import SchoolNumbers
from tenantry.presets.movements import Chains
from tenantry.presets.sample import Row, SampleTable

KINDS = ("entrada", "devolucao", "saida", "perda", "ajuste")
_REASONS = ("recebimento", "devolução da cozinha", None, "embalagem danificada", "contagem física")
_ROLES = ("diretora", "merendeira", "nutricionista", "almoxarife")
_NOTICES = ("Recolhimento pelo fabricante", "Cadastro incompleto no catálogo", "Nova ficha técnica")

_COLUMNS = {
    "tenants": "id slug name",
    "produtos": "id nome categoria perecivel validade_minima peso",
    "escolas": "id nome municipio codigo tenant_id",
    "usuarios": "id nome email tipo escola_id",
    "estoque_escolas_historico": "id estoque_escola_id escola_id produto_id tipo_movimentacao"
    " quantidade_anterior quantidade_movimentada quantidade_posterior motivo usuario_id data_movimentacao",
    "estoque_escolas": "id escola_id produto_id quantidade_atual quantidade_minima quantidade_maxima"
    " data_ultima_atualizacao usuario_ultima_atualizacao",
    "estoque_movimentacoes": "id lote_id produto_id tipo quantidade quantidade_anterior quantidade_posterior"
    " motivo usuario_id escola_id data_movimentacao",
    "estoque_lotes": "id produto_id lote quantidade_inicial quantidade_atual data_fabricacao data_validade"
    " status nota_fiscal",
    "estoque_alertas": "id produto_id lote_id tipo nivel titulo data_alerta resolvido",
}


class Estoque:
    """About 20 movements a lot and 400 a school, in 3 to 30 municipalities."""

    def __init__(self, rows: int, seed: int, faults: Collection[str]) -> None:
        self._random = random = Random(seed)
        self._rows = rows
        self._places = SchoolNumbers(random, rows)
        # No school stores the last two foods of the catalogue: planted stock is put there.
        self._products = min(portuguese.FOODS, max(12, rows // 100))
        sizes = lengths(random, rows, 20)
        self._lots = Chains(random, sizes, [(40 + pick(random, 2000)) / 4 for _ in sizes])
        self._lot_opening = tuple(self._lots.levels)
        self._lot_tenant = self._tenants_of_lots(len(sizes))
        self._lot_product = [1 + pick(random, self._products) for _ in sizes]
        self._lot_start = [-1] * len(sizes)
        self._shelves = list(self._shelf_places())
        visits = [1 + pick(random, 9) for _ in self._shelves]
        self._stock = Chains(random, visits, [0.0] * len(visits))
        self._stock_last: list[tuple[str, int | None]] = [("", None)] * len(visits)
        self._visits = sum(visits)
        self.planted = plant(self._ground(), faults)

    def tables(self) -> Iterator[SampleTable]:
        """Movements come before lots and history before stock: only their rows determine the quantities at the end."""
        generated = {
            "tenants": self._tenant_rows(),
            "produtos": self._product_rows(),
            "escolas": self._school_rows(),
            "usuarios": self._user_rows(),
            "estoque_escolas_historico": self._history_rows(),
            "estoque_escolas": self._stock_rows(),
            "estoque_movimentacoes": self._movement_rows(),
            "estoque_lotes": self._lot_rows(),
            "estoque_alertas": self._alert_rows(),
        }
        for name, rows in generated.items():
            yield SampleTable(name=name, columns=tuple(_COLUMNS[name].split()), rows=self.planted.after(name, rows))

    def _ground(self) -> FaultContext:
        places = self._places
        firsts = [places.first_school(tenant) for tenant in range(3)]
        return FaultContext(
            schools=(firsts[0], firsts[1], firsts[2]),
            products=self._products,
            used={
                "escolas": places.schools,
                "usuarios": places.users,
                "estoque_escolas": len(self._shelves),
                "estoque_escolas_historico": self._visits,
                "estoque_lotes": len(self._lot_product),
                "estoque_movimentacoes": self._rows,
            },
        )

    def _tenants_of_lots(self, lots: int) -> list[int]:
        """As uneven as the numbers of schools; drawn at random, so that lots of all municipalities are mixed."""
        tickets = self._places.tenant_of
        return [tickets[pick(self._random, len(tickets))] for _ in range(lots)]

    def _shelf_places(self) -> Iterator[tuple[int, int]]:
        """(school, product): each school stores a series of neighbouring products of the catalogue."""
        kept = self._products - 2
        for school in range(1, self._places.schools + 1):
            first = pick(self._random, kept)
            for offset in range(min(kept, 4 + pick(self._random, 26))):
                yield school, 1 + (first + offset) % kept

    def _tenant_rows(self) -> Iterator[Row]:
        for town, key in zip(portuguese.TOWNS, self._places.tenants, strict=False):
            yield key, portuguese.slug(town), f"Prefeitura de {town}"

    def _product_rows(self) -> Iterator[Row]:
        for number in range(self._products):
            food = portuguese.food(number)
            yield number + 1, food.name, food.category, food.perishable, max(5, food.life // 4), food.pack

    def _school_rows(self) -> Iterator[Row]:
        for school, tenant in enumerate(self._places.tenant_of, 1):
            town, key = portuguese.TOWNS[tenant], self._places.tenants[tenant]
            yield school, portuguese.school(school), town, f"{35_000_000 + school * 7}", key

    def _user_rows(self) -> Iterator[Row]:
        for school, tenant in enumerate(self._places.tenant_of, 1):
            domain = f"{portuguese.slug(portuguese.TOWNS[tenant])}.example"
            for place, user in enumerate(self._places.staff(school)):
                name = portuguese.person(user)
                email = f"{portuguese.slug(name)}.{user}@{domain}"
                yield user, name, email, _ROLES[place % len(_ROLES)], school

    def _history_rows(self) -> Iterator[Row]:
        for number, (shelf, kind, before, quantity, after) in enumerate(self._stock.movements()):
            school, product = self._shelves[shelf]
            user = self._places.user(school)
            at = moment(number, self._visits)
            self._stock_last[shelf] = (at, user)
            movement = (KINDS[kind], before, quantity, after, _REASONS[kind], user, at)
            yield number + 1, shelf + 1, school, product, *movement

    def _stock_rows(self) -> Iterator[Row]:
        for shelf, (school, product) in enumerate(self._shelves):
            least = pick(self._random, 40) / 4
            levels = (self._stock.levels[shelf], least, least + 400)
            yield shelf + 1, school, product, *levels, *self._stock_last[shelf]

    def _movement_rows(self) -> Iterator[Row]:
        draw, places, left = self._random.random, self._places, self._lots.left
        for number, (lot, kind, before, quantity, after) in enumerate(self._lots.movements()):
            if self._lot_start[lot] < 0:
                self._lot_start[lot] = number
            school = places.school(self._lot_tenant[lot])
            user = places.user(school)
            # One in seven is in the central store; a lot's last one never is, so that each lot has an owner.
            named = school if not left[lot] or draw() < 0.85 else None
            movement = (KINDS[kind], quantity, before, after, _REASONS[kind], user, named)
            yield number + 1, lot + 1, self._lot_product[lot], *movement, moment(number, self._rows)

    def _lot_rows(self) -> Iterator[Row]:
        for lot, (product, opening, level) in enumerate(
            zip(self._lot_product, self._lot_opening, self._lots.levels, strict=True)
        ):
            arrived = day(self._lot_start[lot], self._rows)
            made = arrived - timedelta(days=3 + pick(self._random, 40))
            expires = made + timedelta(days=45 + portuguese.food(product - 1).life)
            label = f"L{made:%y%m}-{lot + 1:06d}"
            status = _status(level, expires)
            yield lot + 1, product, label, opening, level, made, expires, status, f"NF-{1000 + lot // 4}"

    def _alert_rows(self) -> Iterator[Row]:
        """A few about products of the catalogue, and one for every twelfth lot."""
        lots = len(self._lot_product)
        notices = max(2, self._products // 10)
        for number in range(notices):
            product = 1 + pick(self._random, self._products)
            at = moment(number, notices)
            title = _NOTICES[number % len(_NOTICES)]
            yield number + 1, product, None, "catalogo", "aviso", title, at, False
        for number, lot in enumerate(range(0, lots, 12), notices + 1):
            level = ("info", "aviso", "critico")[pick(self._random, 3)]
            at, closed = moment(self._lot_start[lot], self._rows), pick(self._random, 4) > 0
            closed = closed or not self._lots.levels[lot]
            subject = (self._lot_product[lot], lot + 1, "vencimento", level, "Lote próximo do vencimento")
            yield number, *subject, at, closed


def _status(level: float, expires: date) -> str:
    if level == 0:
        return "esgotado"
    return "vencido" if expires < REFERENCE else "ativo"
