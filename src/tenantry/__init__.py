"""Turns a live single-tenant PostgreSQL database into a provably isolated multi-tenant one, and back."""

__version__ = "0.1.0"
