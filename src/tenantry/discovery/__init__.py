"""From a schema to a proposed spec, without side effects; the census is the only evidence of the data."""
