"""Files for an ORM that describe the migrated tables. Writers read schemas and return texts, without a connection."""

from tenantry.exports.context import ExportContext, Files, Orm
from tenantry.exports.writers import write

__all__ = ["ExportContext", "Files", "Orm", "write"]
