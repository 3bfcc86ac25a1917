"""The only door to the database: connections, catalog, journal, embedded server."""
