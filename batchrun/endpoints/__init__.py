"""The endpoints of a job: checked before the first call, then opened."""
