"""One row to its outcome: its conversation, the attempts of each ask, the calls of each attempt."""
