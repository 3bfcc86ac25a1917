"""Fixtures of the tests that kill."""

from acceptance.subjects import process, subject, undisturbed_big

__all__ = ["process", "subject", "undisturbed_big"]
