"""Structured outputs: JSON Schemas made strict for endpoints, and texts read by them."""
