"""MarketEnv: many market environments stepped as one. Actions in, observations, rewards and ends of episodes out.

Every array is a numpy buffer that torch sees without a copy, or on a GPU a tensor that the kernels see so. The buffers are
reused by the next step: copy what you keep.
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
    State,
    empty_tape,
    make_state,
)
from ..market.stress_tables import stress_sizes
from ..market.tables import make_flow, memory_of
from . import saved
from .actions import ACTION_NAMES, RoleSpec, role_specs
from .drive import (
    ACTIVE,
    EQUITY,
    LARGEST,
    TERMINATED,
    TRUNCATED,
    Buffers,
    first_nan,
    make_buffers,
    start_range,
    step_range,
)
from .episodes import Episodes, condense, episodes_of
from .observe import Observation, edge_feature_names, node_feature_names, vector_feature_names
from .placement import GpuOptions, check_options, device_of, runs_kernels
from .world import make_world

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from .launch import DeviceLoop

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
        device: "cpu"; "cuda" or "cuda:1": every array lives there and a step is a few kernels on torch's current stream,
            with the same integers; "auto": the GPU where there is one.
        first_env: number of the first environment: a batch is a slice of one unbounded family of environments.
        autoreset: False leaves an environment whose episode has ended as it is, to be looked at; the market goes on
            if it is stepped again, its agents unless they were terminated too, and `done` stays true.
        log: entries of each book's log of events, see market/state.py; whoever reads it empties it. On the CPU.
        gpu: how kernels run and arrays lie on a GPU; results do not depend on it.

    On a GPU nothing of `step` is copied to the host or waits for the device, so that info["final_obs"] is always there
    (rows of "done" are this step's), info["episodes"] is always None (see `episodes`), and a NaN in an action is found
    by the next `check` or `episodes`; its environment's agents send nothing in that step.
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
        gpu: GpuOptions | None = None,
    ) -> None:
        self.device = device_of(device)
        self._asked: tuple[str, GpuOptions | None] = (device, gpu)
        on_gpu = runs_kernels(device, self.device)
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
        self.specs: dict[str, RoleSpec] = role_specs(cfg)
        self.pairs = torch.from_numpy(cfg.pairs).to(self.device)  # (P, 2) int64
        self.adjacency = torch.from_numpy(edge_weights(cfg)).to(
            self.device
        )  # (N, N) float32, rows are targets
        self._flow = make_flow(cfg)
        self._tape, self._span = empty_tape(cfg.market.num_books), (0, 0)
        if cfg.replay.files:
            from ..data.load import load_tape_files  # pandas, not needed by synthetic markets

            self._tape, self._span = load_tape_files(cfg)
        threads = max(1, min(cfg.env.threads or len(os.sched_getaffinity(0)), self.num_envs // FEW))
        self._cuts = np.linspace(0, self.num_envs, threads + 1).astype(int).tolist()
        self._pool, self._pid = None, 0
        books, agents = cfg.market.num_books, sum(s.count for s in self.specs.values())
        self.state: Any = make_state(  # a State; of tensors on a GPU, see host_state
            self.num_envs,
            books,
            cfg.market.window,
            agents,
            len(cfg.market.underlyings),
            memory_of(self._flow),
            *stress_sizes(cfg),
            log=_whole("log", log, 0),
        )
        self.buffers: Any = make_buffers(
            self.num_envs, agents, books, len(cfg.pairs), len(node_feature_names()), len(edge_feature_names()),
            len(vector_feature_names(cfg)),
        )  # fmt: skip
        self._empty = {
            role: np.zeros(
                (self.num_envs, 0, len(cfg.pairs) if role == "arbitrageur" else books, len(names)), np.float32
            )
            for role, names in ACTION_NAMES.items()
        }
        self._params = make_params(cfg, self.seed, self.first_env, self._span, autoreset)
        self._loop: DeviceLoop | None = None
        if on_gpu:
            self._loop = self._device_loop(check_options(gpu or GpuOptions()), log)
            self.state, self.buffers, seen = self._loop.state, self._loop.out, self._loop.out
        else:
            seen = Buffers(*map(torch.from_numpy, self.buffers))  # type: ignore[arg-type]
        self._seen: Any = seen  # Buffers of tensors
        self.nodes: torch.Tensor = self._seen.nodes  # (E, G, N, F)
        self.edges: torch.Tensor = self._seen.edges  # (E, P, Fe)
        self.vector: torch.Tensor = self._seen.vector  # (E, G, V)
        # likewise at the end of each environment's last episode that ended
        self.final_nodes: torch.Tensor = self._seen.final_nodes
        self.final_edges: torch.Tensor = self._seen.final_edges
        self.final_vector: torch.Tensor = self._seen.final_vector
        self._obs = self._observations(self.nodes, self.edges, self.vector)
        self._final = self._observations(self.final_nodes, self.final_edges, self.final_vector)
        self._reward, self._terms = self._by_role(self._seen.reward), self._by_role(self._seen.terms)
        self._terminated, self._truncated, self._active = (
            self._by_role(self._seen.flag[..., column]) for column in (TERMINATED, TRUNCATED, ACTIVE)
        )
        self._done: torch.Tensor = self._seen.done
        self._law: tuple[Mapping[str, float] | None, float] = (None, 1.0)  # see set_regimes
        self._started = False

    @property
    def num_envs(self) -> int:
        """E."""
        return self._num_envs

    @property
    def capturable(self) -> bool:
        """Whether `step` can be captured in a CUDA graph, after a reset and a step that were not."""
        return self.device.type == "cuda"

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
        if self._loop is not None:
            self._loop.set_seed(self.seed)
            self._loop.set_chain(self._params.chain)
            self._loop.start()
        else:
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
            if self._loop is not None:
                self._loop.set_chain(self._params.chain)

    def copy(self, num_envs: int, seed: int) -> MarketEnv:
        """The same market on the same device, another batch: first episodes whole (no stagger), regimes as configured."""
        env = self.cfg.env.model_copy(update={"stagger": False})
        device, gpu = self._asked
        return MarketEnv(self.cfg.model_copy(update={"env": env}), num_envs, seed, device, gpu=gpu)

    def save_state(self) -> dict[str, torch.Tensor]:
        """Copies of all that a step reads and changes, by name, on the CPU: see `load_state`."""
        self._check_started("save_state")
        return saved.save(self, self._params.chain)

    def load_state(self, state: Mapping[str, torch.Tensor]) -> dict[str, Observation]:
        """Go on where `save_state` was called, in this or another batch of the same configuration and size, to the bit.

        Returns the observations. Raises ValueError naming an array that is missing or of another shape.
        """
        saved.check(self, self._params.chain, state)
        obs = self.reset(int(state[saved.SEED]))
        saved.put_back(self, state)
        self._params.chain[:] = state[saved.LAW].numpy()
        if self._loop is not None:
            self._loop.set_chain(self._params.chain)
        return obs

    def imbalance(self) -> str | None:
        """Where cash or lots have been made or lost since the last reset, in words; None: nowhere, as it must be."""
        return saved.imbalance(self.state.account)

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
        if self._loop is not None:
            self._loop.step(self._tensors(actions))
            final, episodes = dict(self._final), None
        else:
            self._run(step_range, *self._arrays(actions))
            ended = bool(self.buffers.done.any())
            final, episodes = (dict(self._final), self._episodes()) if ended else (None, None)
        info = {
            "done": self._done,
            "active": dict(self._active),
            "terms": dict(self._terms),
            "final_obs": final,
            "episodes": episodes,
        }
        return dict(self._obs), dict(self._reward), dict(self._terminated), dict(self._truncated), info

    def episodes(self) -> Episodes | None:
        """Statistics of all episodes that ended since the last call or reset; None: none did. First episodes cut short by
        stagger are left out. On a GPU one copy to the host; raises what `check` does.
        """
        self._check_started("episodes")
        numbers = condense(self._seen.tally, self._seen.tallied)
        if self._loop is not None:
            numbers = torch.cat([self._loop.fault()[None].double(), numbers]).cpu()
            self._raise_fault(int(numbers[0]))
            numbers = numbers[1:]
        self._seen.tally.zero_()
        self._seen.tallied.zero_()
        return episodes_of(numbers.numpy(), self.specs)

    def check(self) -> None:
        """Raise ValueError if actions since the last look had a NaN, naming the place. On the CPU `step` has done so."""
        if self._loop is not None:
            self._raise_fault(int(self._loop.fault()))

    def _raise_fault(self, place: int) -> None:
        """Raise for a place as `drive.nan_place` gives it (-1: none), which is forgotten then."""
        if place < 0 or self._loop is None:
            return
        self._loop.marks.fault.fill_(-1)  # type: ignore[attr-defined]
        role = list(ACTION_NAMES)[place >> 48]
        raise _nan_error(self.specs[role], self._shape(role), place & ((1 << 48) - 1))

    def _device_loop(self, gpu: GpuOptions, log: int) -> DeviceLoop:
        from .launch import DeviceLoop  # numba.cuda, not needed by the CPU

        if log:
            raise ConfigError("log: a log of events is kept on the CPU only; use device='cpu'")
        shapes = [self._shape(role) for role in ACTION_NAMES]
        return DeviceLoop(
            self._params, self._flow, self._tape, self.state, self.buffers, shapes, self.device, gpu
        )

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

    def _shape(self, role: str) -> tuple[int, int, int, int]:
        """Of a role's actions; no agents where the role is absent."""
        spec = self.specs.get(role)
        if spec is None:
            return self._empty[role].shape
        return (self.num_envs, spec.count, spec.items, len(spec.action_names))

    def _check_roles(self, actions: Mapping[str, torch.Tensor]) -> None:
        if unknown := sorted(set(actions) - set(self.specs)):
            raise ValueError(f"actions: no agents of role {unknown[0]!r}; roles are {sorted(self.specs)}")
        if lacking := [role for role in self.specs if role not in actions]:
            raise ValueError(f"actions: role {lacking[0]!r} is missing; roles are {sorted(self.specs)}")

    def _check_shape(self, role: str, shape: tuple[int, ...]) -> None:
        spec = self.specs[role]
        if tuple(shape) != self._shape(role):
            raise ValueError(
                f"actions[{role!r}]: shape must be {self._shape(role)} (envs, agents, {spec.acts_on}s, "
                f"{'/'.join(spec.action_names)}), got {tuple(shape)}"
            )

    def _arrays(self, actions: Mapping[str, torch.Tensor]) -> list[np.ndarray]:
        """Checked actions of makers, takers and arbitrageurs, as numpy arrays."""
        self._check_roles(actions)
        arrays = []
        for role, empty in self._empty.items():
            if role not in self.specs:
                arrays.append(empty)
                continue
            given = actions[role]
            if isinstance(given, torch.Tensor) and not given.is_complex():
                array = given.detach().cpu().float().numpy()
            else:
                array = np.asarray(given)
            if array.dtype.kind not in "fiu":
                raise ValueError(f"actions[{role!r}]: must be real numbers, got {array.dtype}")
            self._check_shape(role, array.shape)
            array = np.ascontiguousarray(array, dtype=np.float32)
            if (flat := first_nan(array.ravel())) >= 0:
                raise _nan_error(self.specs[role], array.shape, flat)
            arrays.append(array)
        return arrays

    def _tensors(self, actions: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """The same for kernels: tensors on the device, those given where they are float32 and contiguous there."""
        assert self._loop is not None
        self._check_roles(actions)
        tensors = []
        for role, own in zip(ACTION_NAMES, self._loop.actions, strict=True):
            if role in self.specs:
                given = torch.as_tensor(actions[role])
                if given.is_complex() or given.dtype == torch.bool:
                    raise ValueError(f"actions[{role!r}]: must be real numbers, got {given.dtype}")
                self._check_shape(role, given.shape)
                own = given.detach().to(self.device, torch.float32).contiguous()
            tensors.append(own)
        return tensors

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

    def host_state(self) -> State:
        """The state as numpy arrays: the present ones on the CPU; a copy on a GPU, which waits for the device."""
        return self.state if self._loop is None else self._loop.host_state()

    def fundamental(self) -> np.ndarray:
        """(E, A) float64 ticks: each book's fundamental value now; NaN in a replayed market."""
        return self._fundamental(self.host_state())

    def _fundamental(self, s: State) -> np.ndarray:
        p = self._params
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
        s = self.host_state()
        head = s.head[env]
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
            "fundamental": self._fundamental(s)[env],
            "regime": int(s.clock[env, REGIME]),
            "step": int(s.clock[env, STEP]),
            "episode": int(s.clock[env, EPISODE]),
        }


def _nan_error(spec: RoleSpec, shape: tuple[int, ...], flat: int) -> ValueError:
    where = tuple(int(i) for i in np.unravel_index(flat, shape))
    return ValueError(f"actions[{spec.role!r}]: NaN at (env, agent, {spec.acts_on}, action) {where}")


def _whole(name: str, value: Any, least: int, most: int = (1 << 62) - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ConfigError(f"{name}: must be a whole number from {least} to {most}, got {value!r}")
    return int(value)
