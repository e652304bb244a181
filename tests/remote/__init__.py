"""Runs and inputs in object storage, against a real S3 server of another make (moto's) over a socket."""
