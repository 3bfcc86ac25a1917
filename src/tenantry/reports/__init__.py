"""Files beside the database: the log, reports, plans as scripts, and values as JSON."""
