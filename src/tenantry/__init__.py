"""Turns a live single-tenant PostgreSQL database into a provably isolated multi-tenant one, and back.

The commands are functions here: `from tenantry import migrate`. Each is imported when it is first asked for.
"""

import lazy_loader  # type: ignore[import-untyped]

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
