"""How a running submit stands, and the interface of what shows it."""
