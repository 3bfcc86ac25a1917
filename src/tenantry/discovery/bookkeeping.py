"""Tables that frameworks and migration tools keep for themselves: their rows belong to no tenant, whatever refers to
them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tenantry.model.schema import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A table of a tool: which tool, the columns (one set or another) that distinguish it from a table of the same
    name, and whether the application itself writes to it while it serves tenants."""

    tool: str
    columns: tuple[frozenset[str], ...]
    shared: bool | Literal["write"] = True


def _kept(tool: str, columns: str, *, written: bool = False) -> Kept:
    sets = tuple(frozenset(some.split()) for some in columns.split("|"))
    return Kept(tool=tool, columns=sets, shared="write" if written else True)


_TABLES: Mapping[str, Kept] = {
    "django_migrations": _kept("Django", "app name applied"),
    "django_content_type": _kept("Django", "app_label model"),
    "django_site": _kept("Django", "domain name"),
    "auth_permission": _kept("Django", "content_type_id codename"),
    "django_session": _kept("Django", "session_key session_data expire_date", written=True),
    "alembic_version": _kept("Alembic", "version_num"),
    "schema_migrations": _kept("Rails and others", "version"),
    "ar_internal_metadata": _kept("Rails", "key value"),
    "active_storage_blobs": _kept("Rails", "key filename checksum", written=True),
    "flyway_schema_history": _kept("Flyway", "installed_rank script checksum"),
    "schema_version": _kept("Flyway", "installed_rank script"),
    "databasechangelog": _kept("Liquibase", "id author filename"),
    "databasechangeloglock": _kept("Liquibase", "id locked"),
    "_prisma_migrations": _kept("Prisma", "checksum migration_name"),
    "knex_migrations": _kept("Knex", "name batch"),
    "knex_migrations_lock": _kept("Knex", "is_locked"),
    "sequelizemeta": _kept("Sequelize", "name"),
    "typeorm_metadata": _kept("TypeORM", "type name value"),
    "migrations": _kept("Laravel or TypeORM", "migration batch | timestamp name"),
    "doctrine_migration_versions": _kept("Doctrine", "version executed_at"),
    "goose_db_version": _kept("goose", "version_id is_applied"),
    "gorp_migrations": _kept("sql-migrate", "id applied_at"),
    "__efmigrationshistory": _kept("Entity Framework", "migrationid productversion"),
    "__diesel_schema_migrations": _kept("Diesel", "version run_on"),
    "_sqlx_migrations": _kept("sqlx", "version checksum"),
    "refinery_schema_history": _kept("Refinery", "version checksum"),
    "_yoyo_migration": _kept("yoyo", "migration_hash"),
    "drizzle_migrations": _kept("Drizzle", "hash created_at"),
    "__drizzle_migrations": _kept("Drizzle", "hash created_at"),
    "sessions": _kept("a web framework", "id payload last_activity", written=True),
    "session": _kept("connect-pg-simple", "sid sess expire", written=True),
    "cache": _kept("Laravel", "key value expiration", written=True),
    "cache_locks": _kept("Laravel", "key owner expiration", written=True),
    "jobs": _kept("Laravel", "queue payload attempts", written=True),
    "failed_jobs": _kept("Laravel", "payload exception", written=True),
    "job_batches": _kept("Laravel", "total_jobs pending_jobs", written=True),
    "delayed_jobs": _kept("Delayed Job", "priority attempts handler", written=True),
    "good_jobs": _kept("GoodJob", "queue_name serialized_params", written=True),
    "que_jobs": _kept("Que", "priority run_at job_class", written=True),
    "oban_jobs": _kept("Oban", "queue worker args", written=True),
    "procrastinate_jobs": _kept("Procrastinate", "queue_name task_name args", written=True),
    "procrastinate_events": _kept("Procrastinate", "job_id type", written=True),
    "procrastinate_periodic_defers": _kept("Procrastinate", "task_name defer_timestamp", written=True),
    "celery_taskmeta": _kept("Celery", "task_id status result", written=True),
    "celery_tasksetmeta": _kept("Celery", "taskset_id result", written=True),
    "spatial_ref_sys": _kept("PostGIS", "srid auth_name srtext"),
}
"""By name, in lower case. A name alone is no proof: the columns must exist, too."""


def kept_by_tool(table: Table) -> Kept | None:
    """The tool that keeps the table; None for an ordinary table."""
    known = _TABLES.get(table.name.name.lower())
    columns = {column.name.lower() for column in table.columns}
    if known is None or not any(some <= columns for some in known.columns):
        return None
    return known
