"""Parameters: published defaults, overrides, and a line for what cannot be run."""

import pytest

from lobgraph.config import ConfigError
from lobgraph.validate.cst import run as run_cst
from lobgraph.validate.settings import MODELS, choose, make_settings


def test_defaults_are_the_papers():
    s = make_settings()
    assert s.zero_intelligence.market_rate / s.zero_intelligence.limit_rate == 50
    assert s.cst.published
    assert s.cst.queue(1) == (1.85, 0.94, 0.71, 0.0)
    assert s.cst.queue(3) == (1.09, 0.94, 0.68, 1.85 + 1.51)
    assert s.cst.queue(9)[:3] == (0.0, 0.94, 0.47)
    assert s.glosten_milgrom.mu == 0.3


def test_overrides_beat_quick_and_quick_beats_defaults():
    plain, quick = make_settings(), make_settings(quick=True)
    for model in MODELS:
        assert getattr(plain, model) != getattr(quick, model)
    s = make_settings({"kyle": {"S0": 4}}, ["kyle.auctions=777", "cst.asks=[2, 7]"], quick=True)
    assert (s.kyle.S0, s.kyle.auctions, s.cst.asks) == (4.0, 777, (2, 7))
    assert s.cst.races == quick.cst.races
    assert not make_settings(None, ["cst.market_rate=1"]).cst.published


def test_models_come_in_one_order():
    assert choose(None) == list(MODELS)
    assert choose(["kyle", "cst", "kyle"]) == ["cst", "kyle"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("kyle.S_0=1", "kyle.S_0: unknown key; did you mean 'S0'"),
        ("kile.S0=1", "kile: unknown key"),
        ("kyle.S0=-1", "kyle.S0"),
        ("kyle.sigma_u=0", "kyle.sigma_u"),
        ("kyle.auctions=many", "kyle.auctions"),
        ("kyle.S0", "model.parameter=value"),
        ("glosten_milgrom.mu=1", "glosten_milgrom.mu"),
        ("glosten_milgrom.mu=true", "glosten_milgrom.mu"),
        ("glosten_milgrom.V_L=2", "V_H: must exceed V_L"),
        ("glosten_milgrom.prior=.nan", "glosten_milgrom.prior"),
        ("cst.bids=[]", "cst.bids"),
        ("cst.asks=[0]", "cst.asks"),
        ("cst.spreads=[1.5]", "cst.spreads"),
        ("zero_intelligence.cancel_rate=[]", "cancel_rate"),
        ("zero_intelligence.cancel_rate=0", "zero_intelligence.cancel_rate"),
        ("zero_intelligence.reach=100000", "zero_intelligence.reach"),
        ("zero_intelligence.limit_rate=100", "orders would rest"),
        ("large_tick.market_rate=19", "further below limit_rate"),
    ],
)
def test_errors_name_the_parameter(override, says):
    with pytest.raises(ConfigError) as error:
        make_settings(None, [override])
    assert says.replace("model.parameter", "section.key") in str(error.value)


def test_settings_of_a_model_that_is_not_run():
    with pytest.raises(ConfigError, match=r"kyle: has settings but is not run"):
        make_settings(None, ["kyle.S0=4"], models=["cst"])
    with pytest.raises(ConfigError, match=r"'Kyle': no such model; models are .*kyle"):
        choose(["Kyle"])
    with pytest.raises(ConfigError, match="list of names"):
        choose("kyle")


def test_races_that_would_hardly_end():
    s = make_settings(None, ["cst.cancel_rates=[0]", "cst.market_rate=0.01", "cst.spreads=[1]"])
    with pytest.raises(ConfigError, match=r"cst.spreads: at spread 1 the mid would hardly move"):
        run_cst(s.cst, 0, print)
