"""Alembic: a revision that changes nothing, to record in the history when the tenant columns were added."""

from __future__ import annotations

import hashlib

from tenantry.errors import UsageError
from tenantry.exports.context import DEFAULT_SCHEMA, ExportContext, Files

TEXT = '''\
"""The tenant columns, which tenantry has added: this revision checks that they exist, and changes nothing.

Revision ID: {revision}
Revises: {after}
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = {revision!r}
down_revision = {down!r}
branch_labels = None
depends_on = None

COLUMNS = {columns}


def upgrade() -> None:
    if context.is_offline_mode():
        return
    inspector = sa.inspect(op.get_bind())
    for schema, table, column in COLUMNS:
        if column not in {{found["name"] for found in inspector.get_columns(table, schema)}}:
            raise RuntimeError(f"{{table}} has no column {{column}}: run `tenantry migrate`, then this revision again")


def downgrade() -> None:
    """Changes nothing: `tenantry rollback` drops the columns."""
'''


def alembic_files(context: ExportContext) -> Files:
    """One revision. Its number is derived from its contents. Raises UsageError if `after` is not a revision's."""
    columns = [
        (None if table.name.schema == DEFAULT_SCHEMA else table.name.schema, table.name.name, column)
        for table in context.tables
        if (column := context.tenant_column(table.name)) is not None
    ]
    lines = "".join(f"    {column!r},\n" for column in columns)
    revision = hashlib.sha256(repr((context.after, columns)).encode()).hexdigest()[:12]
    if context.after is not None and not context.after.isidentifier() and not context.after.isalnum():
        raise UsageError(f"--after: {context.after!r} is not a revision", remedy="`alembic heads` shows it.")
    text = TEXT.format(revision=revision, after=context.after or "", down=context.after, columns=f"(\n{lines})")
    return {f"versions/{revision}_tenants.py": text}
