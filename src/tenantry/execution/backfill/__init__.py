"""Filling tenant columns in batches, by several sessions, resumable."""
