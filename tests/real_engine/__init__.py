"""Tests against llama.cpp's server, which answers with a small model of random weights.

They need the packages of the dependency group `engine`, and are skipped without them.
"""

CONTEXT = 2048
"""Tokens that a prompt and its answer may have together."""
