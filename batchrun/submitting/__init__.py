"""`submit`: bring the output of a job up to date with its input."""
