"""Django after contract: nothing to migrate, and migrations of the application's own are made as the operator."""

from __future__ import annotations

from pathlib import Path

from conftest import application
from django_project import Project
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


def test_migrations(shop: Database, tmp_path: Path) -> None:
    """A history from before the migration has nothing to add after contract; a data migration as the operator reaches
    all rows, and as any other role it is refused with the reason."""
    project = Project(tmp_path, "shop", MODELS, default=application(shop), operator=shop.dsn)
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
    assert "Run migrations as the operator" in by_default
    assert f"role {APPLICATION} does not see all tenants' rows of public.customers, public.orders" in as_application
    assert "TenantRequired no tenant is set" in elsewhere
    assert shop.rows("SELECT count(*) FROM orders WHERE note = 'filled'") == [(0,)]
    migration.write_text(NOTES.format(alias="editor.connection.alias"))
    assert "refused" not in project.run("migrate shop --database operator")
    assert shop.rows("SELECT count(*) FROM orders WHERE note = 'filled'") == [(5,)]
