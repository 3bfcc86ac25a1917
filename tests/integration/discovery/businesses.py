"""Business schemas drawn by a seed, of which it is known whose every row is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

TENANTS = 4
ROWS = 12
LANGUAGES = {
    "en": {
        "tenants": "companies", "tenant": "company_id", "users": "users", "created": "created_by",
        "updated": "updated_by", "name": "name", "products": "products", "orders": "orders", "lines": "order_lines",
        "countries": "countries", "units": "units", "lots": "lots", "moves": "movements", "places": "warehouses",
        "stock": "stock", "counts": "stock_counts", "groups": "categories", "staff": "employees",
        "parts": "departments", "logs": "logs", "parent": "parent_id", "head": "head_id",
    },
    "pt": {
        "tenants": "empresas", "tenant": "empresa_id", "users": "usuarios", "created": "criado_por",
        "updated": "alterado_por", "name": "nome", "products": "produtos", "orders": "pedidos", "lines": "itens",
        "countries": "paises", "units": "unidades", "lots": "lotes", "moves": "movimentos", "places": "depositos",
        "stock": "estoques", "counts": "contagens", "groups": "categorias", "staff": "funcionarios",
        "parts": "setores", "logs": "registros", "parent": "pai_id", "head": "chefe_id",
    },
    "de": {
        "tenants": "mandant", "tenant": "mandant_id", "users": "benutzer", "created": "angelegt_von",
        "updated": "geaendert_von", "name": "bezeichnung", "products": "artikel", "orders": "auftraege",
        "lines": "positionen", "countries": "laender", "units": "einheiten", "lots": "chargen",
        "moves": "bewegungen", "places": "lager", "stock": "bestand", "counts": "zaehlungen",
        "groups": "gruppen", "staff": "mitarbeiter", "parts": "abteilungen", "logs": "protokoll",
        "parent": "ober_id", "head": "leiter_id",
    },
}  # fmt: skip


@dataclass(slots=True)
class Business:
    """A script, and what is true of its tables: owned, mixed, shared, or undecided where nobody could know."""

    seed: int
    script: list[str] = field(default_factory=list)
    truth: dict[str, str] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        return ";\n".join(self.script)


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.words = LANGUAGES[self.random.choice(list(LANGUAGES))]
        self.business = Business(seed)
        # The names that say who has written a row, or such that say nothing.
        told = self.random.random() < 0.7
        self.writers = (self.words["created"], self.words["updated"]) if told else ("ref_a", "ref_b")

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def table(self, name: str, kind: str, columns: str, rows: Iterator[str] | list[str]) -> None:
        self.business.script.append(f"CREATE TABLE {name} ({columns})")
        values = list(rows)
        if values:
            self.business.script.append(f"INSERT INTO {name} VALUES {', '.join(values)}")
        self.business.truth[name] = kind

    def tenant(self, row: int) -> int:
        return 1 + (row - 1) % TENANTS

    def row_of(self, tenant: int) -> int:
        """A row of 1 to ROWS that is the tenant's."""
        return tenant + TENANTS * self.random.randrange(ROWS // TENANTS)

    @property
    def audit(self) -> str:
        users = self.words["users"]
        return "".join(f", {name} int REFERENCES {users}" for name in self.writers)

    def wrote(self, tenant: int) -> str:
        """Who has written a row: somebody of the tenant, the provider's staff, or nobody that is known."""
        return "".join(
            ", " + self.random.choice([str(self.row_of(tenant)), str(self.row_of(tenant)), "1", "NULL"])
            for _ in self.writers
        )

    # --- tables

    def make(self) -> Business:
        words, tenants = self.words, self.words["tenants"]
        self.business.script.append(f"CREATE TABLE {tenants} (id int PRIMARY KEY, slug text UNIQUE)")
        self.business.script.append(
            f"INSERT INTO {tenants} VALUES " + ", ".join(f"({one}, 't{one}')" for one in range(1, TENANTS + 1))
        )
        owner = f"{words['tenant']} int NOT NULL REFERENCES {tenants}"
        own = range(1, ROWS + 1)
        self.table(words["users"], "owned", f"id int PRIMARY KEY, {owner}, login text",
                   [f"({row}, {self.tenant(row)}, 'u{row}')" for row in own])  # fmt: skip
        for name in (words["countries"], words["units"]):
            self.table(name, "shared", f"id int PRIMARY KEY, {words['name']} text{self.audit}",
                       [f"({row}, 'n'{self.wrote(1)})" for row in range(1, 4)])  # fmt: skip
        self.direct(owner)
        self.told_by_others()
        parts = [self.lots, self.stock, self.circle, self.closure, self.logs, self.tools, self.alone, self.empty]
        # Drawn last, so that a seed has the tables that it had before.
        parts.append(self.paired)
        for part in parts:
            if self.chance(0.7):
                part(owner)
        return self.business

    def direct(self, owner: str) -> None:
        words = self.words
        self.table(
            words["orders"], "owned",
            f"id int PRIMARY KEY, {owner}, country int REFERENCES {words['countries']}{self.audit}",
            [f"({row}, {self.tenant(row)}, {1 + row // TENANTS % 3}{self.wrote(self.tenant(row))})"
             for row in range(1, ROWS + 1)],
        )  # fmt: skip
        mixed = self.chance(0.5)
        rows = [
            f"({row}, {'NULL' if mixed and row > ROWS - 2 else self.tenant(row)}, {1 + row // TENANTS % 3}"
            f"{self.wrote(self.tenant(row))})"
            for row in range(1, ROWS + 1)
        ]
        null = "" if mixed else " NOT NULL"
        self.table(
            words["products"], "mixed" if mixed else "owned",
            f"id int PRIMARY KEY, {words['tenant']} int{null} REFERENCES {words['tenants']},"
            f" unit int REFERENCES {words['units']}{self.audit}",
            rows,
        )  # fmt: skip

    def told_by_others(self) -> None:
        words = self.words
        self.table(
            words["lines"], "owned",
            f"id int PRIMARY KEY, header int NOT NULL REFERENCES {words['orders']}, quantity int",
            [f"({row}, {1 + (row - 1) % ROWS}, 1)" for row in range(1, 2 * ROWS + 1)],
        )  # fmt: skip

    def lots(self, owner: str) -> None:
        """The owner of a lot shows in its movements alone."""
        words = self.words
        self.table(words["lots"], "owned", f"id int PRIMARY KEY, unit int REFERENCES {words['units']}",
                   [f"({row}, {1 + row // TENANTS % 3})" for row in range(1, ROWS + 1)])  # fmt: skip
        self.table(
            words["moves"], "owned", f"id int PRIMARY KEY, {owner}, lot int NOT NULL REFERENCES {words['lots']}{self.audit}",
            [f"({row}, {self.tenant(row)}, {1 + (row - 1) % ROWS}{self.wrote(self.tenant(row))})"
             for row in range(1, 2 * ROWS + 1)],
        )  # fmt: skip

    def stock(self, owner: str) -> None:
        """Keys of two columns."""
        words = self.words
        self.table(words["places"], "owned", f"id int PRIMARY KEY, {owner}{self.audit}",
                   [f"({row}, {self.tenant(row)}{self.wrote(self.tenant(row))})" for row in range(1, ROWS + 1)])  # fmt: skip
        self.table(
            words["stock"], "owned",
            f"place int NOT NULL REFERENCES {words['places']}, item int NOT NULL, PRIMARY KEY (place, item)",
            [f"({row}, 1)" for row in range(1, ROWS + 1)],
        )  # fmt: skip
        self.table(
            words["counts"], "owned",
            f"id int PRIMARY KEY, place int NOT NULL, item int NOT NULL,"
            f" FOREIGN KEY (place, item) REFERENCES {words['stock']}",
            [f"({row}, {row}, 1)" for row in range(1, ROWS + 1)],
        )  # fmt: skip

    def circle(self, owner: str) -> None:
        words = self.words
        self.table(words["parts"], "owned", f"id int PRIMARY KEY, {owner}, {words['head']} int",
                   [f"({row}, {self.tenant(row)}, NULL)" for row in range(1, ROWS + 1)])  # fmt: skip
        self.table(
            words["staff"], "owned", f"id int PRIMARY KEY, part int NOT NULL REFERENCES {words['parts']}",
            [f"({row}, {1 + (row - 1) % ROWS})" for row in range(1, ROWS + 1)],
        )  # fmt: skip
        self.business.script += [
            f"UPDATE {words['parts']} SET {words['head']} = id",
            f"ALTER TABLE {words['parts']} ADD FOREIGN KEY ({words['head']}) REFERENCES {words['staff']}",
        ]

    def closure(self, owner: str) -> None:
        """A tree that refers to itself, and the table of all its paths."""
        words = self.words
        groups = words["groups"]
        self.table(
            groups, "owned", f"id int PRIMARY KEY, {owner}, {words['parent']} int REFERENCES {groups}",
            [f"({row}, {self.tenant(row)}, {row - TENANTS if row > TENANTS else 'NULL'})"
             for row in range(1, ROWS + 1)],
        )  # fmt: skip
        self.table(
            f"{groups}_tree", "owned",
            f"upper int NOT NULL REFERENCES {groups}, lower int NOT NULL REFERENCES {groups}, PRIMARY KEY (upper, lower)",
            [f"({row - TENANTS}, {row})" for row in range(TENANTS + 1, ROWS + 1)],
        )  # fmt: skip

    def logs(self, owner: str) -> None:
        """A column of the tenant's that no key declares."""
        words = self.words
        self.table(words["logs"], "owned", f"id int PRIMARY KEY, {words['tenant']} int NOT NULL, said text",
                   [f"({row}, {self.tenant(row)}, 'x')" for row in range(1, ROWS + 1)])  # fmt: skip

    def tools(self, owner: str) -> None:
        self.table("alembic_version", "shared", "version_num text PRIMARY KEY", ["('1')"])
        self.table(
            "django_session", "shared", "session_key text PRIMARY KEY, session_data text, expire_date timestamptz", []
        )

    def alone(self, owner: str) -> None:
        self.table("settings", "undecided", "id int PRIMARY KEY, value text", ["(1, 'x')"])

    def paired(self, owner: str) -> None:
        """Rows that a link table pairs with tenants, with several or with one each: who may see them nobody can know."""
        several = self.chance(0.5)
        self.table(
            "offers", "undecided", "id int PRIMARY KEY, name text", [f"({row}, 'o')" for row in range(1, ROWS + 1)]
        )
        pairs = {(row, self.tenant(row)) for row in range(1, ROWS + 1)}
        pairs |= {(row, self.tenant(row + 1)) for row in range(1, ROWS // 2)} if several else set()
        self.table("offers_in", "owned", f"offer int NOT NULL REFERENCES offers, {owner}, PRIMARY KEY (offer, {self.words['tenant']})",
                   [f"({offer}, {tenant})" for offer, tenant in sorted(pairs)])  # fmt: skip

    def empty(self, owner: str) -> None:
        words = self.words
        self.table("archive", "owned", f"id int PRIMARY KEY, header int NOT NULL REFERENCES {words['orders']}", [])


def business(seed: int) -> Business:
    """The business of a seed."""
    return _Maker(seed).make()
