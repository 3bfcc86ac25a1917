"""Items are edited; movements are entered, and stay as they are."""

from django.contrib import admin

from inventory.models import Item, Location, Movement


@admin.register(Item, Location)
class Edited(admin.ModelAdmin):
    list_display = ("code", "name")
    search_fields = ("code", "name")


@admin.register(Movement)
class Entered(admin.ModelAdmin):
    list_display = ("id", "item", "location", "quantity")
    list_select_related = ("item", "location")

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
