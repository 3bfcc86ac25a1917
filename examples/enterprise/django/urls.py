"""The admin, and the items for programs."""

from django.contrib import admin
from django.http import JsonResponse
from django.urls import path
from inventory.models import Item


def items(request):
    found = Item.objects.order_by("code", "id").values("id", "code", "name", "category", "unit")[:100]
    return JsonResponse({"items": list(found)})


urlpatterns = [path("admin/", admin.site.urls), path("api/items-enterprise", items)]
