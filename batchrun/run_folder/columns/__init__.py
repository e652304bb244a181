"""The results' columns: their names and types, and their values from the records of a task."""
