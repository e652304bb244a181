"""Inputs that are wrong, odd or hostile, made by code, each with the end that it must have."""
