"""A small estoque database that the real command migrates."""

from cli.conftest import estoque, shop

__all__ = ["estoque", "shop"]
