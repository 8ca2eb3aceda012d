"""Every array of the market and the codes in them: parameters in, state changed in place, nothing hidden elsewhere.

Dimensions: E environments, A books, W window ticks, G agents of all roles together, S order slots (2 G: slot 2g is
agent g's bid, 2g + 1 its ask), R regimes, U underlyings, D distances, B entries of a size table. Prices are int ticks,
quantities int lots, cash int tick-lots, the fundamental int in 1/65536 tick, so that sums are exact and CPU and GPU agree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# --- tape codes: what a recorded message does to the visible book ---
TAPE_LIMIT = 0  # adds qty at px on `side`
TAPE_CANCEL = 1  # removes qty at px on `side`
TAPE_TRADE = 2  # an aggressive order consumes qty of `side`, from the best price to px
TAPE_SET = 3  # the recorded quantity at px becomes qty: a level coming into view (qty > 0) or leaving it (0)
TAPE_HIDDEN = 4  # a trade against hidden quantity: the visible book does not change
TAPE_HALT = 5  # trading halted or resumed: the book does not change


class Tape(NamedTuple):
    """Recorded messages of A books one after another; book a owns messages `start[a]:start[a + 1]`, sorted by time.

    Snapshot s of book a (row `snap_start[a] + s`) is the visible book before message `start[a] + s * every`.
    """

    time: np.ndarray  # (M,) int64 ns after midnight
    kind: np.ndarray  # (M,) uint8 TAPE_*
    side: np.ndarray  # (M,) int8 +1: the bid side's quantity changes, -1: the ask side's
    px: np.ndarray  # (M,) int32 ticks
    qty: np.ndarray  # (M,) int32 lots
    start: np.ndarray  # (A + 1,) int64
    snap_px: np.ndarray  # (S, 2, L) int32 ticks; [:, 0] bids, [:, 1] asks, best first
    snap_qty: np.ndarray  # (S, 2, L) int32 lots; 0: no such level
    snap_start: np.ndarray  # (A + 1,) int64
    every: int  # messages between snapshots


# --- header of a book: int64 columns of State.head ---
BID = 0  # best bid, ticks; the last one seen while the side is empty
ASK = 1  # best ask, likewise
LOW = 2  # lowest price of the window; it spans LOW .. LOW + W - 1
NOISE_BID = 3  # resting lots on the bid side that no agent owns
NOISE_ASK = 4
OWN_BID = 5  # resting lots on the bid side owned by agents
OWN_ASK = 6
MASK = 7  # bit (px & 63) is set wherever an agent's order may rest: the test that keeps noise fast
ADDED = 8  # lots ever added; conservation: sum(qty) = ADDED - CANCELLED - TRADED - DROPPED
CANCELLED = 9
TRADED = 10
DROPPED = 11  # lots lost at the window's edge
CLIPPED = 12  # recorded lots that no longer fitted (an agent's trade had removed them)
EVENTS = 13  # noise events or recorded messages so far
TAPE_POS = 14  # next recorded message of this book
OFI = 15  # order-flow imbalance in this step, lots: what came to the best bid less what left it, minus the ask's
VOLUME = 16  # lots traded in this step
SIGNED = 17  # bought less sold by aggressors in this step, lots
UNFILLED = 18  # lots of market orders that found no counterpart (but perhaps their own agent's)
MATCHING = 19  # FIFO or PRO_RATA; kept when a book is made anew
ARRIVED = (
    20  # best bid + best ask when the last incoming order arrived: twice the mid its fills are measured from
)
LOG_ROOM = (
    21  # entries the log of events holds, see below; 0: nothing is logged. Kept, as the log is, by a new book
)
LOGGED = 22  # entries since it was last emptied; beyond LOG_ROOM they are counted and lost
STEP_NS = (
    23  # time of the step's start: ns of the clock, from 0 in synthetic markets, after midnight in replay
)
NOW_NS = 24  # time in the step of what is happening, ns
HEAD = 25
# Behind HEAD: what the features of the flow remember of a book (market/features.py).
EXCITED_AT = HEAD  # time to which the excitations have fallen off, 2^-20 s of flow time
ACTIVITY = HEAD + 1  # multiplier of all rates, 1/4096: flow time runs so much faster
SCALE = HEAD + 2  # multipliers of the rates by type, 1/4096: 2 * kind + (0 bid or buy, 1 ask or sell)
COUNT = HEAD + 8  # events by type in this step
RATE = HEAD + 14  # rates by type after the last event, 2^-20 /s
EXCITED = HEAD + 20  # rates by type over their means as events excite them, 1/2^24
BESIDE = (
    HEAD + 26
)  # while the book runs alone, before an episode: what other books would add to EXCITED in the mean
BASE = (
    HEAD + 27
)  # this step's rates by type before the state of the book and the excitation, as Flow.type_rate
EXCITE = HEAD + 33  # its parts by decay and type; then a signed length for each hidden order
TYPES = 6
KIND_LIMIT, KIND_MARKET, KIND_CANCEL = 0, 1, 2
FIFO, PRO_RATA = 0, 1  # queue discipline at a level
ALLOW, CANCEL_RESTING, CANCEL_INCOMING, CANCEL_BOTH, DECREMENT = 0, 1, 2, 3, 4  # self-trade policy

# --- log of events: rows of LOG int64 columns at the end of the header's array ---
# An array more in Book would be handed to every kernel, logged or not.
LOG_TIME = 0  # ns, STEP_NS + NOW_NS
LOG_KIND = 1
LOG_SIDE = 2  # +1: bids change, -1: asks
LOG_PX = 3  # ticks
LOG_LOTS = 4
LOG_PLACE = 5  # place in the queue, see each kind
LOG_WHO = 6  # an agent's number, or -1 for the noise traders and the tape
LOG = 7
LOG_REST = 0  # an order, or what is left of it, comes to rest behind LOG_PLACE lots
LOG_CANCEL = 1  # an agent's order, behind LOG_PLACE lots, is cut; of the noise a run of lots that starts behind LOG_PLACE noise lots and wraps
LOG_FILL = (
    2  # part of the trade whose LOG_TRADE follows: from the order of agent LOG_WHO, behind LOG_PLACE lots
)
LOG_TRADE = 3  # all lots that the incoming order of LOG_WHO takes from the level
LOG_DROP = 4  # the level leaves the window with all its lots
LOG_CLEAR = 5  # a new book: empty

# --- account of an agent in a book: int64 columns of State.account; row G is the noise traders' ---
INVENTORY = 0  # lots
CASH = 1  # tick-lots
PASSIVE_NOTIONAL = 2  # tick-lots traded by resting orders, the base of the rebate
AGGRESSIVE_NOTIONAL = 3  # tick-lots traded by incoming orders, the base of the fee
PASSIVE_BOUGHT = 4  # lots in this step
PASSIVE_SOLD = 5
AGGRESSIVE_BOUGHT = 6
AGGRESSIVE_SOLD = 7
CUT = 8  # lots of orders cut by the inventory limit, this episode
EDGE = (
    9  # half tick-lots, this episode: what its fills were better than the mid at the incoming order's arrival
)
CUT_VALUE = 10  # lots of orders cut by the limit of a position's value, this episode
CUT_RATE = 11  # messages not sent for the limit of their rate, this episode
REFUSED = 12  # messages refused while the book was halted, this episode
MOST = 13  # lots that the value limit lets the agent hold in this step
SENT = 14  # bit k: a message was sent k steps ago
ACCOUNT = 15

# --- clock of an environment: int64 columns of State.clock ---
EPISODE = 0
STEP = 1  # decisions taken in this episode
REGIME = 2
START_NS = 3  # replay: time of the episode's start
CLOCK = 4

# --- message of an agent to a book in one step: int32 columns of State.message ---
ACTION = 0  # ACT_*
BID_PX = 1
BID_QTY = 2
ASK_PX = 3
ASK_QTY = 4
MARKET_QTY = 5  # signed lots, + buys
MESSAGE = 6
ACT_NONE = 0
ACT_QUOTE = 1  # replace both resting quotes
ACT_MARKET = 2

# --- running features of a book: float64 columns of State.feature ---
MID_PREV = 0  # mid at the last decision, ticks
MID_START = 1  # mid at the episode's start
MID_SLOW = 2  # exponential average of the mid
VARIANCE = 3  # exponential average of squared one-step moves, ticks^2
FEATURE = 4

NOW, BEFORE, PEAK = 0, 1, 2
CAUSE = 2  # column of State.active: why the agent's episode ended, one of the next
GOING_ON, BY_DRAWDOWN, BY_VALUE = 0, 1, 2
ORDER_PX, ORDER_REST, ORDER_AHEAD, ORDER_SHIFT = 0, 1, 2, 3  # rows of State.order, see Book

# --- constants of a book: int64 columns of Params.book ---
INITIAL_PX = 0  # ticks
INITIAL_DEPTH = 1  # lots a level
INITIAL_SPREAD = 2  # ticks
INITIAL_LEVELS = 3  # levels filled a side
WARMUP_NS = 4  # flow run before the first decision
UNDERLYING = 5
VENUE_MOVE = 6  # deviation's move per step, 1/65536 tick; 0 for a book that is its underlying
VENUE_STD = 7  # its stationary deviation
BOOK_COLUMNS = 8

# --- constants of an agent: int64 columns of Params.agent, float64 columns of Params.agent_float ---
ROLE = 0  # MAKER, TAKER, ARBITRAGEUR
SLOT = 1  # number within its role
MAX_INVENTORY = 2  # lots per book
MAX_SIZE = 3  # lots
QUOTE_SPREAD = 4  # 1/65536 tick, unit of a maker's offsets
POST_ONLY = 5
TARGET_SIDE = 6  # +1 buy, -1 sell, 0 drawn at reset
STOP_AT_TARGET = 7
FREE = 8  # 1: a taker without a target trades every book both ways, up to its inventory limit
MUST_FINISH = 9
BENCHMARK = 10  # MTM, ARRIVAL, TWAP: what a taker's reward is measured against
MIRROR = 11
MAX_POSITION = 12  # half tick-lots per book; 0: no limit
RATE_MOST = 13  # messages in RATE_STEPS decisions, per book; 0: no limit
RATE_STEPS = 14
LIQUIDATE_VALUE = 15  # 1: a position that the mid takes past MAX_POSITION ends the agent's episode
AGENT_COLUMNS = 16
MTM, ARRIVAL, TWAP = 0, 1, 2
LATENCY = 0  # seconds
MAX_DRAWDOWN = 1  # tick-lots; inf: no limit
MAX_OFFSET = 2  # in quote_spread
PRESENCE = 3  # ticks
THRESHOLD = 4
INVENTORY_PENALTY = 5
OWN_WEIGHT = 6  # weight of the role's own reward term

# --- an event: int64 columns of Params.stress ---
CRASH, VOLATILITY, DROUGHT, SHOCK, FAT_FINGER, HALT = 0, 1, 2, 3, 4, 5  # in the order of config.stress.SHAPES
EVENT_KIND = 0
EVENT_STEP = 1  # in which it begins; AT_RANDOM: drawn at reset; BY_RATE: drawn in every step; NEVER
EVENT_CHANCE = 2  # per step, 1/2^32
EVENT_STARTS = 3  # steps in which it may begin, the first ones
EVENT_LENGTH = 4  # steps
EVENT_SIZE = 5  # multiplier in 1/4096, or lots
EVENT_SHARE = 6  # of the noise lots that leave at its start, 1/65536
EVENT_SIDE = 7  # BUY, SELL, BOTH, or 0: drawn at its start
EVENT_SHOWN = 8
EVENT_BOOKS = 9  # and on: for each book whether it is hit; of a shock by how much, 1/65536 tick
AT_RANDOM, BY_RATE, NEVER = -1, -2, -3
BUY, SELL, BOTH = 1, -1, 2

# --- what an event does in an environment: int64 columns of State.event ---
BEGINS = 0  # step of the next start that is known; -1: none
SINCE_STEP = 1  # first step of the last one
UNTIL_STEP = 2  # step after its last
WAY = 3  # BUY, SELL, BOTH
EVENT = 4

# --- a book under stress: int64 columns of State.stress ---
HALTED_UNTIL = 0  # step in which trading resumes
HALTS = 1  # times that the circuit breaker has halted it in this episode
PATH_START = 2  # step of the first mid that the circuit breaker looks at
PATH = 3  # and on: twice the mid at step t in column PATH + t % window

# --- the circuit breaker: int64 entries of Params.breaker ---
BREAK_MOVE = 0  # half ticks; 0: counted in percent
BREAK_PART = 1  # 1e-6 of the mid
BREAK_WINDOW = 2  # steps; 0: no circuit breaker
BREAK_STEPS = 3  # that a halt lasts
BREAK_ALL = 4  # 1: every book is halted with the one that moved
BREAKER = 5

# --- columns of Flow.book and Flow.rate ---
TILT = 0  # 1/65536 of probability per tick of mispricing
TILT_MAX = 1
ALIAS_LEN = 2  # entries of the book's tables
ACCEPT_LEN = 3
RICH = 4  # 1: the flow has features: rates by type, see market/features.py
OWN = 5  # 1: tables count from the side's own best
INSIDE = 6  # entries of the placement table that better it
QUEUE_SHIFT = 7  # from EXACT_LOTS on, lots at best >> this count in Flow.queue_bin
ACTIVE_META = 8  # hidden orders at any time; 0: none
META_SHARE = 9  # of market orders, 1/65536
FROM_OTHERS = 10  # share of the mean rates that events of other books bring, 1/2^24
OTHERS_FIRST = 11  # the excitation by other books with which a first step begins, 1/2^24
ROUND_LOT = 12  # lots
REVISION = 13  # chance that stale quotes are revised as a step begins, 1/2^32
FLOW_COLUMNS = 14
EXACT_LOTS = 512
RATE_LIMIT, RATE_MARKET, RATE_CANCEL = 0, 1, 2

MAKER, TAKER, ARBITRAGEUR = 0, 1, 2
SIZE_LIMIT, SIZE_MARKET, SIZE_CANCEL = 0, 1, 2
Q16 = 16  # fractional bits of fixed-point numbers


class Book(NamedTuple):
    """Views of one book's rows, what the functions of book.py take."""

    qty: np.ndarray  # (W,) int32 lots at price p in slot p & (W - 1), agents' included
    head: np.ndarray  # (HEAD + memory + LOG * LOG_ROOM,) int64
    px: np.ndarray  # (S,) int32 ticks of the agents' resting orders
    rest: np.ndarray  # (S,) int32 lots remaining; 0: no order
    ahead: np.ndarray  # (S,) int32 lots before it at its level
    shift: np.ndarray  # (S,) int32 work array of cancel_noise and allot
    account: np.ndarray  # (G + 1, ACCOUNT) int64


