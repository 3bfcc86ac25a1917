"""Balances: one exact sum for each key of a ledger, computed, compared, corrected."""
