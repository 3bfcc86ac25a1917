"""Checks: values that describe faulty rows, and the runner that counts these for many checks at once."""
