"""The writer of each ORM."""

from __future__ import annotations

from collections.abc import Mapping

from tenantry.exports.alembic import alembic_files
from tenantry.exports.context import ExportContext, Files, Orm, Writer
from tenantry.exports.django import django_files
from tenantry.exports.prisma import prisma_files
from tenantry.exports.sqlalchemy import sqlalchemy_files

WRITERS: Mapping[Orm, Writer] = {
    Orm.DJANGO: django_files,
    Orm.ALEMBIC: alembic_files,
    Orm.SQLALCHEMY: sqlalchemy_files,
    Orm.PRISMA: prisma_files,
}


def write(orm: Orm, context: ExportContext) -> Files:
    """The files of an export."""
    return WRITERS[orm](context)
