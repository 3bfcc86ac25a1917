"""Views that run with the rights of the caller, not of their owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.step import Before, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokerView(Step):
    """SET (security_invoker = true), from PostgreSQL 15 on; the earlier options are restored in their order."""

    kind: Literal["view"] = "view"
    compared = True

    @property
    def key(self) -> str:
        return f"view:{self.table}"

    @property
    def title(self) -> str:
        return "let the view read its tables as the role that queries it"

    @property
    def subject(self) -> str:
        return f"security_invoker of the view {self.table}"

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT option FROM pg_catalog.pg_class c, pg_catalog.unnest(c.reloptions) AS option"
            " WHERE c.oid = {} AND option IN ('security_invoker=true', 'security_invoker=on', 'security_invoker=1')"
        ).format(self.table.oid)

    def record(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('options', pg_catalog.to_jsonb(c.reloptions))"
            " FROM pg_catalog.pg_class c WHERE c.oid = {}"
        ).format(self.table.oid)

    def apply(self) -> tuple[Statement, ...]:
        return (self._alter(sql.SQL("SET (security_invoker = true)")),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        there = sql.SQL("SELECT {} IS NOT NULL").format(self.table.oid)
        options = [option.partition("=") for option in before.get("options") or ()]
        names = dict.fromkeys(["security_invoker", *(name for name, _, _ in options)])
        reset = sql.SQL("RESET ({})").format(sql.SQL(", ").join(map(sql.Identifier, names)))
        statements = [self._alter(reset, when=there)]
        if options:
            again = sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, _, value in options
            )
            statements.append(self._alter(sql.SQL("SET ({})").format(again), when=there))
        return tuple(statements)

    def _alter(self, change: sql.Composable, when: sql.Composable | None = None) -> Statement:
        statement = sql.SQL("ALTER VIEW {} {}").format(self.table.identifier, change)
        return Statement(sql=statement, locks=(Lock(self.table, LockMode.ACCESS_EXCLUSIVE),), when=when)
