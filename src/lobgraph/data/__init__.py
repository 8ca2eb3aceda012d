"""Recorded order books: readers -> tapes for replay, measured facts, and scenarios calibrated to them."""
