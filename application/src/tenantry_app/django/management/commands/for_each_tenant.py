"""manage.py for_each_tenant COMMAND …"""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError, call_command

from tenantry_app.context import tenant
from tenantry_app.django import named
from tenantry_app.errors import InactiveTenant


class Command(BaseCommand):
    """Runs a command once for each tenant that TENANTRY["TENANTS"] gives; inactive ones are skipped."""

    help = 'Run a command once for each tenant that TENANTRY["TENANTS"] gives.'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command and its own arguments."""
        parser.add_argument("name", metavar="COMMAND")
        parser.add_argument("arguments", nargs=REMAINDER)

    def handle(self, *args: Any, name: str, arguments: list[str], **options: Any) -> None:
        """Goes on if the command fails for a tenant; CommandError names those tenants at the end."""
        failed: list[str] = []
        for one in list(named("TENANTS")()):
            try:
                with tenant(one) as found:
                    call_command(name, *arguments, stdout=self.stdout, stderr=self.stderr)
            except InactiveTenant as inactive:
                self.stderr.write(f"{inactive}: skipped")
            except Exception as error:
                self.stderr.write(f"{found}: {error}")
                failed.append(str(found))
        if failed:
            raise CommandError(f"{name} failed for {', '.join(failed)}")
