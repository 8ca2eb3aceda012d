"""Policies and strategies against the same market: played, measured, compared."""
