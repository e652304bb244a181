"""The Chat Completions protocol as pure code: no I/O, no clock."""
