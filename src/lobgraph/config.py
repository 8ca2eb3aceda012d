"""The configuration tree: every setting, its default, its unit and its bounds.

In: a YAML file (only what differs from the defaults) and `key=value` overrides. Out: one frozen, validated `Config`.
An unknown key, a wrong type or an impossible value raises `ConfigError`, one line per key, before anything runs.
Units: prices in ticks, quantities in lots, times in seconds, rates per second.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

ROLES = ("maker", "taker", "arbitrageur")
MAX_YAML_BYTES = 4 << 20


class ConfigError(ValueError):
    """A configuration that cannot be run: names the key, what was given and what would be right."""


def _no_bool(value: Any) -> Any:
    """YAML's `yes` must not become the number 1."""
    if isinstance(value, bool):
        raise ValueError("expected a number, got a boolean")
    return value


Float = Annotated[float, BeforeValidator(_no_bool)]
Int = Annotated[int, BeforeValidator(_no_bool)]
# Bounded far above any use, so that products of settings stay exact in 64-bit fixed point.
Positive = Annotated[Float, Field(gt=0, le=1e6)]
NonNegative = Annotated[Float, Field(ge=0, le=1e6)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
Discount = Annotated[Float, Field(gt=0, le=1)]
Count = Annotated[Int, Field(ge=1)]
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


AnySection = TypeVar("AnySection", bound=Section)


class MarketConfig(Section):
    books: list[str] = ["A0"]  # one book per asset or venue; an integer n names them A0..A(n-1)
    underlying: list[str] | None = (
        None  # per book: venues of one underlying share its fundamental; None: all differ
    )
    dt: Annotated[Float, Field(ge=1e-6, le=1e5)] = 1.0  # seconds between decisions
    window: Annotated[Int, Field(ge=64, le=32768)] = 512  # ticks kept around the mid, a power of two
    depth_levels: Annotated[Int, Field(ge=1, le=50)] = 5  # L, levels a side that observations and figures use
    tick_size: Positive = 0.01  # money per tick, used at the edge only
    initial_price: list[Int] | Int = 10_000  # ticks, one for all books or one per book
    maker_rebate: Annotated[Float, Field(ge=-0.01, le=0.01)] = (
        0.0  # fraction of notional paid to a passive fill
    )
    taker_fee: Annotated[Float, Field(ge=-0.01, le=0.01)] = (
        0.0  # fraction of notional taken from an aggressive fill
    )
    mark: Literal["others", "mid"] = (
        "others"  # inventory is valued at the mid without the agent's own quotes, or with
    )
    matching: Literal["fifo", "pro_rata"] = (
        "fifo"  # at a level: time order, or in proportion to size and what rounding leaves in time order
    )
    self_trade: Literal["cancel_resting", "cancel_incoming", "cancel_both", "decrement", "allow"] = (
        "cancel_resting"  # an agent's order meeting its own resting one: which is cancelled; decrement: both, by the smaller
    )

    @model_validator(mode="before")
    @classmethod
    def _count_of_books(cls, data: Any) -> Any:
        n = data.get("books") if isinstance(data, Mapping) else None
        if isinstance(n, int) and not isinstance(n, bool):
            if not 1 <= n <= 1024:
                raise ValueError(f"books: a count must be 1 to 1024, got {n}")
            data = {**data, "books": [f"A{i}" for i in range(n)]}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.books or len(set(self.books)) != len(self.books):
            raise ValueError(f"books: names must be present and unique, got {self.books}")
        if self.window & (self.window - 1):
            raise ValueError(f"window: must be a power of two, got {self.window}")
        if self.underlying is not None and len(self.underlying) != len(self.books):
            raise ValueError(
                f"underlying: needs one name per book ({len(self.books)}), got {len(self.underlying)}"
            )
        prices = self.initial_price if isinstance(self.initial_price, list) else [self.initial_price]
        if len(prices) not in (1, len(self.books)):
            raise ValueError(f"initial_price: needs 1 or {len(self.books)} values, got {len(prices)}")
        if min(prices) <= self.window:
            raise ValueError(f"initial_price: must exceed window ({self.window} ticks), got {min(prices)}")
        if max(prices) > 1 << 28:
            raise ValueError(f"initial_price: must be at most {1 << 28} ticks, got {max(prices)}")
        if self.depth_levels * 4 > self.window:
            raise ValueError(f"depth_levels: must be at most window / 4 = {self.window // 4}")
        return self

    @property
    def num_books(self) -> int:
        return len(self.books)

    @property
    def underlyings(self) -> list[str]:
        """Distinct underlyings in order of first appearance."""
        return list(dict.fromkeys(self.underlying or self.books))

    @property
    def underlying_index(self) -> np.ndarray:
        """(A,) int64: index of each book's underlying in `underlyings`."""
        names = self.underlyings
        return np.array([names.index(u) for u in (self.underlying or self.books)], dtype=np.int64)

    @property
    def prices(self) -> np.ndarray:
        """(A,) int64 ticks."""
        return np.broadcast_to(np.asarray(self.initial_price, dtype=np.int64), (self.num_books,)).copy()


class SizeConfig(Section):
    """A discrete distribution of order sizes in lots: give `mean` (geometric) or `values` with `weights`."""

    mean: Annotated[Float, Field(ge=1, le=1e6)] | None = None
    values: list[Annotated[Int, Field(ge=1, le=1_000_000)]] | None = None
    weights: list[NonNegative] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.values is None) == (self.mean is None):
            raise ValueError("give either mean, or values with weights")
        if self.values is not None and (self.weights is None or len(self.weights) != len(self.values)):
            raise ValueError("weights: needs one weight per value")
        if self.values is not None and (not self.values or sum(self.weights or []) <= 0):
            raise ValueError("weights: must not all be zero")
        return self


