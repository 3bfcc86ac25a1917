"""Which families a command asks. One family, one file; a new one is one line here."""

from __future__ import annotations

from tenantry.checks.check import FamilyOf
from tenantry.model.finding import Family

VALIDATION: tuple[tuple[Family, FamilyOf], ...] = ()
"""Is the migration in force, and is every row in its tenant?"""
