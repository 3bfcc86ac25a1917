"""Tables that frameworks and migration tools keep for themselves: their rows belong to no tenant, whatever refers to
them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tenantry.model.schema import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTable:
    """A table of a tool: which tool, the columns (one set or another) that distinguish it from a table of the same
    name, and whether the application itself writes to it while it serves tenants."""

    tool: str
    columns: tuple[frozenset[str], ...]
    shared: bool | Literal["write"] = True


def _tool_table(tool: str, columns: str, *, written: bool = False) -> ToolTable:
    sets = tuple(frozenset(some.split()) for some in columns.split("|"))
    return ToolTable(tool=tool, columns=sets, shared="write" if written else True)


_TABLES: Mapping[str, ToolTable] = {
    "django_migrations": _tool_table("Django", "app name applied"),
    "django_content_type": _tool_table("Django", "app_label model"),
    "django_site": _tool_table("Django", "domain name"),
    "auth_permission": _tool_table("Django", "content_type_id codename"),
    "django_session": _tool_table("Django", "session_key session_data expire_date", written=True),
    "alembic_version": _tool_table("Alembic", "version_num"),
    "schema_migrations": _tool_table("Rails and others", "version"),
    "ar_internal_metadata": _tool_table("Rails", "key value"),
    "active_storage_blobs": _tool_table("Rails", "key filename checksum", written=True),
    "flyway_schema_history": _tool_table("Flyway", "installed_rank script checksum"),
    "schema_version": _tool_table("Flyway", "installed_rank script"),
    "databasechangelog": _tool_table("Liquibase", "id author filename"),
    "databasechangeloglock": _tool_table("Liquibase", "id locked"),
    "_prisma_migrations": _tool_table("Prisma", "checksum migration_name"),
    "knex_migrations": _tool_table("Knex", "name batch"),
    "knex_migrations_lock": _tool_table("Knex", "is_locked"),
    "sequelizemeta": _tool_table("Sequelize", "name"),
    "typeorm_metadata": _tool_table("TypeORM", "type name value"),
    "migrations": _tool_table("Laravel or TypeORM", "migration batch | timestamp name"),
    "doctrine_migration_versions": _tool_table("Doctrine", "version executed_at"),
    "goose_db_version": _tool_table("goose", "version_id is_applied"),
    "gorp_migrations": _tool_table("sql-migrate", "id applied_at"),
    "__efmigrationshistory": _tool_table("Entity Framework", "migrationid productversion"),
    "__diesel_schema_migrations": _tool_table("Diesel", "version run_on"),
    "_sqlx_migrations": _tool_table("sqlx", "version checksum"),
    "refinery_schema_history": _tool_table("Refinery", "version checksum"),
    "_yoyo_migration": _tool_table("yoyo", "migration_hash"),
    "drizzle_migrations": _tool_table("Drizzle", "hash created_at"),
    "__drizzle_migrations": _tool_table("Drizzle", "hash created_at"),
    "sessions": _tool_table("a web framework", "id payload last_activity", written=True),
    "session": _tool_table("connect-pg-simple", "sid sess expire", written=True),
    "cache": _tool_table("Laravel", "key value expiration", written=True),
    "cache_locks": _tool_table("Laravel", "key owner expiration", written=True),
    "jobs": _tool_table("Laravel", "queue payload attempts", written=True),
    "failed_jobs": _tool_table("Laravel", "payload exception", written=True),
    "job_batches": _tool_table("Laravel", "total_jobs pending_jobs", written=True),
    "delayed_jobs": _tool_table("Delayed Job", "priority attempts handler", written=True),
    "good_jobs": _tool_table("GoodJob", "queue_name serialized_params", written=True),
    "que_jobs": _tool_table("Que", "priority run_at job_class", written=True),
    "oban_jobs": _tool_table("Oban", "queue worker args", written=True),
    "procrastinate_jobs": _tool_table("Procrastinate", "queue_name task_name args", written=True),
    "procrastinate_events": _tool_table("Procrastinate", "job_id type", written=True),
    "procrastinate_periodic_defers": _tool_table("Procrastinate", "task_name defer_timestamp", written=True),
    "celery_taskmeta": _tool_table("Celery", "task_id status result", written=True),
    "celery_tasksetmeta": _tool_table("Celery", "taskset_id result", written=True),
    "spatial_ref_sys": _tool_table("PostGIS", "srid auth_name srtext"),
}
"""By name, in lower case. A name alone is no proof: the columns must exist, too."""


def tool_table_of(table: Table) -> ToolTable | None:
    """The tool that keeps the table; None for an ordinary table."""
    known = _TABLES.get(table.name.name.lower())
    columns = {column.name.lower() for column in table.columns}
    if known is None or not any(some <= columns for some in known.columns):
        return None
    return known
