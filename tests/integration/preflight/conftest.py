"""The same business as in the hazards' tests, whose database is migrated phase by phase."""

from hazards.conftest import business

__all__ = ["business"]
