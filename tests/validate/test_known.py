"""The markets with known answers in `lobgraph validate`: any parameters come out right, a wrong policy does not."""

import sys

import numpy as np
import pytest

from lobgraph.config import ConfigError
from lobgraph.known.almgren_chriss import AlmgrenChrissMarket
from lobgraph.known.cartea_jaimungal import ExecutionMarket, MakingMarket
from lobgraph.known.markets import MARKETS
from lobgraph.known.pair import PairMarket
from lobgraph.validate import known_execution, known_figures, known_making, known_pair, table
from lobgraph.validate.run import validate
from lobgraph.validate.settings import MODELS, make_settings

RUNS = {
    "avellaneda_stoikov": known_making.avellaneda_stoikov,
    "cj_making": known_making.cj_making,
    "cj_execution": known_execution.cj_execution,
    "almgren_chriss": known_execution.almgren_chriss,
    "pair": known_pair.run,
}
FEW = {
    "avellaneda_stoikov": ("episodes=800", "particles=800", "T=0.2", "steps=40"),
    "cj_making": ("episodes=1200", "steps=50", "max_inventory=8", "T=0.3"),
    "cj_execution": ("episodes=2000", "steps=40"),
    "almgren_chriss": ("episodes=12000",),
    "pair": ("episodes=500", "steps=80", "T=8"),
}


def check(model, *overrides, seed=0):
    s = make_settings(None, [f"{model}.{text}" for text in overrides])
    outcome = RUNS[model](getattr(s, model), seed, lambda _: None)
    rows = table.make_table(outcome.rows)
    assert not table.misses(rows)
    return outcome, rows


def test_all_known_markets_are_validated():
    assert set(MARKETS) == set(RUNS) <= set(MODELS)


@pytest.mark.parametrize("model", list(RUNS))
def test_cheaply(model):
    outcome, rows = check(model, *FEW[model])
    assert len(rows) >= 7
    assert (rows["model"] == model).all()
    figure = getattr(known_figures, model)(outcome)
    for ax in figure.axes:
        assert ax.get_xlabel() or model == "cj_execution"  # policies by name there
        assert ax.get_ylabel()
        assert ax.get_title(loc="left")


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ("avellaneda_stoikov", ("gamma=1", "k=3", "A=60", "fills=exact")),
        ("cj_making", ("phi=1", "alpha=0.5", "fills=exact")),
        ("cj_execution", ("phi=0", "b=0.05", "T=2")),
        ("almgren_chriss", ("risk=0", "steps=1", "X=300")),
        ("almgren_chriss", ("risk=4e-6", "steps=12", "T=2")),
        ("pair", ("theta=5", "sigma=0.4", "cost=0.03")),
        ("pair", ("cost=1e-4",)),
    ],
)
def test_parameters_nobody_printed(model, given):
    check(model, *FEW[model], *given, seed=3)


def test_a_market_without_trades_is_refused():
    with pytest.raises(ConfigError, match=r"gamma: quotes 10.* from the mid.* use a lower gamma"):
        make_settings(None, ["avellaneda_stoikov.gamma=10"])


def test_published_rows_are_there_only_for_published_parameters():
    _, rows = check("almgren_chriss", "episodes=6000")
    assert (rows["quantity"] == "holdings").sum() == 5
    _, rows = check("almgren_chriss", "episodes=6000", "risk=2e-6")
    assert not (rows["quantity"] == "holdings").any()


@pytest.mark.parametrize(
    ("model", "market", "name", "wrong"),
    [
        ("cj_making", MakingMarket, "value", lambda self: float(self.h[0, self.params.max_inventory]) * 1.03),
        (
            "cj_execution",
            ExecutionMarket,
            "value",
            lambda self: 1.05 * float(self.h(0.0)) * self.params.q0**2,
        ),
        ("almgren_chriss", AlmgrenChrissMarket, "kappa", lambda self, risk=None: 0.7),
        ("pair", PairMarket, "bertram", lambda self: 0.6),
    ],
)
def test_a_wrong_closed_form_is_found(monkeypatch, model, market, name, wrong):
    monkeypatch.setattr(market, name, wrong)
    s = make_settings(None, [f"{model}.{text}" for text in FEW[model]])
    outcome = RUNS[model](getattr(s, model), 0, lambda _: None)
    assert table.misses(table.make_table(outcome.rows))


def test_the_table_and_its_figures(tmp_path):
    overrides = [f"almgren_chriss.{text}" for text in FEW["almgren_chriss"]]
    rows = validate(["almgren_chriss"], overrides=overrides, directory=tmp_path)
    assert rows["ok"].all()
    (made,) = tmp_path.iterdir()
    assert (made / "figures" / "almgren_chriss.png").stat().st_size > 10_000


def test_parameters_are_read_without_torch():
    """A typo is answered before the slow imports: the settings' module alone, in a fresh interpreter."""
    import subprocess

    code = "import sys, lobgraph.validate.settings; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_known_markets_as_published(seed):
    rows = validate(list(RUNS), seed=seed)
    assert not table.misses(rows)
    assert not rows["weak"].any()
    assert np.isfinite(rows["measured"]).all()
