"""Fixtures of the tests that kill, and of those of the phase distribute."""

from acceptance.distributed import there
from acceptance.kill_targets import process, subject, undisturbed

__all__ = ["process", "subject", "there", "undisturbed"]
