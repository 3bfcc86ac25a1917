"""The presets: two inventory schemas before a migration, their specs, and sample rows."""

from tenantry.presets.loading import PRESETS, fault_kinds, load, schema, spec_path, strays_query, transactions
from tenantry.presets.sample import Fault, LoadedSample

__all__ = [
    "PRESETS",
    "Fault",
    "LoadedSample",
    "fault_kinds",
    "load",
    "schema",
    "spec_path",
    "strays_query",
    "transactions",
]
