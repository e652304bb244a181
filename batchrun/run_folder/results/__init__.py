"""The results: published in input order, and read whatever state a run is in."""
