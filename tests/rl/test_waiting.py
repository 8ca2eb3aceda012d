"""Nothing is asked of the device but where it must be: shown on CPU tensors, by refusing every operation that would wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from toy import ToyEnv, toy_config

from lobgraph.rl import ppo, rollout
from lobgraph.rl.trainer import Trainer

ROLES = {"maker": 2, "taker": 1, "arbitrageur": 1}
# What needs a value on the host: its result, or the size of its result. (numpy() and the like: see METHODS.)
WAITING = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2", "unique_dim",
           "unique_consecutive", "bincount", "repeat_interleave", "allclose"}  # fmt: skip
METHODS = ("item", "tolist", "numpy", "cpu", "__array__", "__bool__", "__float__", "__int__", "__index__")


class AskedError(AssertionError):
    pass


class Ban(TorchDispatchMode):
    """Refuses operations that wait for the device while `on`."""

    on = True
    lifted = 0  # times that it was allowed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if self.on:
            if name in WAITING:
                raise AskedError(name)
            if name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
                isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1]
            ):
                raise AskedError(f"{name} by a mask")
        return func(*args, **(kwargs or {}))

    @contextmanager
    def off(self) -> Iterator[None]:
        before, self.on = self.on, False
        try:
            yield
        finally:
            self.on = before

    def lift(self, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.lifted += 1
            with self.off():
                return function(*args, **kwargs)

        return call


@pytest.fixture
def ban(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ban]:
    found = Ban()
    for name in METHODS:
        before = getattr(torch.Tensor, name)

        def method(self: Any, *args: Any, _name: str = name, _before: Any = before, **kwargs: Any) -> Any:
            if found.on:
                raise AskedError(_name)
            return _before(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, method)
    found.on = False
    monkeypatch.setattr(rollout, "read", found.lift(rollout.read))
    monkeypatch.setattr(ppo, "read", found.lift(ppo.read))
    monkeypatch.setattr(ppo.PPO, "_is_over", found.lift(ppo.PPO._is_over))
    yield found
    found.on = False


@contextmanager
def watched(ban: Ban) -> Iterator[None]:
    ban.lifted, ban.on = 0, True
    try:
        with ban:
            yield
    finally:
        ban.on = False


def test_the_ban_sees_what_waits(ban: Ban) -> None:
    x = torch.arange(4.0)
    for ask in (
        lambda: x[0].item(), lambda: float(x[1]), lambda: bool(x[0] > 0), lambda: x[x > 1], lambda: x.numpy(),
        lambda: x.nonzero(), lambda: x.tolist(), lambda: torch.masked_select(x, x > 1), lambda: list(range(x.long()[3])),
    ):  # fmt: skip
        with pytest.raises(AskedError), watched(ban):
            ask()
    with watched(ban):
        (x[:2] * 2).sum()


@pytest.mark.parametrize(
    "overrides",
    [(), ("graph.memory=gru", "ppo.minibatches=4"), ("ppo.sharing=agent", "graph.encoder=gat", "agents.maker.risk_aversion=0.1"),
     ("ppo.sharing=all", "ppo.norm_adv=false", "ppo.std_end=0.1", "ppo.precision=bf16")],
)  # fmt: skip
def test_an_update_asks_once_for_the_rollout_and_once_for_itself(
    ban: Ban, overrides: tuple[str, ...]
) -> None:
    env = ToyEnv(ROLES, episode=5, end_at=3)
    trainer = Trainer(toy_config(*overrides), env)
    step = env.step
    env.step = lambda actions: _aside(ban, step, actions)  # type: ignore[method-assign]  # the toy is of the host
    trainer.ppo.looks_often = False
    trainer.start()
    for _ in range(2):
        with watched(ban):
            trainer.rollout.collect()
        assert ban.lifted == 1
        assert trainer.rollout.ended > 0
        assert min(trainer.rollout.seeing) < trainer.rollout.T * trainer.rollout.E  # masks were met
        with watched(ban):
            trainer.rollout.advantages()
        assert ban.lifted == 0
        with watched(ban):
            trainer.ppo.update(trainer.rollout, 1e-3, 0.01, 0.3)
            trainer.policies.commit()
        assert (
            ban.lifted <= 1 + trainer.cfg.ppo.epochs
        )  # and at the end of each epoch, whether it was the last


def _aside(ban: Ban, step: Any, actions: Any) -> Any:
    with ban.off():
        return step(actions)


def test_what_is_recorded_asks_nothing_at_all(ban: Ban) -> None:
    """The three functions that become CUDA graphs."""
    env = ToyEnv(ROLES, episode=5)
    trainer = Trainer(toy_config(), env)
    step = env.step
    env.step = lambda actions: _aside(ban, step, actions)  # type: ignore[method-assign]
    trainer.ppo.looks_often = False
    trainer.start()
    trainer.step()
    play = torch.inference_mode()(trainer.rollout._play)
    for function in (play, trainer.ppo._gradients, trainer.ppo._step):
        trainer.ppo.row.zero_()
        with watched(ban):
            function()
        assert ban.lifted == 0