class FlowConfig(Section):
    """Noise flow of one book: rates per second and side, by distance in ticks from the opposite best (1, 2, ...)."""

    intensity: NonNegative = 12.0  # limit orders /s a side, spread over distances as below
    distances: Annotated[Int, Field(ge=1, le=16384)] = 32  # furthest placement, ticks from the opposite best
    spread_preference: Positive = 3.0  # distance of the most frequent placement, ticks
    placement_decay: Positive = 6.0  # ticks over which placement falls off beyond the preferred distance
    market_rate: NonNegative = 2.0  # market orders /s a side
    cancel_rate: NonNegative = 0.12  # fraction of the resting quantity cancelled per second
    limit_rates: list[NonNegative] | None = None  # explicit table in place of intensity and placement
    cancel_rates: list[NonNegative] | None = None  # explicit table by distance; its last entry holds beyond
    limit_size: SizeConfig = SizeConfig(mean=3.0)
    market_size: SizeConfig = SizeConfig(mean=4.0)
    cancel_size: SizeConfig = SizeConfig(mean=3.0)
    tilt: Annotated[Float, Field(ge=0, le=100)] = (
        0.04  # P(buy) - 1/2 per tick of fundamental above the mid, market and limit orders
    )
    tilt_max: Annotated[Float, Field(ge=0, le=0.5)] = 0.2  # bound of that tilt
    warmup: Annotated[Float, Field(ge=0, le=1e5)] = (
        20.0  # seconds of flow run at reset before the first decision
    )
    initial_depth: Annotated[Int, Field(ge=0, le=1_000_000)] = 12  # lots at each level when a book is made
    initial_spread: Annotated[Int, Field(ge=1, le=1024)] = 2  # ticks when a book is made

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("limit_rates", "cancel_rates"):
            table = getattr(self, key)
            if table is not None and not 1 <= len(table) <= 16384:
                raise ValueError(f"{key}: needs 1 to 16384 entries, got {len(table)}")
        if self.limit_rates is None and not self._shape().sum() > 0.0:
            raise ValueError(
                f"spread_preference: no placement is left within {self.distances} distances at "
                f"placement_decay {self.placement_decay:g}; use larger values"
            )
        return self

    def limit_table(self) -> np.ndarray:
        """(D,) float64: limit orders per second and side at distances 1..D."""
        if self.limit_rates is not None:
            return np.asarray(self.limit_rates, dtype=np.float64)
        shape = self._shape()
        return self.intensity * shape / shape.sum()

    def _shape(self) -> np.ndarray:
        """(D,) float64: placement by distance, rising to the preferred one, then falling off exponentially."""
        i = np.arange(1, self.distances + 1, dtype=np.float64)
        rise = np.minimum(i / self.spread_preference, 1.0)
        return rise * np.exp(-np.maximum(i - self.spread_preference, 0.0) / self.placement_decay)

    def cancel_table(self) -> np.ndarray:
        """(D',) float64: fraction of resting quantity cancelled per second at distances 1..D'."""
        return np.asarray(
            self.cancel_rates if self.cancel_rates is not None else [self.cancel_rate], dtype=np.float64
        )


