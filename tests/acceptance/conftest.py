"""Fixtures of the tests that kill."""

from acceptance.subjects import process, subject, undisturbed

__all__ = ["process", "subject", "undisturbed"]
