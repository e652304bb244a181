"""Engines: they take tasks and see that each gets its records in the journal."""