class RegimeConfig(Section):
    """Multipliers of the flow tables and of the fundamentals' volatility while the regime lasts."""

    limit: NonNegative = 1.0
    market: NonNegative = 1.0
    cancel: NonNegative = 1.0
    volatility: NonNegative = 1.0
    widen: Annotated[Int, Field(ge=0, le=1024)] = 0  # ticks added to every placement distance


class RegimesConfig(Section):
    kinds: dict[str, RegimeConfig] = {
        "normal": RegimeConfig(),
        "stress": RegimeConfig(limit=0.7, market=1.3, cancel=1.3, volatility=2.5, widen=2),
    }
    initial: dict[str, NonNegative] = {"normal": 0.8, "stress": 0.2}  # probabilities at reset
    switch_rates: dict[str, dict[str, NonNegative]] = {  # per second, from -> to
        "normal": {"stress": 0.002},
        "stress": {"normal": 0.01},
    }

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.kinds:
            raise ValueError("kinds: needs at least one regime")
        if len(self.kinds) > 64:
            raise ValueError(f"kinds: at most 64 regimes, got {len(self.kinds)}")
        named = (
            set(self.initial) | set(self.switch_rates) | {t for d in self.switch_rates.values() for t in d}
        )
        if unknown := sorted(named - set(self.kinds)):
            raise ValueError(
                f"initial/switch_rates: unknown regime {unknown[0]!r}; kinds are {sorted(self.kinds)}"
            )
        if abs(sum(self.initial.values()) - 1.0) > 1e-6:
            raise ValueError(f"initial: probabilities must sum to 1, got {sum(self.initial.values()):g}")
        for start, targets in self.switch_rates.items():
            if start in targets:
                raise ValueError(f"switch_rates.{start}: must not name itself")
        return self

    @property
    def names(self) -> list[str]:
        return list(self.kinds)


class StageConfig(Section):
    """One stage of a curriculum over regimes: what differs from `regimes` while it lasts. Training only."""

    until: Annotated[Float, Field(gt=0, le=1)]  # share of the training at which it ends
    initial: dict[str, NonNegative] | None = None  # probabilities at reset; None: regimes.initial
    switch: NonNegative = 1.0  # multiplier of regimes.switch_rates; 0: no episode changes its regime


class FundamentalsConfig(Section):
    volatility: PerBook = 0.4  # ticks per sqrt(second), one for all underlyings or one each
    correlation: list[list[Float]] | Float = 0.5  # matrix over underlyings, or one value for all pairs
    mean_reversion: NonNegative = 0.0  # per second, towards the initial price
    jump_rate: NonNegative = 0.0  # jumps per second and underlying
    jump_size: Annotated[Float, Field(ge=0, le=1e5)] = 0.0  # standard deviation of a jump, ticks
    venue_deviation: Annotated[Float, Field(ge=0, le=1e5)] = (
        2.0  # stationary std of a venue's deviation from its underlying, ticks
    )
    venue_reversion: Positive = 0.2  # per second, of that deviation

    def matrix(self, n: int) -> np.ndarray:
        """(n, n) float64 correlation matrix over underlyings."""
        if isinstance(self.correlation, list):
            return np.asarray(self.correlation, dtype=np.float64)
        return np.full((n, n), self.correlation) + (1.0 - self.correlation) * np.eye(n)


class ReplayConfig(Section):
    """Recorded order-book files in place of the noise flow; `files` maps each book to its LOBSTER message file."""

    required: bool = False  # a scenario made for recorded files: refuse to run it on noise flow
    files: dict[
        str, str
    ] = {}  # book -> message file (its orderbook file is found beside it); empty: noise flow
    start: NonNegative | None = None  # seconds after midnight from which episodes may start; None: data start
    end: Positive | None = None  # seconds after midnight by which episodes must end; None: data end
    snapshot_every: Annotated[Int, Field(ge=16, le=65536)] = (
        256  # messages between book snapshots held in memory
    )


class RiskConfig(Section):
    max_inventory: Annotated[Int, Field(ge=1, le=1 << 30)] = (
        200  # lots per book; an order that would break it is cut
    )
    max_drawdown: Positive | None = (
        None  # tick-lots below the peak; a breach liquidates and ends the agent's episode
    )


