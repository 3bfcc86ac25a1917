"""Walking the list of steps: the runner, and the fill of tenant columns in batches."""
