"""A Django project in a folder, whose commands run as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

SETTINGS = """
import json, os
DATABASES = json.loads(os.environ["SHOP"])
INSTALLED_APPS = ["tenantry_app.django", "{app}"]
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
    """A Django project of one application."""

    def __init__(self, folder: Path, app: str, models: str, **databases: str) -> None:
        self.folder = folder
        (folder / app / "migrations").mkdir(parents=True)
        (folder / "settings.py").write_text(SETTINGS.format(app=app))
        for package in (folder / app, folder / app / "migrations"):
            (package / "__init__.py").touch()
        (folder / app / "models.py").write_text(models)
        self.databases = {alias: _settings(dsn) for alias, dsn in databases.items()}

    def run(self, *commands: str) -> str:
        """What the commands of manage.py print, one after the other in one process; of one that fails, why."""
        return self.execute(COMMANDS, *commands)

    def execute(self, program: str, *arguments: str) -> str:
        """What a program prints that has the project's settings."""
        environment = {
            **os.environ, "DJANGO_SETTINGS_MODULE": "settings", "SHOP": json.dumps(self.databases),
            "PYTHONPATH": f"{self.folder}:{Path(__file__).parents[1] / 'src'}",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def _settings(dsn: str) -> dict[str, Any]:
    options = conninfo_to_dict(dsn)
    return {
        "ENGINE": "django.db.backends.postgresql", "NAME": options["dbname"], "USER": options["user"],
        "HOST": options["host"], "PORT": str(options.get("port") or ""),
    }  # fmt: skip
