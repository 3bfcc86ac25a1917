"""Whether a tenant can reach another one's rows: the catalog's answer, and attempts."""
