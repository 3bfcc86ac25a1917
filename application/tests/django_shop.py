"""Django's settings, and the shop's models; other modules of these tests import Django by way of this one."""

from __future__ import annotations

import django
from django.conf import settings
from django.db import connections, models
from psycopg.conninfo import conninfo_to_dict

ALIASES = {
    "default": {},
    "pooled": {"OPTIONS": {"pool": {"min_size": 1, "max_size": 2}}},
    "server_side": {"OPTIONS": {"server_side_binding": True}},
}
if not settings.configured:
    settings.configure(
        DATABASES={
            name: {"ENGINE": "django.db.backends.postgresql", "NAME": "none", **others} for name, others in ALIASES.items()
        }
        | {"operator": {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}},
        INSTALLED_APPS=["tenantry_app.django"],
        TENANTRY={"DATABASES": list(ALIASES), "TENANTS": lambda: ["north", "south", "gone"]},
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache", "KEY_FUNCTION": "tenantry_app.django.cache_key"
            }
        },
        USE_TZ=True,
        ALLOWED_HOSTS=["*"],
        MEDIA_URL="/media/",
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )  # fmt: skip
    django.setup()


class Customer(models.Model):
    name = models.TextField()

    class Meta:
        app_label = "tenantry_app"
        db_table = "customers"


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    note = models.TextField(null=True)

    class Meta:
        app_label = "tenantry_app"
        db_table = "orders"


class Unit(models.Model):
    name = models.TextField()

    class Meta:
        app_label = "tenantry_app"
        db_table = "units"


def point(alias: str, dsn: str) -> None:
    """Let a connection of this thread lead to `dsn`, with its pool anew."""
    options = conninfo_to_dict(dsn)
    place = {
        "NAME": options["dbname"],
        "USER": options["user"],
        "HOST": options["host"],
        "PORT": str(options.get("port") or ""),
    }
    settings.DATABASES[alias].update(place)
    connections[alias].settings_dict.update(place)


def close() -> None:
    for connection in connections.all(initialized_only=True):
        connection.close()
        if getattr(connection, "pool", None):
            connection.close_pool()
