"""The admin of the inventory, on the database of examples/enterprise.

Who may log in, and for which organisation, stands in a database of the admin's own (`control`); all else is the
organisations', and is read and written as the application's role.
"""

import os
from pathlib import Path

from tenantry_app import ApiKey, Claim, Header, Resolution
from tenantry_app.django import find_key
from tenantry_app.keys import CachedKeys

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = [
    "tenantry_app.django", "inventory", "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.sessions", "django.contrib.messages",
]  # fmt: skip
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "HOST": os.environ.get("PGHOST", ""),
        "PORT": os.environ.get("PGPORT", ""),
    },
    "control": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(os.environ["CONTROL"])},
}
DATABASE_ROUTERS = ["inventory.Router"]


def membership(request):
    """The organisation of who has logged in; None for anybody else."""
    user = request.raw["django.request"].user
    return {"org": user.member.organization, "sub": user.get_username()} if user.is_authenticated else None


TENANTRY = {
    "RESOLUTION": Resolution(
        Claim(membership, "org"), ApiKey(CachedKeys(find_key)), Header("X-Org-Id"), open=["/admin/login/"]
    ),
    "COLUMN": "org_id",
}
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tenantry_app.django.middleware.tenant_middleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "urls"
STATIC_URL = "static/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
