"""What --over says: ranges and choices, and each fault in the words of the configuration's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lobgraph.config import ConfigError, make_config
from lobgraph.sweep.space import Choice, Range, parse, setting, suggest


def test_ranges_and_choices():
    space = parse(
        ["ppo.lr=1e-4..1e-2:log", "ppo.epochs=2..8", "ppo.vf_coef=1..4", "graph.hidden=32,64", "graph.hide=[],[gap_venues]",
         "agents.maker.gamma=0.9..0.99"], {},
    )  # fmt: skip
    assert space == {
        "ppo.lr": Range(1e-4, 1e-2, log=True),
        "ppo.epochs": Range(2, 8, whole=True),
        "ppo.vf_coef": Range(1, 4),  # not a whole number, though its ends are
        "graph.hidden": Choice(("32", "64")),
        "graph.hide": Choice(("[]", "[gap_venues]")),
        "agents.maker.gamma": Range(0.9, 0.99),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ppo.lrr=1e-4..1e-2", "ppo.lrr: unknown key; did you mean 'lr'?"),
        ("ppoo.lr=1e-4..1e-2", "ppoo: unknown key; did you mean 'ppo'?"),
        ("ppo.lr=-1..1", "ppo.lr: must be above 0"),
        ("ppo.clip=0.1..1.5", "ppo.clip: must be below 1"),
        (
            "graph.encoder=sage,gcn",
            "graph.encoder: must be 'sage', 'gat', 'mean' or 'mlp' (got 'gcn')",
        ),
        ("env.num_envs=64,100", "minibatches"),
        ("ppo.epochs=1.0..4.0", "ppo.epochs is a whole number"),
        ("ppo.lr=1e-2..1e-4", "from a lower to a higher number"),
        ("ppo.lr=1..nan", "from a lower to a higher number"),
        ("ppo.lr=1..inf", "from a lower to a higher number"),
        ("ppo.ent_coef=0..1:log", "must start above 0"),
        ("ppo.lr=1e-4..1e-2:sqrt", "only :log may stand"),
        ("ppo.lr=a..b", "no range of numbers"),
        ("graph.hidden=32", "two different values or more"),
        ("graph.hidden=32,32", "two different values or more"),
        ("graph.hidden=32,", "two different values or more"),
        ("ppo.lr", "must have the form"),
        ("ppo.lr=", "must have the form"),
        ("=1..2", "must have the form"),
    ],
)
def test_faults_name_the_option_and_what_would_be_right(text, says):
    tree = {"ppo": {"minibatches": 64, "rollout_steps": 2}, "graph": {"memory": "gru"}}
    with pytest.raises(ConfigError) as error:
        parse([text], tree)
    assert says in str(error.value)
    assert str(error.value).startswith(f"--over {text!r}: ")


def test_a_key_is_given_once():
    for over, overrides in ((["ppo.lr=1..2", "ppo.lr=3,4"], []), (["ppo.lr=1..2"], ["ppo.lr=1"])):
        with pytest.raises(ConfigError, match=r"ppo\.lr is given twice"):
            parse(over, {}, overrides)
    with pytest.raises(ConfigError, match="needs something to vary"):
        parse([], {})


@given(st.floats(1e-6, 1.0))
def test_a_value_goes_through_its_text_unchanged(value):
    assert make_config({}, [setting("ppo.lr", value)]).ppo.lr == value


def test_suggestions_are_of_the_space():
    optuna = pytest.importorskip("optuna")
    space = parse(["ppo.lr=1e-4..1e-2:log", "ppo.epochs=2..8", "graph.hidden=32,64"], {})
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chosen = [suggest(study.ask(), space) for _ in range(60)]
    assert {c["graph.hidden"] for c in chosen} == {"32", "64"}
    assert {c["ppo.epochs"] for c in chosen} == set(range(2, 9))
    assert all(1e-4 <= c["ppo.lr"] <= 1e-2 for c in chosen)
    assert 0.25 < sum(c["ppo.lr"] < 1e-3 for c in chosen) / 60 < 0.75  # log-uniform: half of them
    for c in chosen[:3]:
        make_config({}, [setting(key, value) for key, value in c.items()])
