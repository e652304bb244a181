"""A row becomes a request: its messages and parameters evaluated, its media named, its hash."""
