"""Runs of many workers: on a real Ray cluster of two nodes, and with the workers in this process."""
