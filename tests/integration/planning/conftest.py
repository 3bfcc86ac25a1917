"""A business whose spec says who owns its rows."""

from hazards.conftest import Business, business

__all__ = ["Business", "business"]
