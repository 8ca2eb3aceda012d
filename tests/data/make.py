"""The made LOBSTER files, which `lobgraph fuzz` damages, under the name that the tests import."""

from lobgraph.validate.made_files import EMPTY, STEM, OrderBook, Replay, make_day, write_pair

__all__ = ["EMPTY", "STEM", "OrderBook", "Replay", "make_day", "write_pair"]