class MakerConfig(Section):
    count: Annotated[Int, Field(ge=0, le=64)] = 1
    actor: Actor = LEARN  # learn, nothing, a strategy, or the path of an earlier run or policy
    latency: NonNegative = 0.0  # seconds from decision to arrival, below market.dt
    quote_spread: Annotated[Float, Field(gt=0, le=1e4)] = 1.0  # ticks; the unit of the offsets
    max_offset: Annotated[Float, Field(gt=0, le=1e4)] = 8.0  # largest offset from the mid, in quote_spread
    max_size: Annotated[Int, Field(ge=1, le=1_000_000)] = 10  # lots per quote
    post_only: bool = True  # a quote that would trade at arrival slides to the best price that does not
    risk_aversion: NonNegative = 0.0  # exponential utility of the return, per tick-lot; 0: its mean counts
    gamma: Discount | None = None  # of this role; None: ppo.gamma
    gae_lambda: Fraction | None = None  # likewise
    inventory_penalty: NonNegative = 0.002  # l_inv, per lot^2 and step
    liquidity_reward: NonNegative = 0.05  # l_liq, per step of two-sided presence
    presence_distance: Positive = 5.0  # ticks from the mid within which a quote counts as presence
    risk: RiskConfig = RiskConfig()


class TakerConfig(Section):
    count: Annotated[Int, Field(ge=0, le=64)] = 0
    actor: Actor = LEARN
    latency: NonNegative = 0.0
    max_size: Annotated[Int, Field(ge=1, le=1_000_000)] = 10  # lots per step and book
    threshold: Annotated[Float, Field(ge=0, lt=1)] = 0.2  # |direction| below it means wait
    target: Annotated[Int, Field(ge=0, le=1 << 30)] = (
        100  # lots to trade per target book and episode; 0: none, it trades both ways as it likes
    )
    stop_at_target: bool = True  # orders are cut so that inventory stays between 0 and the target
    must_finish: bool = False  # never against the target, and max_size once only that still finishes it
    mirror: bool = False  # direction + is towards the target, and a seller sees the book as a buyer would
    benchmark: Literal["arrival", "twap", "mtm"] = (
        "arrival"  # paper trades that reward is measured against: all at the start, evenly in time, none
    )
    target_side: Literal["buy", "sell", "random"] = "random"
    target_books: list[str] | None = None  # None: every book
    risk_aversion: NonNegative = 0.0  # exponential utility of the return, per tick-lot; 0: its mean counts
    gamma: Discount | None = None  # of this role; None: ppo.gamma
    gae_lambda: Fraction | None = None  # likewise
    inventory_penalty: NonNegative = 0.0
    delay_penalty: NonNegative = 0.02  # l_delay, per lot remaining and step
    risk: RiskConfig = RiskConfig()


class ArbitrageurConfig(Section):
    count: Annotated[Int, Field(ge=0, le=64)] = 0
    actor: Actor = LEARN
    latency: NonNegative = 0.0
    pairs: list[tuple[str, str]] | Literal["auto", "all"] = "auto"  # auto: same-underlying pairs, else all
    max_size: Annotated[Int, Field(ge=1, le=1_000_000)] = 10  # lots per leg and step
    threshold: Annotated[Float, Field(ge=0, lt=1)] = 0.5  # signals below it do nothing
    risk_aversion: NonNegative = 0.0  # exponential utility of the return, per tick-lot; 0: its mean counts
    gamma: Discount | None = None  # of this role; None: ppo.gamma
    gae_lambda: Fraction | None = None  # likewise
    inventory_penalty: NonNegative = 0.001
    unhedged_penalty: NonNegative = 0.005  # l_unhedged, per lot of net inventory and step
    risk: RiskConfig = RiskConfig()


class AgentsConfig(Section):
    maker: MakerConfig = MakerConfig()
    taker: TakerConfig = TakerConfig()
    arbitrageur: ArbitrageurConfig = ArbitrageurConfig()


class EnvConfig(Section):
    num_envs: Annotated[Int, Field(ge=1, le=1 << 20)] = 64  # E
    episode_steps: Annotated[Int, Field(ge=1, le=1_000_000)] = 200  # decisions per episode
    stagger: bool = False  # spread the first episodes' ends over time, so that resets do not come at once
    show_regime: bool = True  # regime one-hot in the observation
    threads: Annotated[Int, Field(ge=0, le=1024)] = 0  # numba threads; 0: all cores


