"""The old application of the preset estoque: what schools and the central store do all day.

What PostgreSQL itself does not allow while a column is added (hazard 8) the writers leave out: `SELECT *` and
`RETURNING *` in prepared statements, COPY without a column list, `INSERT … SELECT *`. From isolate on COPY FROM is
refused wherever row security filters (hazard 10): they then insert. Rows that two tenants would share are never
written: a movement's school, lot and user are of one tenant, whenever a transaction ends; that is what enforce is for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from acceptance.writers import Action, Application, Book, Gate, Session
from servers import Database

KEYS = {
    "tenants": ("id",), "produtos": ("id",), "escolas": ("id",), "usuarios": ("id",), "estoque_escolas": ("id",),
    "estoque_lotes": ("id",), "estoque_escolas_historico": ("id",), "estoque_movimentacoes": ("id",),
    "estoque_alertas": ("id",),
}  # fmt: skip
VOLATILE = {"estoque_escolas": "data_ultima_atualizacao"}
MOVEMENT = ("lote_id", "produto_id", "tipo", "quantidade", "quantidade_anterior", "quantidade_posterior", "motivo",
            "usuario_id", "escola_id")  # fmt: skip
INSERT = (
    "INSERT INTO estoque_movimentacoes (lote_id, produto_id, tipo, quantidade, quantidade_anterior, quantidade_posterior,"
    " motivo, usuario_id, escola_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id"
)


def application(database: Database, roles: list[str], seed: int, copying: Gate, **options: Any) -> Application:
    """Eight writers; `copying` is shut while COPY FROM is refused."""
    book = Book(database, KEYS, VOLATILE)
    sites = database.rows(
        "SELECT m.lote_id, m.produto_id, m.escola_id, m.usuario_id FROM estoque_movimentacoes m"
        " WHERE m.escola_id IS NOT NULL AND m.usuario_id IS NOT NULL ORDER BY m.id LIMIT 2000"
    )

    def make(session: Session, number: int) -> Mapping[Action, int]:
        return Clerk(session, number, sites, copying).actions()

    return Application(database=database, roles=roles, make=make, book=book, seed=seed, **options)


class Clerk:
    """One writer, with schools of its own: two that stay and one that moves from tenant to tenant."""

    def __init__(self, session: Session, number: int, sites: list[Any], copying: Gate) -> None:
        self.session, self.number, self.sites, self.copying = session, number, sites, copying
        self.random, self.run = session.random, session.run
        self.serial = 0
        self.tenants = [row[0] for row in self.run("setup", "SELECT id FROM tenants ORDER BY slug")]
        first, second = self.random.sample(self.tenants, 2)
        self.people: dict[int, list[int]] = {}
        self.lots: dict[int, list[int]] = {}
        self.movements: dict[int, list[int]] = {}
        with session.transaction():
            self.schools = [self._school(first), self._school(second)]
            self.neighbour = self._school(first)
            self.van = self._school(first)
            for school in (*self.schools, self.van):
                for _ in range(3):
                    self._lot(school)
            self.shelf = self._shelf(self.schools[0], 1)
            self.free = self._user(self.schools[0])

    def actions(self) -> Mapping[Action, int]:
        found: dict[Action, int] = {
            self.insert: 12, self.shared: 8, self.update: 6, self.delete: 3, self.copy: 3, self.upsert: 4,
            self.new_lot: 3, self.end_lot: 1, self.savepoint: 4, self.repeatable: 4, self.alert: 3,
            self.person_moves: 3, self.movement_moves: 3, self.lot_moves: 1, self.shelf_moves: 1, self.school_ends: 2,
        }  # fmt: skip
        if self.number in (0, 5):
            found[self.long] = 1
        if self.number in (1, 6):
            found[self.school_moves] = 1
        if self.session.connection.info.server_version >= 150000:
            found[self.merge] = 3
        return found

    # --- rows

    def _name(self, what: str) -> str:
        self.serial += 1
        return f"{what} {self.number}-{self.serial}"

    def _quantity(self) -> Decimal:
        return Decimal(self.random.randrange(1, 4000)) / 4

    def _school(self, tenant: Any) -> int:
        name = self._name("Escola")
        ((school,),) = self.run("insert escolas", "INSERT INTO escolas (nome, municipio, tenant_id) VALUES (%s, 'Centro', %s)"
                                " RETURNING id", (name, tenant), prepare=True)  # fmt: skip
        self.session.wrote("escolas", school, nome=name, tenant_id=tenant, municipio="Centro")
        self.people[school], self.lots[school] = [], []
        self.people[school] = [self._user(school), self._user(school)]
        return int(school)

    def _user(self, school: int) -> int:
        email = self._name("user").replace(" ", "") + "@example.org"
        ((user,),) = self.run("insert usuarios", "INSERT INTO usuarios (nome, email, tipo, escola_id) VALUES"
                              " ('Maria', %s, 'diretora', %s) RETURNING id", (email, school), prepare=True)  # fmt: skip
        self.session.wrote("usuarios", user, email=email, escola_id=school, nome="Maria")
        return int(user)

    def _shelf(self, school: int, product: int) -> int:
        quantity = self._quantity()
        ((shelf,),) = self.run("insert estoque_escolas", "INSERT INTO estoque_escolas (escola_id, produto_id, quantidade_atual)"
                               " VALUES (%s, %s, %s) RETURNING id", (school, product, quantity), prepare=True)  # fmt: skip
        self.session.wrote("estoque_escolas", shelf, escola_id=school, produto_id=product, quantidade_atual=quantity)
        self._history(shelf, school, product)
        return int(shelf)

    def _history(self, shelf: int, school: int, product: int) -> None:
        quantity = self._quantity()
        ((row,),) = self.run("insert historico", "INSERT INTO estoque_escolas_historico (estoque_escola_id, escola_id,"
                             " produto_id, tipo_movimentacao, quantidade_anterior, quantidade_movimentada,"
                             " quantidade_posterior) VALUES (%s, %s, %s, 'entrada', 0, %s, %s) RETURNING id",
                             (shelf, school, product, quantity, quantity), prepare=True)  # fmt: skip
        self.session.wrote("estoque_escolas_historico", row, estoque_escola_id=shelf, escola_id=school,
                           quantidade_movimentada=quantity)  # fmt: skip

    def _lot(self, school: int) -> int:
        """A lot, and the movement that tells whose it is."""
        label, quantity = self._name("L"), self._quantity()
        ((lot,),) = self.run("insert lotes", "INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial,"
                             " quantidade_atual, data_validade) VALUES (1, %s, %s, %s, '2030-01-01') RETURNING id",
                             (label, quantity, quantity), prepare=True)  # fmt: skip
        self.session.wrote("estoque_lotes", lot, lote=label, quantidade_inicial=quantity, quantidade_atual=quantity)
        self.lots[school].append(lot)
        self.movements[lot] = []
        self._movement(lot, school, self.random.choice(self.people[school]))
        return int(lot)

    def _movement(self, lot: int, school: int | None, user: int | None, product: int = 1) -> int:
        values = (lot, product, "entrada", self._quantity(), 0, 0, self._name("motivo"), user, school)
        ((movement,),) = self.run("insert movimentacoes", INSERT, values, prepare=True)
        self.session.wrote("estoque_movimentacoes", movement, **dict(zip(MOVEMENT, values, strict=True)))
        if lot in self.movements:
            self.movements[lot].append(movement)
        return int(movement)

    def _place(self) -> tuple[int, int]:
        """One of the writer's schools, and a lot of it."""
        school = self.random.choice([*self.schools, self.van])
        return school, self.random.choice(self.lots[school])

    # --- what it does

    def _undoing(self, work: Callable[[], None]) -> None:
        """A transaction; what was noted of rows that it did not come to write is forgotten."""
        kept = {lot: list(movements) for lot, movements in self.movements.items()}
        lots = {school: list(found) for school, found in self.lots.items()}
        try:
            with self.session.transaction():
                work()
        except BaseException:
            self.movements, self.lots = kept, lots
            raise

    def insert(self) -> None:
        school, lot = self._place()
        central = self.random.random() < 0.25
        self._undoing(lambda: self._movement(lot, None if central else school,
                                             None if central else self.random.choice(self.people[school])))  # fmt: skip

    def shared(self) -> None:
        """Two lots of everybody's, in the order of their keys, as a careful application does."""
        chosen = {site[0]: site for site in self.random.sample(self.sites, 2)}

        def work() -> None:
            for lot, product, school, user in sorted(chosen.values()):
                quantity = self._quantity()
                self._movement(lot, school, user, product)
                self.run("update lotes", "UPDATE estoque_lotes SET quantidade_atual = quantidade_atual + %s WHERE id = %s",
                         (quantity, lot), prepare=True)  # fmt: skip
                self.session.added("estoque_lotes", lot, quantidade_atual=quantity)

        self._undoing(work)

    def update(self) -> None:
        _, lot = self._place()
        reason = self._name("revisto")
        with self.session.transaction():
            self.run("update movimentacoes", "UPDATE estoque_movimentacoes SET motivo = %s WHERE id = ANY (%s)",
                     (reason, self.movements[lot]), prepare=True)  # fmt: skip
            for movement in self.movements[lot]:
                self.session.wrote("estoque_movimentacoes", movement, motivo=reason)

    def delete(self) -> None:
        _, lot = self._place()
        if len(self.movements[lot]) < 2:
            return

        def work() -> None:
            # Not the first, which tells whose the lot is.
            movement = self.movements[lot].pop(self.random.randrange(1, len(self.movements[lot])))
            self.run("delete movimentacoes", "DELETE FROM estoque_movimentacoes WHERE id = %s", (movement,))
            self.session.deleted("estoque_movimentacoes", movement)

        self._undoing(work)

    def copy(self) -> None:
        school, lot = self._place()

        def work() -> None:
            ids = self.run("nextval", "SELECT nextval('estoque_movimentacoes_id_seq') FROM generate_series(1, 20)")
            rows = [(number, lot, 1, "entrada", self._quantity(), 0, 0, self._name("copia"), None,
                     school if self.random.random() < 0.8 else None) for (number,) in ids]  # fmt: skip
            with self.copying.entered() as may:
                if may:
                    self.session.copy("copy movimentacoes", "estoque_movimentacoes", ("id", *MOVEMENT), rows)
            if not may:
                return
            for number, *values in rows:
                self.session.wrote("estoque_movimentacoes", number, **dict(zip(MOVEMENT, values, strict=True)))
                self.movements[lot].append(number)

        self._undoing(work)

    def upsert(self) -> None:
        school, quantity, product = (
            self.random.choice([*self.schools, self.van]),
            self._quantity(),
            self.random.randrange(2, 9),
        )
        with self.session.transaction():
            ((shelf,),) = self.run("on conflict do update", "INSERT INTO estoque_escolas (escola_id, produto_id,"
                                   " quantidade_atual) VALUES (%s, %s, %s) ON CONFLICT (escola_id, produto_id) DO UPDATE"
                                   " SET quantidade_atual = EXCLUDED.quantidade_atual RETURNING id",
                                   (school, product, quantity), prepare=True)  # fmt: skip
            self.session.wrote(
                "estoque_escolas", shelf, escola_id=school, produto_id=product, quantidade_atual=quantity
            )
            self._history(shelf, school, product)
            lot, product, *_ = self.random.choice(self.sites)
            self.run("on conflict do nothing", "INSERT INTO estoque_lotes (produto_id, lote, quantidade_inicial,"
                     " quantidade_atual, data_validade) SELECT produto_id, lote, 1, 1, '2030-01-01' FROM estoque_lotes"
                     " WHERE id = %s ON CONFLICT (produto_id, lote) DO NOTHING", (lot,), prepare=True)  # fmt: skip

    def merge(self) -> None:
        school, quantity, product = self.random.choice(self.schools), self._quantity(), self.random.randrange(9, 12)
        with self.session.transaction():
            self.run("merge", "MERGE INTO estoque_escolas AS t USING (SELECT %s::int AS escola, %s::int AS produto,"
                     " %s::numeric AS quantidade) AS s ON t.escola_id = s.escola AND t.produto_id = s.produto"
                     " WHEN MATCHED THEN UPDATE SET quantidade_atual = s.quantidade"
                     " WHEN NOT MATCHED THEN INSERT (escola_id, produto_id, quantidade_atual)"
                     " VALUES (s.escola, s.produto, s.quantidade)", (school, product, quantity), prepare=True)  # fmt: skip
            ((shelf,),) = self.run("select", "SELECT id FROM estoque_escolas WHERE escola_id = %s AND produto_id = %s",
                                   (school, product), prepare=True)  # fmt: skip
            self.session.wrote(
                "estoque_escolas", shelf, escola_id=school, produto_id=product, quantidade_atual=quantity
            )

    def new_lot(self) -> None:
        school = self.random.choice([*self.schools, self.van])

        def work() -> None:
            lot = self._lot(school)
            self._movement(lot, None, None)

        self._undoing(work)

    def end_lot(self) -> None:
        """DELETE cascades to the lot's movements."""
        school = self.random.choice(self.schools)
        if len(self.lots[school]) < 3:
            return

        def work() -> None:
            lot = self.lots[school].pop(self.random.randrange(len(self.lots[school])))
            self.run("delete lotes", "DELETE FROM estoque_lotes WHERE id = %s", (lot,), prepare=True)
            self.session.deleted("estoque_lotes", lot)
            for movement in self.movements.pop(lot):
                self.session.deleted("estoque_movimentacoes", movement)

        self._undoing(work)

    def savepoint(self) -> None:
        school, lot = self._place()

        def work() -> None:
            self._movement(lot, school, None)
            known = list(self.movements[lot])
            with self.session.undone():
                self._movement(lot, None, None)
                self.run(
                    "update lotes", "UPDATE estoque_lotes SET status = 'vencido' WHERE id = %s", (lot,), prepare=True
                )
            self.movements[lot] = known
            self._movement(lot, school, None)

        self._undoing(work)

    def repeatable(self) -> None:
        school, lot = self._place()

        def work() -> None:
            kept = list(self.movements[lot])
            ((count,),) = self.run("select", "SELECT count(*) FROM estoque_movimentacoes WHERE lote_id = %s", (lot,))
            try:
                self._movement(lot, school, None)
                self.run("update lotes", "UPDATE estoque_lotes SET quantidade_atual = %s, nota_fiscal = %s WHERE id = %s",
                         (count, f"NF-{count}", lot), prepare=True)  # fmt: skip
            except BaseException:
                self.movements[lot] = kept
                raise
            self.session.wrote("estoque_lotes", lot, quantidade_atual=Decimal(count), nota_fiscal=f"NF-{count}")

        kept = list(self.movements[lot])
        before = len(self.session.diary.failures)
        self.session.repeatable(work)
        if len(self.session.diary.failures) > before:
            self.movements[lot] = kept

    def alert(self) -> None:
        lot = self._place()[1] if self.random.random() < 0.7 else None
        with self.session.transaction():
            # A lot that end_lot deletes takes its alerts along: only those of the van's lots are written about.
            lot = lot if lot in self.lots[self.van] else None
            title = self._name("Aviso")
            ((alert,),) = self.run("insert alertas", "INSERT INTO estoque_alertas (produto_id, lote_id, tipo, titulo) VALUES"
                                   " (1, %s, 'aviso', %s) RETURNING id", (lot, title), prepare=True)  # fmt: skip
            self.session.wrote("estoque_alertas", alert, lote_id=lot, titulo=title, resolvido=False)

    def long(self) -> None:
        """A transaction of a second, over which everything else goes on."""
        school, lot = self._place()

        def work() -> None:
            self._movement(lot, school, None)
            threading.Event().wait(self.random.uniform(0.4, 0.9))
            self._movement(lot, None, None)
            self.run("pg_sleep", "SELECT pg_sleep(%s)", (self.random.uniform(0.1, 0.4),))

        self._undoing(work)

    # --- rows that change their parents

    def person_moves(self) -> None:
        """Nothing refers to this user, so it may go to another tenant's school."""
        school = self.random.choice([*self.schools, self.neighbour, self.van])
        with self.session.transaction():
            self.run(
                "user moves", "UPDATE usuarios SET escola_id = %s WHERE id = %s", (school, self.free), prepare=True
            )
            self.session.wrote("usuarios", self.free, escola_id=school)

    def movement_moves(self) -> None:
        """To another school of the same tenant."""
        lot = self.random.choice(self.lots[self.schools[0]])
        school = self.random.choice((self.schools[0], self.neighbour))
        movement = self.random.choice(self.movements[lot])
        with self.session.transaction():
            self.run(
                "movement moves", "UPDATE estoque_movimentacoes SET escola_id = %s WHERE id = %s", (school, movement)
            )
            self.session.wrote("estoque_movimentacoes", movement, escola_id=school)

    def lot_moves(self) -> None:
        """All movements of a lot, and with them the lot, to the other school: another tenant's."""
        here, there = self.random.sample(self.schools, 2)
        if len(self.lots[here]) < 3:
            return
        lot = self.lots[here][0]

        def work() -> None:
            self.run("lot moves", "UPDATE estoque_movimentacoes SET escola_id = %s, usuario_id = NULL"
                     " WHERE lote_id = %s AND escola_id IS NOT NULL", (there, lot), prepare=True)  # fmt: skip
            moved = self.run(
                "select", "SELECT id FROM estoque_movimentacoes WHERE lote_id = %s AND escola_id IS NOT NULL", (lot,)
            )
            for (movement,) in moved:
                self.session.wrote("estoque_movimentacoes", movement, escola_id=there, usuario_id=None)
            self.lots[there].append(self.lots[here].pop(0))

        self._undoing(work)

    def school_moves(self) -> None:
        """The user's own tenant column changes: whatever the school has follows."""
        tenant = self.random.choice(self.tenants)
        with self.session.transaction():
            self.run(
                "school moves", "UPDATE escolas SET tenant_id = %s WHERE id = %s", (tenant, self.van), prepare=True
            )
            self.session.wrote("escolas", self.van, tenant_id=tenant)

    def shelf_moves(self) -> None:
        """A shelf goes to another tenant's school, and then its history does: two statements, one transaction."""
        school = self.random.choice(self.schools)
        with self.session.transaction():
            self.run("shelf moves", "UPDATE estoque_escolas SET escola_id = %s WHERE id = %s", (school, self.shelf))
            self.session.wrote("estoque_escolas", self.shelf, escola_id=school)
            rows = self.run("history follows", "UPDATE estoque_escolas_historico SET escola_id = %s"
                            " WHERE estoque_escola_id = %s RETURNING id", (school, self.shelf))  # fmt: skip
            for (row,) in rows:
                self.session.wrote("estoque_escolas_historico", row, escola_id=school)

    def school_ends(self) -> None:
        """DELETE of a school: its shelves go with it; the movement that names it keeps its lot."""
        lot = self.random.choice(self.lots[self.schools[0]])
        tenant = self.tenants[0]
        with self.session.transaction():
            ((tenant,),) = self.run("select", "SELECT tenant_id FROM escolas WHERE id = %s", (self.schools[0],))
            name = self._name("Escola")
            ((school,),) = self.run("insert escolas", "INSERT INTO escolas (nome, municipio, tenant_id) VALUES"
                                    " (%s, 'Centro', %s) RETURNING id", (name, tenant))  # fmt: skip
            self.run(
                "insert estoque_escolas",
                "INSERT INTO estoque_escolas (escola_id, produto_id) VALUES (%s, 1)",
                (school,),
            )
            movement = self._movement(lot, school, None)
            self.session.wrote("escolas", school, nome=name, tenant_id=tenant)
        with self.session.transaction():
            self.run("delete escolas", "DELETE FROM escolas WHERE id = %s", (school,), prepare=True)
            self.session.deleted("escolas", school)
            self.session.wrote("estoque_movimentacoes", movement, escola_id=None)


