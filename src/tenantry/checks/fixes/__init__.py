"""Corrections of findings: planned, applied with their cascades, undone."""
