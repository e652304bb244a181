"""`status`: how a run stands, here or in object storage, while it runs and after it was killed."""