WRONG_TENANTS = """
WITH told AS (
  SELECT m.lote_id, array_agg(DISTINCT e.tenant_id) AS tenants
  FROM estoque_movimentacoes m JOIN escolas e ON e.id = m.escola_id GROUP BY 1
), lot AS (SELECT lote_id AS id, tenants[1] AS tenant FROM told WHERE cardinality(tenants) = 1),
wrong AS (
  SELECT 'lots of two tenants' AS what, lote_id::bigint AS id, tenants::text AS is, '' AS should, false AS late
  FROM told WHERE cardinality(tenants) > 1
  UNION ALL
  SELECT 'usuarios', u.id, u.tenant_id::text, e.tenant_id::text, false FROM usuarios u JOIN escolas e ON e.id = u.escola_id
  WHERE u.tenant_id IS DISTINCT FROM e.tenant_id
  UNION ALL
  SELECT 'estoque_escolas', s.id, s.tenant_id::text, e.tenant_id::text, false
  FROM estoque_escolas s JOIN escolas e ON e.id = s.escola_id WHERE s.tenant_id IS DISTINCT FROM e.tenant_id
  UNION ALL
  SELECT 'estoque_escolas_historico', h.id, h.tenant_id::text, e.tenant_id::text, false
  FROM estoque_escolas_historico h JOIN escolas e ON e.id = h.escola_id WHERE h.tenant_id IS DISTINCT FROM e.tenant_id
  UNION ALL
  SELECT 'estoque_movimentacoes', m.id, m.tenant_id::text, e.tenant_id::text, false
  FROM estoque_movimentacoes m JOIN escolas e ON e.id = m.escola_id WHERE m.tenant_id IS DISTINCT FROM e.tenant_id
  UNION ALL
  SELECT 'estoque_movimentacoes by lot', m.id, m.tenant_id::text, lot.tenant::text, m.tenant_id IS NULL
  FROM estoque_movimentacoes m JOIN lot ON lot.id = m.lote_id
  WHERE m.escola_id IS NULL AND m.tenant_id IS DISTINCT FROM lot.tenant
  UNION ALL
  SELECT 'estoque_lotes', l.id, l.tenant_id::text, lot.tenant::text, l.tenant_id IS NULL
  FROM estoque_lotes l JOIN lot USING (id) WHERE l.tenant_id IS DISTINCT FROM lot.tenant
  UNION ALL
  SELECT 'estoque_alertas', a.id, a.tenant_id::text, lot.tenant::text, a.tenant_id IS NULL
  FROM estoque_alertas a LEFT JOIN lot ON lot.id = a.lote_id WHERE a.tenant_id IS DISTINCT FROM lot.tenant
)
SELECT what, id, "is", should FROM wrong WHERE NOT late OR %(strict)s ORDER BY 1, 2
"""
"""Rows in the wrong tenant, by the user's keys alone. `late`: before contract such a row may still wait for a tenant."""
