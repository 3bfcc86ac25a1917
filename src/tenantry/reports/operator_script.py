"""The script for psql that creates the operator: each statement follows a comment with its reason."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from tenantry.steps.introspection import body, raw

WIDTH = 100
HEADER = """\
-- Makes the role that runs tenantry on this database, with what it needs there and nothing else. Run it by psql, as a
-- superuser or as the administrator of a managed service; to run it again changes nothing.

\\set ON_ERROR_STOP on
BEGIN;
-- Whatever the database's owner has set: nothing of his is found by what follows.
SET LOCAL search_path = pg_catalog, pg_temp;
"""
FOOTER = """\
COMMIT;

-- Then give it a password, or allow it in pg_hba.conf:  \\password {role}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A statement of the script, and why it is there. An `optional` one is printed as a comment."""

    statement: sql.Composed
    why: str
    optional: bool = False

    @property
    def text(self) -> str:
        """The text: the reason as a comment, then the statement, which is a comment, too, if it is optional."""
        statement = self.statement.as_string(None) + ";"
        if self.optional:
            statement = "\n".join(f"-- {line}" for line in statement.splitlines())
        return "\n".join((*_commented(self.why), statement))


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorScript:
    """The role, and the privileges that make it the operator of a database."""

    role: str
    database: str
    rights: tuple[Right, ...]

    @property
    def text(self) -> str:
        """The script."""
        needed = [right.text + "\n" for right in self.rights if not right.optional]
        optional = [right.text + "\n" for right in self.rights if right.optional]
        # A comment ends with its line, and a name may contain a line break.
        footer = FOOTER.format(role=" ".join(sql.Identifier(self.role).as_string(None).split()))
        return "\n".join((HEADER, *needed, footer, *optional))


def right(template: str, *names: str, why: str, optional: bool = False) -> Right:
    """A statement with these names in it."""
    return Right(statement=raw(template).format(*map(sql.Identifier, names)), why=why, optional=optional)


def make_role(role: str, options: str, why: str) -> Right:
    """CREATE ROLE, unless it exists."""
    create = sql.SQL(
        "BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) {})"
        " THEN CREATE ROLE {} {}; END IF; END"
    ).format(sql.Literal(role), sql.Identifier(role), raw(options))
    return Right(statement=sql.SQL("DO {}").format(body(create)), why=why)


def _commented(text: str) -> Iterator[str]:
    yield from (f"-- {line}" for line in textwrap.wrap(text, WIDTH))
