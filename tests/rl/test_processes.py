"""Several processes learn what one would; one that fails takes the others along."""

from pathlib import Path

import numpy as np
import pytest
from together import learn_alone, learn_together

CASES = {
    "some agents end early": (["ppo.norm_adv=true"], {"end_at": 5}),
    "memory, bounded deviation": (["graph.memory=gru", "ppo.std_end=0.1", "ppo.ent_coef=0.01"], {"episode": 5}),
}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(tmp_path: Path, case: str) -> None:
    """The same environments, draws and minibatches: the weights differ by the rounding of sums taken in another order."""
    given, env = CASES[case]
    overrides = ["ppo.total_steps=2048", "ppo.minibatches=4", "ppo.epochs=2", "ppo.lr=1e-3", *given]
    one, told = learn_alone(2, overrides, env, 3)
    (a, history), (b, _) = learn_together(2, tmp_path, overrides, env, 3)
    for name in one:
        assert np.array_equal(a[name], b[name]), name  # between processes: to the bit
        np.testing.assert_allclose(a[name], one[name], rtol=2e-5, atol=2e-5, err_msg=name)
    for want, got in zip(told, history, strict=True):
        assert want.keys() == got.keys()
        for name in (n for n in want if not n.startswith("time/") and not n.endswith("first_ratio_error")):
            assert got[name] == pytest.approx(want[name], rel=2e-3, abs=2e-4, nan_ok=True), name
