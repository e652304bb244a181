"""All that is wrong with a job, as one list of sentences: place, key, what is allowed, what was meant."""
