"""What migrate has made, as files of an ORM. Pure: a writer reads schemas, and returns texts."""

from tenantry.exports.ground import Files, Ground, Orm
from tenantry.exports.writers import write

__all__ = ["Files", "Ground", "Orm", "write"]
