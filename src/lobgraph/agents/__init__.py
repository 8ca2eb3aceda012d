"""Scripted strategies: what practitioners do, in the place of a policy. A user's own is a class with one method."""
