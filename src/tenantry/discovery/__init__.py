"""From a schema to a proposed spec: pure, with the census as its only evidence."""