class State(NamedTuple):
    """All that changes in a step. Made by `make_state`; every array C-contiguous, modified in place by step.py."""

    qty: np.ndarray  # (E, A, W) int32 lots
    head: np.ndarray  # (E, A, HEAD + memory + LOG * LOG_ROOM) int64
    order: np.ndarray  # (E, A, 4, S) int32 rows ORDER_*
    account: np.ndarray  # (E, A, G + 1, ACCOUNT) int64
    message: np.ndarray  # (E, A, G, MESSAGE) int32
    arrival: np.ndarray  # (E, A, G) int64 work array: agents in order of arrival
    feature: np.ndarray  # (E, A, FEATURE) float64
    clock: np.ndarray  # (E, CLOCK) int64
    fundamental: np.ndarray  # (E, U) int64, 1/65536 tick
    news: np.ndarray  # (E, U) int64, 1/65536 tick: where the fundamental would be without its lag
    deviation: np.ndarray  # (E, A) int64, 1/65536 tick: the venue's deviation from its underlying
    event: np.ndarray  # (E, K, EVENT) int64
    stress: np.ndarray  # (E, A, PATH + the circuit breaker's window) int64
    target: np.ndarray  # (E, G, A) int64 signed lots to trade in this episode, + buys
    equity: np.ndarray  # (E, G, 2) int64 half tick-lots marked to market before fees, columns NOW (at this decision) and BEFORE
    money: (
        np.ndarray
    )  # (E, G, 3) float64 tick-lots: fees paid NOW and BEFORE, and PEAK, the highest equity after fees
    active: (
        np.ndarray
    )  # (E, G, 3) uint8, columns NOW and BEFORE: whether the agent's episode goes on; CAUSE: why not


