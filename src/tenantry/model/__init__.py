"""Immutable values that all layers exchange."""
