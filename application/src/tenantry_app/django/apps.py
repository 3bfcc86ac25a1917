"""The Django application: it prepares each new connection."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db import connections
from django.db.backends.signals import connection_created

from tenantry_app.django import options
from tenantry_app.django.checks import check_databases
from tenantry_app.django.statements import take, take_if_named


class TenantryConfig(AppConfig):
    """`tenantry_app.django` in INSTALLED_APPS."""

    name = "tenantry_app.django"
    label = "tenantry_app"

    def ready(self) -> None:
        """Prepare the existing connections, and all later ones."""
        connection_created.connect(take_if_named, dispatch_uid="tenantry_app")
        for connection in connections.all(initialized_only=True):
            if connection.alias in options()["DATABASES"]:
                take(connection)
        register(check_databases, Tags.database)
