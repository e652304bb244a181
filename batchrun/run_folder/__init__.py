"""A run on disk: what lies where, who may work on it, and how it is read after anything that may happen."""
