"""Django after contract: nothing to migrate, and migrations of the application's own are made as the operator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from conftest import application
from servers import Database
from shop import APPLICATION

MODELS = """
from django.db import models

class Customer(models.Model):
    id = models.IntegerField(primary_key=True)
    tenant_id = models.IntegerField()
    name = models.TextField()
    email = models.TextField(null=True, unique=True)
    class Meta:
        db_table = "customers"

class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    note = models.TextField(null=True)
    class Meta:
        db_table = "orders"
"""
NOTES = """
from django.db import migrations

def fill(apps, editor):
    apps.get_model("shop", "Order").objects.using({alias}).update(note="filled")

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(fill)]
"""
SETTINGS = """
import json, os
DATABASES = json.loads(os.environ["SHOP"])
INSTALLED_APPS = ["tenantry_app.django", "shop"]
DATABASE_ROUTERS = ["tenantry_app.django.MigrationRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
"""
COMMANDS = """
import sys, django
django.setup()
from django.core.management import call_command
for line in sys.argv[1:]:
    try:
        call_command(*line.split(), no_color=True, skip_checks=False)
    except (Exception, SystemExit) as error:
        print("refused:", type(error).__name__, error, flush=True)
"""


class Project:
    """A Django project of one application, whose models are of before the migration."""

    def __init__(self, folder: Path, **databases: str) -> None:
        self.folder = folder
        (folder / "shop" / "migrations").mkdir(parents=True)
        (folder / "settings.py").write_text(SETTINGS)
        for package in ("shop", "shop/migrations"):
            (folder / package / "__init__.py").touch()
        (folder / "shop" / "models.py").write_text(MODELS)
        self.databases = {alias: _settings(dsn) for alias, dsn in databases.items()}

    def run(self, *commands: str) -> str:
        """What the commands print, one after the other in one process."""
        environment = {
            **os.environ, "DJANGO_SETTINGS_MODULE": "settings", "SHOP": json.dumps(self.databases),
            "PYTHONPATH": f"{self.folder}:{Path(__file__).parents[1] / 'src'}",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, *commands],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


def _settings(dsn: str) -> dict[str, Any]:
    options = conninfo_to_dict(dsn)
    return {
        "ENGINE": "django.db.backends.postgresql", "NAME": options["dbname"], "USER": options["user"],
        "HOST": options["host"], "PORT": str(options.get("port") or ""),
    }  # fmt: skip


def test_migrations(shop: Database, tmp_path: Path) -> None:
    """A history from before the migration has nothing to add after contract; a data migration as the operator reaches
    all rows, and as any other role it is refused with the reason."""
    project = Project(tmp_path, default=application(shop), operator=shop.dsn)
    project.run("makemigrations shop")
    before = shop.dump()
    said = project.run("migrate shop --fake --database operator", "makemigrations --check")
    assert "No changes detected" in said
    assert "refused" not in said
    shop.execute("DROP TABLE django_migrations")
    assert shop.dump() == before
    project.run("migrate shop --fake --database operator")
    migration = tmp_path / "shop" / "migrations" / "0002_notes.py"
    migration.write_text(NOTES.format(alias="'default'"))
    project.databases["other"] = project.databases["default"]
    said = project.run("migrate shop", "migrate shop --database other", "migrate shop --database operator")
    by_default, as_application, elsewhere = said.split("refused:")[1:]
    assert "Migrations run as the operator" in by_default
    assert f"role {APPLICATION} is not shown all tenants' rows of public.customers, public.orders" in as_application
    assert "TenantRequired no tenant is set here" in elsewhere
    assert shop.rows("SELECT count(*) FROM orders WHERE note = 'filled'") == [(0,)]
    migration.write_text(NOTES.format(alias="editor.connection.alias"))
    assert "refused" not in project.run("migrate shop --database operator")
    assert shop.rows("SELECT count(*) FROM orders WHERE note = 'filled'") == [(5,)]
