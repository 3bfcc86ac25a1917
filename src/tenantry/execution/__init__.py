"""Runs the steps of a plan: the runner, and the backfill of tenant columns in batches."""
