"""Separate file storage for each tenant."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.core.files.storage import FileSystemStorage

from tenantry_app.context import current


def folder() -> str:
    """The name of the current tenant's folder. Raises TenantRequired."""
    return f"tenant-{quote(current().key, safe='')}"


class TenantFileSystemStorage(FileSystemStorage):
    """A FileSystemStorage in which each tenant has its own folder, which no file name can leave.

    Every use raises TenantRequired without a tenant.
    """

    @property
    def location(self) -> str:
        """The tenant's folder, an absolute path."""
        return str(Path(self.base_location).absolute() / folder())

    @property
    def base_url(self) -> str | None:  # type: ignore[override]
        """The URL of the tenant's folder; None if the storage has no URL."""
        base = settings.MEDIA_URL if self._base_url is None else self._base_url  # type: ignore[attr-defined]
        return None if base is None else f"{base.rstrip('/')}/{quote(folder())}/"
