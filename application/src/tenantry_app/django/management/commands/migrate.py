"""manage.py migrate"""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.core.management.commands import migrate

from tenantry_app.django import options as tenantry


class Command(migrate.Command):
    """Django's own command, which refuses an alias that serves tenants: a data migration there would change the rows of
    at most one tenant."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError for an alias of TENANTRY["DATABASES"]."""
        if (alias := options["database"]) in (served := tenantry()["DATABASES"]):
            raise CommandError(
                f"The database {alias!r} serves tenants, and its role may neither change tables nor see all rows."
                f" Run migrations as the operator: manage.py migrate --database ALIAS, with another one than"
                f" {', '.join(served)}."
            )
        super().handle(*args, **options)
