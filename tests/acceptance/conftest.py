"""Fixtures of the tests that kill."""

from acceptance.kill_targets import process, subject, undisturbed

__all__ = ["process", "subject", "undisturbed"]
