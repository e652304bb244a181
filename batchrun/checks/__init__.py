"""A job's checks: counted in the published results, and put into words."""
