"""What migrate has made, as files of an ORM. Pure: a writer reads schemas, and returns texts."""

from tenantry.exports.context import ExportContext, Files, Orm
from tenantry.exports.writers import write

__all__ = ["ExportContext", "Files", "Orm", "write"]
