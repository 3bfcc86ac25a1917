"""Migrates a single-tenant PostgreSQL database to a multi-tenant one while it is in use, and back.

Every command is a function: `from tenantry import migrate`. A name is imported when it is first used.
"""

import lazy_loader  # type: ignore[import-untyped]

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
