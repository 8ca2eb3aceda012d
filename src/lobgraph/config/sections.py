"""The sections of the configuration tree: every setting, its default, its unit and its bounds.

Units: prices in ticks, quantities in lots, times in seconds, rates per second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .types import (
    LEARN,
    Actor,
    Aversion,
    Count,
    Deviation,
    Discount,
    Float,
    Fraction,
    Int,
    NonNegative,
    PerBook,
    Positive,
    Schedule,
    Section,
)

MOST_BOOKS = 1024


def device_name(name: str) -> str:
    """The name of a device as it is; ValueError for anything else. Whether there is such a device is known where it is used."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
        raise ValueError(f"must be auto, cpu, cuda or cuda:N (GPU number N), got {name!r}")
    return name


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
            if not 1 <= n <= MOST_BOOKS:
                raise ValueError(f"books: a count must be 1 to {MOST_BOOKS}, got {n}")
            data = {**data, "books": [f"A{i}" for i in range(n)]}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.books or len(set(self.books)) != len(self.books):
            raise ValueError(f"books: names must be present and unique, got {self.books[:10]}")
        if len(self.books) > MOST_BOOKS:
            raise ValueError(f"books: at most {MOST_BOOKS}, got {len(self.books)}")
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


class StageConfig(Section):
    """One stage of a curriculum over regimes: what differs from `regimes` while it lasts. Training only."""

    until: Annotated[Float, Field(gt=0, le=1)]  # share of the training at which it ends
    initial: dict[str, NonNegative] | None = None  # probabilities at reset; None: regimes.initial
    switch: NonNegative = 1.0  # multiplier of regimes.switch_rates; 0: no episode changes its regime


class FundamentalsConfig(Section):
    volatility: PerBook = 0.4  # ticks per sqrt(second), one for all underlyings or one each
    correlation: list[list[Float]] | Float = 0.5  # matrix over underlyings, or one value for all pairs
    mean_reversion: NonNegative = 0.0  # per second, towards the initial price
    lag: PerBook = 0.0  # mean delay, seconds, with which an underlying's flow learns of its moves; one for all or one each
    news_rate: NonNegative = 0.0  # per second: fundamentals move all together, when news comes (volatility as given); 0: all the time
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
    """Recorded order-book files in place of the noise flow; `files` maps each book to its LOBSTER message file.

    Tables of `flow`, regimes and the moves of fundamentals then have no part; features that are off unless given are refused.
    """

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
    max_position: Annotated[Float, Field(gt=0, le=1e15)] | None = (
        None  # tick-lots, |inventory| * mid at a decision, per book; an order that would break it is cut
    )
    breach: Literal["cut", "liquidate"] = (
        "cut"  # where the mid takes a position past max_position: no order enlarges it, or as max_drawdown does
    )
    max_order_rate: Positive | None = (
        None  # messages per second and book that place or change orders; those beyond are not sent
    )
    order_window: Positive = 10.0  # seconds over which max_order_rate counts: whole decisions, at most 62
    max_drawdown: Positive | None = (
        None  # tick-lots below the peak; a breach liquidates and ends the agent's episode
    )

    def messages(self, dt: float) -> tuple[int, int]:
        """How many messages may be sent (0: any number) in how many decisions, which are `dt` seconds apart."""
        steps = round(self.order_window / dt)
        if self.max_order_rate is None:
            return 0, steps
        return math.floor(self.max_order_rate * steps * dt + 1e-9), steps


class MakerConfig(Section):
    count: Annotated[Int, Field(ge=0, le=64)] = 1
    actor: Actor = LEARN  # learn, nothing, a strategy, or the path of an earlier run or policy
    latency: NonNegative = 0.0  # seconds from decision to arrival, below market.dt
    quote_spread: Annotated[Float, Field(gt=0, le=1e4)] = 1.0  # ticks; the unit of the offsets
    max_offset: Annotated[Float, Field(gt=0, le=1e4)] = 8.0  # largest offset from the mid, in quote_spread
    max_size: Annotated[Int, Field(ge=1, le=1_000_000)] = 10  # lots per quote
    post_only: bool = True  # a quote that would trade at arrival slides to the best price that does not
    risk_aversion: Aversion = 0.0  # exponential utility of the return, per tick-lot; 0: its mean counts
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
    risk_aversion: Aversion = 0.0  # exponential utility of the return, per tick-lot; 0: its mean counts
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
    risk_aversion: Aversion = 0.0  # exponential utility of the return, per tick-lot; 0: its mean counts
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
    initial_std: Deviation = 0.35  # of the Gaussian policies, in units of half the action range
    std_end: Deviation | None = (
        None  # bound on it, falling geometrically from initial_std to this; None: no bound
    )
    norm_adv: bool = True
    norm_obs: bool = True
    norm_reward: bool = True
    # of the policies' matrix products: fp32; tf32 (on GPUs; on the CPU the same as fp32); bf16: bfloat16 in the forward pass. All else is float32
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    compile: bool = False  # the policies' forward pass through torch.compile; a minute or two at the start
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
    keep: Count = 2  # states of the training that can be resumed, the last ones
    evaluate_every: Annotated[Int, Field(ge=0)] = 20  # updates between evaluations; 0: none
    evaluate_episodes: Annotated[Int, Field(ge=2, le=1 << 20)] = 64  # in each, the same ones
    best_role: Literal["maker", "taker", "arbitrageur"] | None = (
        None  # whose reward says which policy is the best; None: the sum over learning roles
    )
    # evaluations that end the training if in none the score has risen by more than the rise's standard error (the same episodes);
    # those before the curriculum's end do not count; None: never
    patience: Count | None = None
    torch_threads: Annotated[Int, Field(ge=0, le=1024)] = (
        1  # more do not pay at these sizes; 0: torch's own choice
    )
    # train together on one device each, with env.num_envs / processes environments each
    processes: Annotated[Int, Field(ge=1, le=64)] = 1
    # YAML reads a bare off as false
    cuda_graphs: Annotated[Literal["auto", "off"], BeforeValidator(lambda v: "off" if v is False else v)] = (
        "auto"  # on a GPU record rollout and update once and replay them
    )
    tensorboard: bool = True
    tensorboard_mb: Count = (
        256  # of its files together: the oldest go first; metrics.parquet keeps every update
    )
    loggers: list[
        Literal["wandb", "mlflow"]
    ] = []  # where metrics go too; each needs the extra of its name (docs/runs.md)
    progress: bool = True
    # where a training runs: auto (the GPU where there is one that can be used, else the CPU), cpu, cuda or cuda:N
    device: Annotated[str, AfterValidator(device_name)] = "auto"
