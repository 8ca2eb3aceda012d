"""Stable-Baselines3's VecEnv over the batched market: its contract, its learners, its models as actors of this package."""

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra `sb3`")
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import VecNormalize

from lobgraph import evaluate
from lobgraph.adapters.gym import RoleVectorEnv
from lobgraph.adapters.sb3 import Sb3VecEnv, as_actor, predictor
from lobgraph.config import ConfigError

SMALL = {"seed": 0, "device": "cpu"}
REPLAY = {"buffer_size": 500, "learning_starts": 20, "batch_size": 16}


def test_it_is_the_gymnasium_batch_in_sb3s_words(fragile_among_others):
    cfg = fragile_among_others
    venv, batch = Sb3VecEnv(cfg, 6, seed=4), RoleVectorEnv(cfg, 6)
    obs, (seen, _) = venv.reset(), batch.reset(seed=4)
    rng = np.random.default_rng(0)
    sums, lengths, cut_short, early = np.zeros(6), np.zeros(6, int), 0, 0
    for _ in range(60):
        assert np.array_equal(obs, seen)
        actions = rng.uniform(-1, 1, (6, 3)).astype(np.float32)
        obs, reward, done, infos = venv.step(actions)
        seen, gain, terminated, truncated, final = batch.step(actions)
        assert np.array_equal(reward, gain.astype(np.float32))
        assert np.array_equal(done, terminated | truncated)
        sums, lengths = sums + reward, lengths + 1
        for env, info in enumerate(infos):
            assert bool(info) == done[env]
            if info:
                assert np.array_equal(info["terminal_observation"], final["final_obs"][env])
                assert info["TimeLimit.truncated"] == truncated[env]
                assert info["episode"]["r"] == pytest.approx(sums[env])
                assert info["episode"]["l"] == lengths[env]
                cut_short += int(truncated[env])
                early += int(terminated[env])
        sums[done], lengths[done] = 0.0, 0
    assert cut_short
    assert early


def test_seed_counts_at_the_next_reset(one):
    venv = Sb3VecEnv(one, 2, seed=0)
    first = venv.reset()
    second = venv.reset()  # goes on
    assert not np.array_equal(first, second)
    venv.seed(0)
    assert np.array_equal(venv.reset(), first)
    assert np.array_equal(venv.reset(), second)


@pytest.mark.parametrize(
    ("kind", "actions", "settings"),
    [
        (PPO, "normalised", {"n_steps": 16, "batch_size": 32, "n_epochs": 1}),
        (PPO, "discrete", {"n_steps": 16, "batch_size": 32, "n_epochs": 1}),
        (SAC, "normalised", REPLAY),
        (DQN, "discrete", REPLAY),
    ],
)
def test_learners_run_and_their_models_act(one, tmp_path, kind, actions, settings):
    venv = VecNormalize(Sb3VecEnv(one, 4, actions=actions))
    model = kind("MlpPolicy", venv, policy_kwargs={"net_arch": [8]}, **SMALL, **settings)
    model.learn(200)
    assert model.num_timesteps >= 200
    assert len(model.ep_info_buffer) > 0
    model.save(tmp_path / "model")
    again = kind.load(tmp_path / "model", device="cpu")
    acts = [as_actor(predictor(m, venv), one, "maker", actions=actions) for m in (model, again)]
    tables = [evaluate(one, {"maker": act}, episodes=3) for act in acts]
    assert tables[0]["pnl"].equals(tables[1]["pnl"])


def test_dict_observations_suit_multi_input_policies(many):
    venv = Sb3VecEnv(many, 2, role="taker", observations="dict")
    model = PPO("MultiInputPolicy", venv, n_steps=8, batch_size=16, n_epochs=1, **SMALL)
    model.learn(16)
    act = as_actor(predictor(model), many, "taker", observations="dict")
    assert len(evaluate(many, {"taker": act}, episodes=2).query("role == 'taker'")) == 2


def test_a_model_acts_as_it_did_in_its_environment(one):
    """The same episode through the VecEnv and through evaluate: the same return."""
    venv = Sb3VecEnv(one, 1, seed=1)
    model = PPO("MlpPolicy", venv, n_steps=8, batch_size=8, **SMALL)
    predict = predictor(model)
    venv.seed(1)
    obs, total, done = venv.reset(), 0.0, [False]
    while not done[0]:
        obs, reward, done, _ = venv.step(predict(obs))
        total += float(reward[0])
    table = evaluate(one, {"maker": as_actor(predict, one, "maker")}, episodes=1, seed=1)
    assert table.filter(like="terms/").sum(axis=1).item() == pytest.approx(total, abs=1e-2)


def test_models_hold_roles_for_others(many):
    """A model in the makers' place, for both of them at once."""
    seen = []

    def predict(observations):
        seen.append(observations.shape)
        return np.zeros((len(observations), 9), np.float32)

    act = as_actor(predict, many, "maker")
    venv = Sb3VecEnv(many, 5, role="taker", others={"maker": act})
    venv.reset()
    venv.step(np.zeros((5, 6), np.float32))
    assert seen == [(10, venv.encoder.size)]
    assert (venv.market.snapshot()["quotes"][:2, :, :, 1] > 0).any()
    bad = as_actor(lambda obs: np.zeros((len(obs), 3)), many, "maker")
    with pytest.raises(ValueError, match=r"predict must return actions of shape \(20, 9\)"):
        evaluate(many, {"maker": bad}, episodes=10)


def test_what_a_batch_cannot_do_is_refused(one):
    venv = Sb3VecEnv(one, 2)
    assert venv.get_attr("render_mode") == [None, None]
    with pytest.raises(ConfigError, match="share their settings"):
        venv.set_attr("x", 1)
    with pytest.raises(ConfigError, match="one object"):
        venv.env_method("render")
    venv.close()