class Flow(NamedTuple):
    """Tables of the noise flow, derived from the configuration by `tables.make_flow`. D, C, S, Q: the longest of all books."""

    rate: (
        np.ndarray
    )  # (R, A, 3) float64 per second: limit, market orders (both sides), cancel candidates per lot
    widen: np.ndarray  # (R,) int64 ticks added to placement distances
    alias: (
        np.ndarray
    )  # (A, S, D, 2) int64 by spread bin, Walker's alias table of distances: cut in 0..65536, alternative
    accept: (
        np.ndarray
    )  # (A, C) int64, 0..65536: cancel rate at a distance over the largest; the last holds beyond
    size: np.ndarray  # (A, 3, B) int32 lots by quantile, rows SIZE_*
    book: np.ndarray  # (A, FLOW_COLUMNS) int64
    type_rate: (
        np.ndarray
    )  # (R, A, 3) int64 per side: limit, market orders 2^-20 /s, cancel candidates per lot 2^-32 /s
    spread_bin: np.ndarray  # (A, 1025) int64 by spread in ticks, the last entry beyond
    queue_bin: np.ndarray  # (A, 1024) int64 by lots at best below EXACT_LOTS, then by shifted lots
    react: np.ndarray  # (A, S, Q, 3) int64 multipliers 1/4096
    decay: np.ndarray  # (A, M) int64 halvings per second, 1/2^24, the slowest first; M: the most decays of a book, 0 without excitation
    jump: (
        np.ndarray
    )  # (R, A, M, 3, 2, 3) int64 1/2^24: by kind of the cause, same side or opposite, kind of the effect
    ground: np.ndarray  # (A, 3) int64 1/2^24: part of a mean rate that no event brought
    excited: np.ndarray  # (A, M, 3) int64 1/2^24: mean of the excitations
    spill: np.ndarray  # (R, A, A, 3) int64 1/2^24: jump in book [1] by an event in book [0]; negative: on the other side; A 0: none
    half: np.ndarray  # (4097,) int64 2^-x, x in 1/4096, 1/2^24
    length: np.ndarray  # (A, 3, 1024) int64 parts of a hidden order: by quantile, its highest quantile, what is left at a reset
    wait: np.ndarray  # (2049,) int64 unit exponential by quantile, 1/2^32
    normal: np.ndarray  # (4096,) int64 quantile means of the unit normal, 1/65536


