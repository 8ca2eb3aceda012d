"""Types of settings, their bounds, and the base of every section."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

ROLES = ("maker", "taker", "arbitrageur")


class ConfigError(ValueError):
    """A configuration that cannot be run: names the key, what was given and what would be right."""


def _no_bool(value: Any) -> Any:
    """YAML's `yes` must not become the number 1."""
    if isinstance(value, bool):
        raise ValueError("expected a number, got a boolean")
    return value


def _not_tiny(value: float) -> float:
    """Of an exponent in 32 bits."""
    if 0.0 < value < 1e-9:
        raise ValueError("must be 0 or at least 1e-9")
    return value


Float = Annotated[float, BeforeValidator(_no_bool)]
Int = Annotated[int, BeforeValidator(_no_bool)]
# Bounded far above any use, so that products of settings stay exact in 64-bit fixed point.
Positive = Annotated[Float, Field(gt=0, le=1e6)]
NonNegative = Annotated[Float, Field(ge=0, le=1e6)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
Discount = Annotated[Float, Field(gt=0, le=1)]
Count = Annotated[Int, Field(ge=1, le=10**15)]
# Standard deviation of a Gaussian policy, in half action ranges: within models.distributions.LOG_STD_RANGE.
Deviation = Annotated[Float, Field(ge=0.007, le=2)]
Aversion = Annotated[NonNegative, AfterValidator(_not_tiny)]
PerBook = list[Float] | Float  # one value for all books, or one per book
Schedule = Literal[
    "constant", "linear", "cosine"
]  # of training, from the value given to the share left at the end
# Who acts in a role: `learn`; `nothing`; the text of a strategy, such as twap, fixed_spread:half_spread=3 or
# my_maker.py:Quoter:width=3; or the path of an earlier run or policy file, whose policy acts by its mean and stays as it
# is. Relative paths count from the current directory.
Actor = Annotated[str, Field(min_length=1)]
LEARN, NOTHING = "learn", "nothing"


class Section(BaseModel):
    """Base of every section: frozen, unknown keys and NaN refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        ignored_types=(cached_property,),
        use_attribute_docstrings=True,
    )
