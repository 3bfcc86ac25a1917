"""Checks: values that say what must hold, and the reader that asks the database about many of them at once."""