class Params(NamedTuple):
    """All that does not change in a run, but for the tables of `Flow` and the messages of `Tape`."""

    seed: np.ndarray  # (1,) int64, in an array so that a captured launch reads the present one
    first_env: int  # number of the first environment, so that a batch can be any slice of a larger one
    dt: float  # seconds per decision
    dt_ns: int
    replay: int  # 1: messages of the tape stand where the noise flow stands
    replay_from: int  # ns, earliest and latest start of an episode
    replay_to: int
    mark_others: int  # 1: inventory is valued at the mid without the agent's own quotes; 0: at the mid
    matching: int  # FIFO or PRO_RATA
    self_trade: int  # ALLOW ... DECREMENT: what becomes of an agent's order that meets its own resting one
    episode_steps: int
    stagger: int
    autoreset: (
        int  # 1: an environment whose episode ends starts the next in the same step; 0: it goes on as it is
    )
    day: np.ndarray  # (D, 2) int64 multipliers by time of day, 1/4096: activity, volatility; D 0: none
    day_start: int  # ns after midnight
    day_width: int  # ns of an entry
    revert: int  # fundamentals' pull per step towards the origin, 1/65536
    news_chance: int  # of a step in which the fundamentals move, 1/2^32; 0: they move in every step
    jump_chance: int  # per step, 1/2^32
    jump_size: int  # 1/65536 tick
    venue_keep: int  # part of a venue's deviation left after a step, 1/65536
    maker_rebate: float
    taker_fee: float
    depth_levels: int
    show_regime: int
    book: np.ndarray  # (A, BOOK_COLUMNS) int64
    agent: np.ndarray  # (G, AGENT_COLUMNS) int64
    agent_float: np.ndarray  # (G, 7) float64
    target: np.ndarray  # (G, A) int64 lots, unsigned
    chain: np.ndarray  # (R + 1, R) int64 cumulative probabilities, 1/2^32; row: from; the last row: at reset
    origin: np.ndarray  # (U,) int64 the fundamentals' start, 1/65536 tick
    mix: np.ndarray  # (U, U) int64 square root of the correlation matrix, 1/65536
    follow: np.ndarray  # (U,) int64 1/65536: part of the way to its news that a fundamental goes in a step
    sigma: np.ndarray  # (R, U) int64 fundamental's move per step, 1/65536 tick
    stressed: int  # 1: there are events or a circuit breaker
    stress: np.ndarray  # (K, EVENT_BOOKS + A) int64
    breaker: np.ndarray  # (BREAKER,) int64
    shown: np.ndarray  # (N,) int64 kinds of events that agents see
    pairs: np.ndarray  # (P, 2) int64
    pair_weight: np.ndarray  # (P,) float32 edge weight of the pair


