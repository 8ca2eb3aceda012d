"""MarketEnv: many market environments stepped as one. Actions in, observations, rewards and ends of episodes out.

Every array is a numpy buffer that torch sees without a copy. The buffers are reused by the next step: copy what you keep.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..config import Config, ConfigError
from ..market import announce_compiling
from ..market.params import edge_weights, make_params, regime_table
from ..market.reading import depth, remaining
from ..market.state import (
    AGGRESSIVE_BOUGHT,
    AGGRESSIVE_SOLD,
    ASK,
    BID,
    EPISODE,
    INITIAL_PX,
    INVENTORY,
    LOW,
    ORDER_PX,
    ORDER_REST,
    PASSIVE_BOUGHT,
    PASSIVE_SOLD,
    REGIME,
    STEP,
    UNDERLYING,
    empty_tape,
    make_state,
)
from ..market.stress_tables import stress_sizes
from ..market.tables import make_flow, memory_of
from .actions import ACTION_NAMES, RoleSpec, role_specs
from .drive import (
    ACTIVE,
    EQUITY,
    LARGEST,
    TERMINATED,
    TRUNCATED,
    first_nan,
    make_buffers,
    start_range,
    step_range,
)
from .observe import Observation, edge_feature_names, node_feature_names, vector_feature_names
from .world import make_world

if TYPE_CHECKING:
    from torch_geometric.data import Data

FEW = 8  # environments a thread must have for threads to pay


class MarketEnv:
    """A batch of E markets of N books with the agents of `cfg.agents`.

    reset() -> obs; step(actions) -> obs, reward, terminated, truncated, info, each a dict by role.
    Actions are float32 (E, K, items, act_dim) in the physical units of `specs[role].low..high`, and clipped to them.
    An environment whose episode ends is reset in the same step: its obs is the new episode's first, the last one of the
    old stands in info["final_obs"].

    Args:
        cfg: the configuration.
        num_envs: E; default cfg.env.num_envs.
        seed: root of all draws; default cfg.run.seed.
        device: "cpu".
        first_env: number of the first environment: a batch is a slice of one unbounded family of environments.
        autoreset: False leaves an environment whose episode has ended as it is, to be looked at; the market goes on
            if it is stepped again, its agents unless they were terminated too, and `done` stays true.
        log: entries of each book's log of events, see market/state.py; whoever reads it empties it.
    """

    def __init__(
        self,
        cfg: Config,
        num_envs: int | None = None,
        seed: int | None = None,
        device: str = "cpu",
        first_env: int = 0,
        autoreset: bool = True,
        log: int = 0,
    ) -> None:
        if device != "cpu":
            raise ConfigError(f"device: only 'cpu' is supported, got {device!r}")
        if cfg.replay.required and not cfg.replay.files:
            raise ConfigError(
                f"replay.files: {cfg.name} replays recorded files and none is given; "
                "name one for each of market.books, or use scripts/run_replay.py MESSAGE_FILES"
            )
        self.cfg = cfg
        self._num_envs = _whole("num_envs", cfg.env.num_envs if num_envs is None else num_envs, 1)
        self.seed = _whole("seed", cfg.run.seed if seed is None else seed, 0)
        self.first_env = _whole("first_env", first_env, 0)
        self.autoreset = autoreset
        self.device = torch.device("cpu")
        self.specs: dict[str, RoleSpec] = role_specs(cfg)
        self.pairs = torch.from_numpy(cfg.pairs)  # (P, 2) int64
        self.adjacency = torch.from_numpy(edge_weights(cfg))  # (N, N) float32, rows are targets
        self._flow = make_flow(cfg)
        self._tape, self._span = empty_tape(cfg.market.num_books), (0, 0)
        if cfg.replay.files:
            from ..data.load import load_tape_files  # pandas, not needed by synthetic markets

            self._tape, self._span = load_tape_files(cfg)
        threads = max(1, min(cfg.env.threads or len(os.sched_getaffinity(0)), self.num_envs // FEW))
        self._cuts = np.linspace(0, self.num_envs, threads + 1).astype(int).tolist()
        self._pool, self._pid = None, 0
        books, agents = cfg.market.num_books, sum(s.count for s in self.specs.values())
        self.state = make_state(
            self.num_envs,
            books,
            cfg.market.window,
            agents,
            len(cfg.market.underlyings),
            memory_of(self._flow),
            *stress_sizes(cfg),
            log=_whole("log", log, 0),
        )
        self.buffers = make_buffers(
            self.num_envs, agents, books, len(cfg.pairs), len(node_feature_names()), len(edge_feature_names()),
            len(vector_feature_names(cfg)),
        )  # fmt: skip
        self.nodes = torch.from_numpy(self.buffers.nodes)  # (E, G, N, F)
        self.edges = torch.from_numpy(self.buffers.edges)  # (E, P, Fe)
        self.vector = torch.from_numpy(self.buffers.vector)  # (E, G, V)
        self._obs = self._observations(self.nodes, self.edges, self.vector)
        final = (self.buffers.final_nodes, self.buffers.final_edges, self.buffers.final_vector)
        self._final = self._observations(*map(torch.from_numpy, final))
        flags = torch.from_numpy(self.buffers.flag)
        self._reward = self._by_role(torch.from_numpy(self.buffers.reward))
        self._terms = self._by_role(torch.from_numpy(self.buffers.terms))
        self._terminated, self._truncated, self._active = (
            self._by_role(flags[..., column]) for column in (TERMINATED, TRUNCATED, ACTIVE)
        )
        self._done = torch.from_numpy(self.buffers.done)
        self._empty = {
            role: np.zeros(
                (self.num_envs, 0, len(cfg.pairs) if role == "arbitrageur" else books, len(names)), np.float32
            )
            for role, names in ACTION_NAMES.items()
        }
        self._law: tuple[Mapping[str, float] | None, float] = (None, 1.0)  # see set_regimes
        self._started = False

    @property
    def num_envs(self) -> int:
        """E."""
        return self._num_envs

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "MarketEnv: cannot be copied or pickled (kernels hold its arrays); make another with the same cfg and seed"
        )

    # --- the loop ---

    def reset(self, seed: int | None = None) -> dict[str, Observation]:
        """Start episode 0 of every environment; the same seed gives the same episodes. Returns the observations."""
        if seed is not None:
            self.seed = _whole("seed", seed, 0)
        announce_compiling()
        self._params = make_params(self.cfg, self.seed, self.first_env, self._span, self.autoreset)
        self._params.chain[:] = regime_table(self.cfg, *self._law)
        self._world = make_world(self._params, self._flow, self._tape, self.state, self.buffers)
        self._run(start_range)
        self._started = True
        return dict(self._obs)

    def set_regimes(self, initial: Mapping[str, float] | None = None, switch: float = 1.0) -> None:
        """Let regimes follow another law than cfg.regimes until the next call: without arguments, as configured.

        initial: probabilities at reset, of episodes that start from now on. switch: multiplier of the switch rates, at once.
        """
        self._law = (None if initial is None else dict(initial), switch)
        if self._started:
            self._params.chain[:] = regime_table(self.cfg, *self._law)

    def copy(self, num_envs: int, seed: int) -> MarketEnv:
        """The same market, another batch: first episodes whole (no stagger), regimes as configured."""
        env = self.cfg.env.model_copy(update={"stagger": False})
        return MarketEnv(self.cfg.model_copy(update={"env": env}), num_envs, seed)

    def step(
        self, actions: Mapping[str, torch.Tensor]
    ) -> tuple[dict[str, Observation], dict, dict, dict, dict[str, Any]]:
        """Advance every environment by one decision.

        Returns obs, reward (E, K) float32, terminated (E, K) bool (the agent broke its drawdown limit, or
        the deadline of its target has come), truncated (E, K) bool (time limit), info. info: "done" (E,), "active" and
        "terms" by role, "final_obs" and "episodes"
        (None where no episode ended). Raises ValueError for actions of the wrong shape or with NaN.
        """
        self._check_started("step")
        arrays = self._arrays(actions)
        self._run(step_range, *arrays)
        ended = bool(self.buffers.done.any())
        info = {
            "done": self._done,
            "active": dict(self._active),
            "terms": dict(self._terms),
            "final_obs": dict(self._final) if ended else None,
            "episodes": self._episodes() if ended else None,
        }
        return dict(self._obs), dict(self._reward), dict(self._terminated), dict(self._truncated), info

    def _run(self, loop: Callable[..., None], *arrays: np.ndarray) -> None:
        """Run one of the loops of drive.py over all environments, one range a thread."""
        threads = len(self._cuts) - 1
        if threads == 1:
            loop(self._world, *arrays, 0, self.num_envs)
            return
        if self._pool is None or self._pid != os.getpid():  # a fork has the pool but not its threads
            self._pool, self._pid = ThreadPoolExecutor(threads, "market"), os.getpid()
        spans = zip(self._cuts, self._cuts[1:], strict=False)
        for future in [self._pool.submit(loop, self._world, *arrays, *span) for span in spans]:
            future.result()

    def _arrays(self, actions: Mapping[str, torch.Tensor]) -> list[np.ndarray]:
        if unknown := sorted(set(actions) - set(self.specs)):
            raise ValueError(f"actions: no agents of role {unknown[0]!r}; roles are {sorted(self.specs)}")
        arrays = []
        for role, empty in self._empty.items():
            spec = self.specs.get(role)
            if spec is None:
                arrays.append(empty)
                continue
            if role not in actions:
                raise ValueError(f"actions: role {role!r} is missing; roles are {sorted(self.specs)}")
            given = actions[role]
            if isinstance(given, torch.Tensor) and not given.is_complex():
                array = given.detach().cpu().float().numpy()
            else:
                array = np.asarray(given)
            if array.dtype.kind not in "fiu":
                raise ValueError(f"actions[{role!r}]: must be real numbers, got {array.dtype}")
            shape = (self.num_envs, spec.count, spec.items, len(spec.action_names))
            if array.shape != shape:
                raise ValueError(
                    f"actions[{role!r}]: shape must be {shape} (envs, agents, {spec.acts_on}s, "
                    f"{'/'.join(spec.action_names)}), got {array.shape}"
                )
            array = np.ascontiguousarray(array, dtype=np.float32)
            if (flat := first_nan(array.ravel())) >= 0:
                where = tuple(int(i) for i in np.unravel_index(flat, shape))
                raise ValueError(f"actions[{role!r}]: NaN at (env, agent, {spec.acts_on}, action) {where}")
            arrays.append(array)
        return arrays

    def _check_started(self, method: str) -> None:
        if not self._started:
            raise RuntimeError(f"MarketEnv.{method}: call reset() first")

    # --- views ---

    def _by_role(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {role: rows[:, spec.agents] for role, spec in self.specs.items()}

    def _observations(
        self, nodes: torch.Tensor, edges: torch.Tensor, vector: torch.Tensor
    ) -> dict[str, Observation]:
        return {
            role: Observation(
                nodes[:, s.agents], edges[:, None].expand(-1, s.count, -1, -1), vector[:, s.agents]
            )
            for role, s in self.specs.items()
        }

    def _episodes(self) -> dict[str, Any] | None:
        """Statistics of the D episodes that ended in this step, copied; a first episode cut short by stagger is left out.

        "env", "length" (D,) int64; by role: "return" (D, K) float32, "terms" (D, K, 4) float64, "max_inventory" and
        "equity" (D, K) float64, "inventory" and "remaining" (D, K, N) int64.
        """
        ids = np.flatnonzero(self.buffers.done)
        if self.cfg.env.stagger:
            ids = ids[self.state.clock[ids, EPISODE] > 1]
        if len(ids) == 0:
            return None
        ended, books = (
            torch.from_numpy(self.buffers.ended[ids]),
            torch.from_numpy(self.buffers.ended_books[ids]),
        )
        terms = self._by_role(ended[..., :4])
        return {
            "env": torch.from_numpy(ids),
            "length": torch.from_numpy(self.buffers.ended_length[ids]),
            "return": {role: t.sum(-1).float() for role, t in terms.items()},
            "terms": terms,
            "max_inventory": self._by_role(ended[..., LARGEST]),
            "equity": self._by_role(ended[..., EQUITY]),
            "inventory": self._by_role(books[..., 0]),
            "remaining": self._by_role(books[..., 1]),
        }

    def graph(self, role: str, env: int = 0, agent: int = 0) -> Data:
        """One agent's observation as torch_geometric Data.

        x (N, F), edge_index (2, M) source -> target over all non-zero weights, edge_weight (M,), edge_attr (M, 1) the
        same, pair_index (2, P), pair_attr (P, Fe), vector (V,). Raises KeyError or IndexError naming what exists.
        """
        from torch_geometric.data import Data

        self._check_started("graph")
        if role not in self.specs:
            raise KeyError(f"role {role!r}: no such agents; roles are {sorted(self.specs)}")
        if not 0 <= env < self.num_envs or not 0 <= agent < self.specs[role].count:
            raise IndexError(
                f"env {env}, agent {agent}: there are {self.num_envs} envs, {self.specs[role].count} agents"
            )
        obs = self._obs[role]
        target, source = torch.nonzero(self.adjacency, as_tuple=True)
        weight = self.adjacency[target, source]
        return Data(
            x=obs.nodes[env, agent].clone(),
            edge_index=torch.stack([source, target]),
            edge_weight=weight,
            edge_attr=weight[:, None],
            pair_index=self.pairs.T.contiguous(),
            pair_attr=obs.edges[env, agent].clone(),
            vector=obs.vector[env, agent].clone(),
        )

    def fundamental(self) -> np.ndarray:
        """(E, A) float64 ticks: each book's fundamental value now; NaN in a replayed market."""
        p, s = self._params, self.state
        if p.replay:
            return np.full(s.deviation.shape, np.nan)
        under = p.book[:, UNDERLYING]
        shift = p.book[:, INITIAL_PX] * 65536 - p.origin[under]
        return (s.fundamental[:, under] + s.deviation + shift) / 65536.0

    def snapshot(self, env: int = 0) -> dict[str, Any]:
        """What one environment's books and agents look like now, as numpy copies, for figures and tests.

        best_bid, best_ask (A,) ticks; mid (A,); bid_qty, ask_qty (A, L) lots by tick from the best; book_px0 (A,) and
        book_qty (A, W) lots at price book_px0 + i; quotes (G, A, 2, 2) px and lots of the bid and the ask (0 lots: none);
        inventory, remaining, fills_passive, fills_aggressive (G, A) lots, fills signed (+ bought) and of the last step;
        fundamental (A,) ticks (NaN in a replayed market); regime, step, episode ints.
        """
        self._check_started("snapshot")
        s, head = self.state, self.state.head[env]
        books, w = head.shape[0], s.qty.shape[2]
        rows = np.arange(books)[:, None]
        bid_qty, ask_qty = (
            depth(s.qty[env], head, self.cfg.market.depth_levels).astype(np.int64).swapaxes(0, 1)
        )
        account = s.account[env].transpose(1, 0, 2)[:-1]  # (G, A, columns) without the noise traders'
        held = account[:, :, INVENTORY]
        return {
            "best_bid": head[:, BID].copy(),
            "best_ask": head[:, ASK].copy(),
            "mid": 0.5 * (head[:, BID] + head[:, ASK]),
            "bid_qty": bid_qty,
            "ask_qty": ask_qty,
            "book_px0": head[:, LOW].copy(),
            "book_qty": s.qty[env, rows, (head[:, LOW, None] + np.arange(w)) & (w - 1)].astype(np.int64),
            "quotes": np.stack([s.order[env, :, ORDER_PX], s.order[env, :, ORDER_REST]], -1)
            .reshape(books, -1, 2, 2)
            .transpose(1, 0, 2, 3)
            .copy(),
            "inventory": held.copy(),
            "remaining": remaining(s.target[env], held),
            "fills_passive": account[:, :, PASSIVE_BOUGHT] - account[:, :, PASSIVE_SOLD],
            "fills_aggressive": account[:, :, AGGRESSIVE_BOUGHT] - account[:, :, AGGRESSIVE_SOLD],
            "fundamental": self.fundamental()[env],
            "regime": int(s.clock[env, REGIME]),
            "step": int(s.clock[env, STEP]),
            "episode": int(s.clock[env, EPISODE]),
        }


def _whole(name: str, value: Any, least: int, most: int = (1 << 62) - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ConfigError(f"{name}: must be a whole number from {least} to {most}, got {value!r}")
    return int(value)
