"""The schema as pg_dump shows it."""

from __future__ import annotations

import os
import subprocess

from tenantry.errors import Failed
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory

VOLATILE = ("\\restrict", "\\unrestrict", "-- Dumped from", "-- Dumped by")
"""Starts of lines that differ between dumps, or between versions."""


def dump_schema(target: Target) -> str:
    """The definitions of everything but the schema tenantry, without the lines that differ between dumps.

    Raises Failed if pg_dump does, ConnectionFailed if it is not installed.
    """
    command = [
        str(bin_directory() / "pg_dump"),
        "--schema-only",
        "--exclude-schema=tenantry",
        "-d",
        target.conninfo,
    ]
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "10"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise Failed(f"pg_dump failed with exit status {done.returncode}", details=done.stderr.splitlines())
    return "".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith(VOLATILE))
