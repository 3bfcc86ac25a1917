"""The command line: it adds nothing but words to tenantry.commands."""

from tenantry.cli.application import app, main

__all__ = ["app", "main"]
