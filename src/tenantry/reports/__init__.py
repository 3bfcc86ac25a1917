"""What is written beside the database: the log, plans as scripts, values as JSON."""
