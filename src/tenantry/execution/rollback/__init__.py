"""Rollback: what it selects, what prevents it, its execution, and the verification that everything is as it was."""
