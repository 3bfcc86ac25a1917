"""No model names the organisation: the database fills it in, and shows no other one's rows."""

from django.conf import settings
from django.db import models


class Member(models.Model):
    """Whose rows a person works on."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="member")
    organization = models.CharField(max_length=100)


class Item(models.Model):
    code = models.TextField()
    name = models.TextField()
    category = models.TextField()
    unit = models.TextField()
    unit_cost = models.DecimalField(max_digits=12, decimal_places=4)

    class Meta:
        managed = False
        db_table = "items"

    def __str__(self):
        return f"{self.code} {self.name}"


class Location(models.Model):
    code = models.TextField()
    name = models.TextField()
    kind = models.TextField()

    class Meta:
        managed = False
        db_table = "locations"

    def __str__(self):
        return self.code


KINDS = ("receipt", "return", "issue", "waste", "adjustment")


class Movement(models.Model):
    item = models.ForeignKey(Item, models.PROTECT)
    location = models.ForeignKey(Location, models.PROTECT)
    movement_type = models.TextField(choices=[(kind, kind) for kind in KINDS])
    quantity = models.DecimalField(max_digits=14, decimal_places=3)
    reference = models.TextField(null=True, blank=True)

    class Meta:
        managed = False
        db_table = "inventory_ledger"
