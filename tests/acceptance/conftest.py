"""Fixtures of the tests that kill, and of those of the phase distribute."""

from acceptance.distributed import fleet, there
from acceptance.kill_targets import process, subject, undisturbed

__all__ = ["fleet", "process", "subject", "there", "undisturbed"]