def make_state(
    envs: int,
    books: int,
    window: int,
    agents: int,
    underlyings: int,
    memory: int = 0,
    events: int = 0,
    path: int = 0,
    log: int = 0,
) -> State:
    """Allocate the state of E environments, all zero but for the room of the logs (`log` entries a book); `step.reset` fills it.

    memory: tables.memory_of(flow). events: rows of Params.stress. path: steps that the circuit breaker looks back.
    """
    e, a, g = envs, books, agents
    head = np.zeros((e, a, HEAD + memory + LOG * log), np.int64)
    head[:, :, LOG_ROOM] = log
    return State(
        qty=np.zeros((e, a, window), np.int32),
        head=head,
        order=np.zeros((e, a, 4, 2 * g), np.int32),
        account=np.zeros((e, a, g + 1, ACCOUNT), np.int64),
        message=np.zeros((e, a, g, MESSAGE), np.int32),
        arrival=np.zeros((e, a, g), np.int64),
        feature=np.zeros((e, a, FEATURE), np.float64),
        clock=np.zeros((e, CLOCK), np.int64),
        fundamental=np.zeros((e, underlyings), np.int64),
        news=np.zeros((e, underlyings), np.int64),
        deviation=np.zeros((e, a), np.int64),
        event=np.zeros((e, events, EVENT), np.int64),
        stress=np.zeros((e, a, PATH + path), np.int64),
        target=np.zeros((e, g, a), np.int64),
        equity=np.zeros((e, g, 2), np.int64),
        money=np.zeros((e, g, 3), np.float64),
        active=np.zeros((e, g, 3), np.uint8),
    )


def empty_tape(books: int) -> Tape:
    """The tape of a market that is not replayed."""
    return Tape(
        time=np.zeros(0, np.int64),
        kind=np.zeros(0, np.uint8),
        side=np.zeros(0, np.int8),
        px=np.zeros(0, np.int32),
        qty=np.zeros(0, np.int32),
        start=np.zeros(books + 1, np.int64),
        snap_px=np.zeros((0, 2, 1), np.int32),
        snap_qty=np.zeros((0, 2, 1), np.int32),
        snap_start=np.zeros(books + 1, np.int64),
        every=1,
    )
