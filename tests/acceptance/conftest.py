"""Fixtures of the tests that kill."""

from acceptance.subjects import process, subject

__all__ = ["process", "subject"]
