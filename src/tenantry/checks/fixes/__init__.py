"""Corrections of what checks have found: planned, applied with their cascades, undone."""
