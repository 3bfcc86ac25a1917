"""Inventory of one business, whose rows all become rows of one organization."""

from tenantry.presets.enterprise.faults import FAULTS
from tenantry.presets.enterprise.rows import Enterprise

__all__ = ["FAULTS", "Enterprise"]
