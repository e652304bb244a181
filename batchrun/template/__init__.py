"""Templates: prepared once, bounded, and evaluated per row by minijinja."""
