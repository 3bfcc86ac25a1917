"""All access to the database: connections, catalog, journal, embedded server."""
