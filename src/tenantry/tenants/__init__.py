"""One tenant's rows: exported into a folder, imported from it, and removed."""
