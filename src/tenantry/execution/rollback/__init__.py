"""The way back: what a rollback selects, what is in its way, its execution, and the proof that all is as it was."""
