"""Scripted strategies: what practitioners do, in the place of a policy. A user's own is a class with one method."""

from .strategy import Strategy, StrategyError, make_strategy, strategies
from .view import View

__all__ = ["Strategy", "StrategyError", "View", "make_strategy", "strategies"]
