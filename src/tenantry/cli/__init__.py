"""The command line: options, screens and exit statuses around tenantry.commands."""

from tenantry.cli.application import app, main

__all__ = ["app", "main"]
