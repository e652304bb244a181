"""What a run folder remembers between two submits: sealed answers, spend, batches with providers."""
