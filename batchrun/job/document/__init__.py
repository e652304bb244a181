"""The text of a job file, read to plain values that remember where they stand, and changed by the shell."""
