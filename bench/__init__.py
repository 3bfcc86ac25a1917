"""Fills of a tenant column side by side: ours, one offline UPDATE, keyset batches, a constant."""