class GraphConfig(Section):
    edges: Literal["correlation", "underlying", "full"] = "correlation"  # edge weights between books
    encoder: Literal["sage", "gat", "mean", "mlp"] = (
        "sage"  # a node hears others by weight, by attention, all alike, or not at all
    )
    hidden: Annotated[Int, Field(ge=4, le=4096)] = 64  # H
    layers: Annotated[Int, Field(ge=1, le=8)] = 2
    heads: Annotated[Int, Field(ge=1, le=64)] = 4  # of attention (gat); must divide hidden
    shared: bool = True  # one encoder for all roles, or one each
    memory: Literal["none", "gru"] = (
        "none"  # gru: recurrent, each node remembers its embeddings of the episode
    )
    hide: list[str] = []  # node and vector features that policies see as their mean, such as gap_venues

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.encoder == "gat" and self.hidden % self.heads:
            raise ValueError(f"heads: {self.heads} must divide hidden ({self.hidden})")
        return self


class PPOConfig(Section):
    total_steps: Count = 400_000  # env steps (one env, one decision) in all
    rollout_steps: Annotated[Int, Field(ge=2, le=65536)] = 64  # T per env between updates
    epochs: Annotated[Int, Field(ge=1, le=100)] = 4
    minibatches: Annotated[Int, Field(ge=1, le=4096)] = 8
    lr: Positive = 1.5e-3
    lr_schedule: Schedule = "linear"
    lr_warmup: Fraction = 0.0  # share of the training over which lr first rises from zero
    lr_end: Fraction = 0.0  # share of lr left at the end (of a linear or cosine schedule)
    gamma: Discount = 0.99
    gae_lambda: Fraction = 0.95
    clip: Annotated[Float, Field(gt=0, lt=1)] = 0.2
    ent_coef: NonNegative = 0.0
    ent_schedule: Schedule = "linear"
    ent_decay: Fraction = 0.1  # share of ent_coef left at the end (of a linear or cosine schedule)
    vf_coef: NonNegative = 0.5
    max_grad_norm: Positive = 0.5
    target_kl: Positive | None = 0.03  # stop an update's epochs beyond 1.5 times it
    initial_std: Positive = 0.35  # of the Gaussian policies, in units of half the action range
    std_end: Positive | None = (
        None  # bound on it, falling geometrically from initial_std to this; None: no bound
    )
    norm_adv: bool = True
    norm_obs: bool = True
    norm_reward: bool = True
    sharing: Literal["role", "agent", "all"] = (
        "role"  # one policy per role, one per agent, or one trunk for all roles
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.std_end is not None and self.std_end > self.initial_std:
            raise ValueError(
                f"std_end: must be at most initial_std ({self.initial_std:g}), got {self.std_end:g}"
            )
        return self


class RunConfig(Section):
    seed: Annotated[Int, Field(ge=0, lt=1 << 62)] = 0
    dir: str = "artifacts"  # runs go to dir/name/run
    checkpoint_every: Count = 20  # updates
    evaluate_every: Annotated[Int, Field(ge=0)] = 20  # updates between evaluations; 0: none
    evaluate_episodes: Annotated[Int, Field(ge=2, le=1 << 20)] = 64  # in each, the same ones
    best_role: Literal["maker", "taker", "arbitrageur"] | None = (
        None  # whose reward says which policy is the best; None: the sum over learning roles
    )
    patience: Count | None = None  # evaluations without improvement that end the training; None: never
    torch_threads: Annotated[Int, Field(ge=0, le=1024)] = (
        1  # more do not pay at these sizes; 0: torch's own choice
    )
    tensorboard: bool = True
    progress: bool = True
    device: Literal["cpu"] = "cpu"


class Config(Section):
    """The whole tree. Make one with `load_config`; `model_copy` does not validate, so change it through overrides."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] = "default"
    market: MarketConfig = MarketConfig()
    flow: FlowConfig = FlowConfig()
    flow_per_book: dict[str, dict[str, Any]] = {}  # book -> the keys of `flow` in which it differs
    regimes: RegimesConfig = RegimesConfig()
    curriculum: list[StageConfig] = []  # stages of training, in order; after the last: regimes as configured
    fundamentals: FundamentalsConfig = FundamentalsConfig()
    replay: ReplayConfig = ReplayConfig()
    agents: AgentsConfig = AgentsConfig()
    env: EnvConfig = EnvConfig()
    graph: GraphConfig = GraphConfig()
    ppo: PPOConfig = PPOConfig()
    run: RunConfig = RunConfig()

    @cached_property
    def flows(self) -> tuple[FlowConfig, ...]:
        """One FlowConfig per book, in the order of market.books."""
        base = self.flow.model_dump(exclude_unset=True)
        return tuple(
            FlowConfig.model_validate(base | self.flow_per_book.get(b, {})) for b in self.market.books
        )

    @cached_property
    def pairs(self) -> np.ndarray:
        """(P, 2) int64: the arbitrageurs' pairs as book indices, first < second."""
        n, given, under = self.market.num_books, self.agents.arbitrageur.pairs, self.market.underlying_index
        every = [(i, j) for i in range(n) for j in range(i + 1, n)]
        if isinstance(given, list):
            names = self.market.books
            chosen = [(min(i, j), max(i, j)) for i, j in ((names.index(a), names.index(b)) for a, b in given)]
        elif given == "auto":
            chosen = [(i, j) for i, j in every if under[i] == under[j]] or every
        else:
            chosen = every
        return np.array(chosen, dtype=np.int64).reshape(-1, 2)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # holds lists

    @property
    def counts(self) -> dict[str, int]:
        """Number of agents of each role present, in the order of ROLES."""
        return {r: c for r in ROLES if (c := getattr(self.agents, r).count) > 0}

    @property
    def learners(self) -> list[str]:
        """Roles present whose policies are to be learned, in the order of ROLES."""
        return [r for r in self.counts if getattr(self.agents, r).actor == LEARN]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for check in (
            _check_flows,
            _check_curriculum,
            _check_fundamentals,
            _check_replay,
            _check_agents,
            _check_learning,
        ):
            check(self)
        return self


def _check_flows(cfg: Config) -> None:
    if unknown := sorted(set(cfg.flow_per_book) - set(cfg.market.books)):
        raise ValueError(f"flow_per_book: unknown book {unknown[0]!r}; books are {cfg.market.books}")
    for book in cfg.flow_per_book:
        try:
            FlowConfig.model_validate(cfg.flow.model_dump(exclude_unset=True) | cfg.flow_per_book[book])
        except ValidationError as error:
            raise ValueError("; ".join(_messages(error, FlowConfig, ("flow_per_book", book)))) from None
    for book, flow in zip(cfg.market.books, cfg.flows, strict=True):
        reach = len(flow.limit_table()) + max(r.widen for r in cfg.regimes.kinds.values())
        if reach >= cfg.market.window:
            raise ValueError(
                f"flow ({book}): placements reach {reach} ticks from the opposite best, beyond market.window "
                f"({cfg.market.window}); use a window of at least {1 << reach.bit_length()}"
            )


def _check_curriculum(cfg: Config) -> None:
    before = 0.0
    for i, stage in enumerate(cfg.curriculum):
        key = f"curriculum.{i}"
        if stage.until <= before:
            raise ValueError(
                f"{key}.until: must be above that of the stage before ({before:g}), got {stage.until:g}"
            )
        before = stage.until
        initial = stage.initial or {}
        if unknown := sorted(set(initial) - set(cfg.regimes.kinds)):
            raise ValueError(
                f"{key}.initial: unknown regime {unknown[0]!r}; kinds are {sorted(cfg.regimes.kinds)}"
            )
        if stage.initial is not None and abs(sum(initial.values()) - 1.0) > 1e-6:
            raise ValueError(f"{key}.initial: probabilities must sum to 1, got {sum(initial.values()):g}")
    if cfg.curriculum and cfg.replay.files:
        raise ValueError("curriculum: a replayed market has the regimes of its record, none to choose")


def _check_fundamentals(cfg: Config) -> None:
    n, f = len(cfg.market.underlyings), cfg.fundamentals
    if isinstance(f.volatility, list) and len(f.volatility) != n:
        raise ValueError(
            f"fundamentals.volatility: needs one value per underlying ({n}), got {len(f.volatility)}"
        )
    vols = f.volatility if isinstance(f.volatility, list) else [f.volatility]
    if min(vols) < 0 or max(vols) > 1e5:
        raise ValueError(
            "fundamentals.volatility: must not be negative, and at most 100000 ticks per sqrt(second)"
        )
    venues = n < cfg.market.num_books
    if venues and 6.0 * f.venue_deviation > min(cfg.market.prices):
        raise ValueError(
            f"fundamentals.venue_deviation: {f.venue_deviation:g} ticks would take prices below zero; "
            f"at most a sixth of market.initial_price ({min(cfg.market.prices)})"
        )
    try:
        c = f.matrix(n)
    except ValueError:
        raise ValueError("fundamentals.correlation: rows must have equal lengths") from None
    if c.shape != (n, n):
        raise ValueError(
            f"fundamentals.correlation: must be {n} x {n} (underlyings), got {' x '.join(map(str, c.shape))}"
        )
    if not np.allclose(c, c.T, atol=1e-9):
        raise ValueError("fundamentals.correlation: must be symmetric")
    if not np.allclose(np.diag(c), 1.0, atol=1e-9):
        raise ValueError("fundamentals.correlation: the diagonal must be 1")
    if np.abs(c).max() > 1.0 + 1e-9 or np.linalg.eigvalsh(c).min() < -1e-8:
        raise ValueError(
            f"fundamentals.correlation: must be positive semidefinite with entries in [-1, 1]; "
            f"its smallest eigenvalue is {np.linalg.eigvalsh(c).min():.4g}"
        )


def _check_replay(cfg: Config) -> None:
    files = cfg.replay.files
    if not files:
        return
    if set(files) != set(cfg.market.books):
        raise ValueError(
            f"replay.files: needs one file for each of market.books {cfg.market.books}, got {sorted(files)}"
        )
    r = cfg.replay
    if r.start is not None and r.end is not None and r.end - r.start < cfg.market.dt * cfg.env.episode_steps:
        raise ValueError(
            f"replay.start/end: {r.end - r.start:g} s cannot hold an episode of "
            f"{cfg.env.episode_steps} steps of {cfg.market.dt:g} s"
        )


def _check_agents(cfg: Config) -> None:
    books, agents = cfg.market.books, cfg.agents
    if sum(cfg.counts.values()) > 128:
        raise ValueError(f"agents: at most 128 in one market, got {sum(cfg.counts.values())}")
    for role in ROLES:
        if getattr(agents, role).latency >= cfg.market.dt:
            raise ValueError(f"agents.{role}.latency: must be below market.dt ({cfg.market.dt:g} s)")
    taker = agents.taker
    if unknown := sorted(set(taker.target_books or []) - set(books)):
        raise ValueError(f"agents.taker.target_books: unknown book {unknown[0]!r}; books are {books}")
    if taker.target == 0 and taker.target_books is not None:
        raise ValueError(
            "agents.taker.target_books: says where a target is to be traded, but agents.taker.target is 0"
        )
    reach = taker.max_size * cfg.env.episode_steps
    if taker.count and taker.target > min(reach, taker.risk.max_inventory):
        raise ValueError(
            f"agents.taker.target: {taker.target} lots cannot be reached: max_size * env.episode_steps is {reach}, "
            f"risk.max_inventory is {taker.risk.max_inventory}"
        )
    arb = agents.arbitrageur
    if isinstance(arb.pairs, list):
        for pair in arb.pairs:
            for book in pair:
                if book not in books:
                    raise ValueError(f"agents.arbitrageur.pairs: unknown book {book!r}; books are {books}")
            if pair[0] == pair[1]:
                raise ValueError(f"agents.arbitrageur.pairs: {list(pair)} must name two different books")
        if len({frozenset(p) for p in arb.pairs}) != len(arb.pairs):
            raise ValueError("agents.arbitrageur.pairs: a pair is given twice")
    if arb.count and not len(cfg.pairs):
        raise ValueError("agents.arbitrageur: needs at least two books (market.books) to form a pair")


def _check_learning(cfg: Config) -> None:
    check_minibatches(cfg, cfg.env.num_envs)


def check_minibatches(cfg: Config, envs: int) -> None:
    """Raise ValueError if a rollout over `envs` environments cannot be cut into ppo.minibatches equal parts."""
    parts, samples = cfg.ppo.minibatches, cfg.ppo.rollout_steps * envs
    if cfg.graph.memory != "none" and envs % parts:
        raise ValueError(
            f"ppo.minibatches: {parts} must divide env.num_envs = {envs} with graph.memory: {cfg.graph.memory}, "
            "whose minibatches are whole environments"
        )
    if samples % parts:
        raise ValueError(f"ppo.minibatches: {parts} must divide ppo.rollout_steps * env.num_envs = {samples}")


def _suggest(key: str, model: Any) -> str:
    fields = list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    close = difflib.get_close_matches(key, fields, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known keys: {', '.join(fields)}" if fields else ""


def _model_at(model: Any, path: Iterable[Any]) -> Any:
    """The section class that holds the last key of `path`, or None where the path leaves the tree."""
    for part in path:
        if part == "kinds":
            model = RegimesConfig
            continue
        if model is RegimesConfig:
            model = RegimeConfig
            continue
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return None
        model = field.annotation
    return model


def _messages(error: ValidationError, model: Any = Config, prefix: tuple[str, ...] = ()) -> list[str]:
    """One line per fault: the key's full path, what was wrong and what would be right."""
    lines: dict[str, str] = {}
    for fault in error.errors():
        loc = [
            p
            for p in fault["loc"]
            if not (isinstance(p, str) and ("[" in p or p in ("float", "int", "list")))
        ]
        path = ".".join(map(str, (*prefix, *loc)))
        if fault["type"] == "extra_forbidden":
            lines.setdefault(path, f"{path}: unknown key{_suggest(str(loc[-1]), _model_at(model, loc[:-1]))}")
            continue
        text = fault["msg"].removeprefix("Value error, ")
        joint = (
            "" if not path else f"{path}." if fault["type"] == "value_error" and ": " in text else f"{path}: "
        )
        given = fault.get("input")
        shown = (
            f" (got {given!r})"
            if fault["type"] != "value_error" and isinstance(given, str | int | float)
            else ""
        )
        lines.setdefault(path, f"{joint}{text}{shown}")
    # Where a value may be of several kinds, each kind complains: keep the complaint that goes deepest.
    return [
        line for path, line in lines.items() if not path or not any(p.startswith(f"{path}.") for p in lines)
    ]


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (the second would silently win)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool) and str(key) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} given twice", key_node.start_mark
                )
            seen.add(str(key))
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Parse a YAML file of settings. Raises ConfigError with file and line for anything but a mapping."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_YAML_BYTES} bytes, not a config file")
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: the top level must be a mapping of sections, got {type(data).__name__}")
    return data


