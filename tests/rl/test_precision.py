"""Products in bfloat16 and compiled forward passes: near the plain ones, and they learn as well."""

import pytest
import torch
from toy import ToyEnv, error, toy_config

from lobgraph.rl.trainer import Trainer

ROLES = {"maker": 2, "taker": 1, "arbitrageur": 1}


def trained(updates: int, *overrides: str, roles: dict[str, int] | None = None) -> tuple[Trainer, list]:
    trainer = Trainer(toy_config(f"ppo.total_steps={512 * updates}", *overrides), ToyEnv(roles or ROLES))
    trainer.start()
    return trainer, [trainer.step() for _ in range(updates)]


@pytest.mark.parametrize(
    "overrides",
    [(), ("graph.memory=gru", "ppo.minibatches=4"), ("graph.encoder=gat", "ppo.sharing=all"), ("graph.shared=false",)],
)  # fmt: skip
def test_bfloat16_keeps_weights_and_losses_in_float32(overrides: tuple[str, ...]) -> None:
    trainer, history = trained(2, "ppo.precision=bf16", *overrides)
    assert all(p.dtype == torch.float32 for p in trainer.policies.parameters())
    for role in ROLES:
        store = trainer.rollout.roles[role]
        for x in (store.actions, store.logprobs, store.values, store.returns):
            assert x.dtype == torch.float32
        for metrics in history:  # the same products in other shapes: bfloat16 has 8 bits
            assert metrics[f"losses/{role}/first_ratio_error"] < 0.05
    plain = Trainer(toy_config(*overrides), ToyEnv(ROLES))
    rounded = Trainer(toy_config("ppo.precision=bf16", *overrides), ToyEnv(ROLES))
    obs = plain.env.reset()
    rounded.env.reset()
    want, got = (x.policies.values(obs) for x in (plain, rounded))
    for role in ROLES:
        gap = (want[role] - got[role]).abs().max()
        assert 0.0 < gap < 0.05 * want[role].abs().max()  # rounded, but not far


def test_tf32_is_float32_on_the_cpu() -> None:
    a, b = (trained(2, f"ppo.precision={kind}")[0].policies.state_dict() for kind in ("fp32", "tf32"))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_bfloat16_learns_as_well() -> None:
    trainer, _ = trained(32, "ppo.precision=bf16")
    for role in ROLES:
        assert error(trainer.policies, trainer.env, role) < 0.012  # type: ignore[arg-type]  # as in float32


@pytest.mark.slow
def test_compiled_is_eager_to_rounding() -> None:
    plain, told = trained(2)
    compiled, said = trained(2, "ppo.compile=true")
    for a, b in zip(told, said, strict=True):
        for name in (n for n in a if n.startswith("losses/") and "error" not in n):
            assert b[name] == pytest.approx(a[name], rel=1e-2, abs=1e-4), name
    have = compiled.policies.state_dict()
    for name, want in plain.policies.state_dict().items():
        torch.testing.assert_close(have[name], want, rtol=1e-3, atol=1e-4, msg=name)
