"""Balances: one exact sum for each key of a ledger, found, compared, corrected."""
