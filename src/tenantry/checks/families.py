"""The families of checks of each command. Each family has its own module, and its line here."""

from __future__ import annotations

from tenantry.checks.base import FamilyOf
from tenantry.checks.business import business
from tenantry.checks.completeness import completeness
from tenantry.checks.isolation import isolated
from tenantry.checks.performance import performance
from tenantry.checks.references import references
from tenantry.checks.structure import structure
from tenantry.model.finding import Family

VALIDATION: tuple[tuple[Family, FamilyOf], ...] = (
    (Family.STRUCTURE, structure),
    (Family.COMPLETENESS, completeness),
    (Family.REFERENCES, references),
    (Family.ISOLATION, isolated),
    (Family.PERFORMANCE, performance),
)
"""Is the migration applied, and is every row in its tenant?"""

VERIFICATION: tuple[tuple[Family, FamilyOf], ...] = (
    *(pair for pair in VALIDATION if pair[0] is not Family.STRUCTURE),
    (Family.BUSINESS, business),
)
"""Do the rows meet the business rules, in each tenant by itself, and does no tenant see another one?"""
