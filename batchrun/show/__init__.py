"""`show`: rows of a run, chosen and drawn as conversations."""