_DEFAULT_TABLES: dict[tuple[str, ...], dict[str, Any]] = {
    ("regimes", name): table
    for name, table in RegimesConfig().model_dump(mode="json").items()
    if isinstance(table, dict)
}


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b.c=value` in place; the value is read as YAML."""
    key, sep, text = override.partition("=")
    if not sep or not all(part.strip() for part in key.split(".")):
        raise ConfigError(f"--set {override!r}: must have the form section.key=value")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {override!r}: value is not valid YAML: {error}") from None
    *parents, last = key.strip().split(".")
    node = tree
    for depth, part in enumerate(parents):
        child = node.get(part)
        if child is None:  # a table with default entries (the regimes) keeps those that are not named
            child = _DEFAULT_TABLES.get(tuple(parents[: depth + 1]), {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override!r}: {part!r} is a value, not a section")
        node[part] = child = dict(child)
        node = child
    node[last] = value


def make_section(
    section: type[AnySection], data: Mapping[str, Any], overrides: Iterable[str] = (), source: str = "config"
) -> AnySection:
    """Validate a tree of plain values as `section` after applying `key=value` overrides. Raises ConfigError."""
    tree = dict(data)
    for override in overrides:
        _apply(tree, override)
    # A section written with every key commented out reads as null: it means the defaults.
    tree = {k: v for k, v in tree.items() if v is not None or k not in section.model_fields}
    try:
        return section.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {line}" for line in _messages(error, section))) from None


def make_config(data: Mapping[str, Any], overrides: Iterable[str] = (), source: str = "config") -> Config:
    """Validate a tree of plain values after applying `key=value` overrides. Raises ConfigError."""
    return make_section(Config, data, overrides, source)


def load_config(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a scenario file and apply overrides such as `["env.num_envs=256", "ppo.lr=3e-4"]`.

    `path=None` starts from the defaults. Raises ConfigError, naming the key and what would be right.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: expected a list of 'key=value', got the string {overrides!r}")
    if path is None:
        return make_config({}, overrides, "defaults")
    return make_config(read_yaml(path), overrides, str(path))


def dump_config(cfg: Config) -> str:
    """The resolved tree as YAML; `load_config` of it gives an equal Config."""
    return yaml.safe_dump(cfg.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)
