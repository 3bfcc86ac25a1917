"""The models of django-rls-tenants, which is asked for while they are made."""

from __future__ import annotations

from typing import Any

from django.db import models
from django_rls_tenants import RLSProtectedModel


class Tenant(models.Model):
    id: Any = models.IntegerField(primary_key=True)
    slug: Any = models.TextField(unique=True)

    class Meta:
        app_label = "rival"
        db_table = "tenants"


class Order(RLSProtectedModel):
    id: Any = models.BigIntegerField(primary_key=True)
    tenant: Any = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_index=False)
    note: Any = models.TextField()

    class Meta(RLSProtectedModel.Meta):
        app_label = "rival"
        db_table = "orders"
        abstract = False
