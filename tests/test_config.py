"""The configuration: what goes in comes out again, and every bad input is one clear error that names its key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lobgraph.config import Config, ConfigError, dump_config, load_config, make_config, read_yaml

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def write(directory: Path, text: str) -> Path:
    path = directory / "scenario.yaml"
    path.write_text(text)
    return path


# --- what goes in comes out ---

positive = st.floats(0.01, 100.0)
names = st.lists(st.text("ABCXYZ0123", min_size=1, max_size=4), min_size=1, max_size=5, unique=True)


@st.composite
def trees(draw):
    """Valid trees that touch every section."""
    books = draw(names)
    n = len(books)
    tree = {
        "name": draw(st.sampled_from(["a", "demo-1", "X_2.b"])),
        "market": {
            "books": books,
            "underlying": draw(st.none() | st.just([b[0] for b in books])),
            "dt": draw(positive),
            "window": draw(st.sampled_from([256, 1024])),
            "initial_price": draw(st.just(5000) | st.lists(st.integers(2000, 9000), min_size=n, max_size=n)),
            "maker_rebate": draw(st.floats(-0.01, 0.01)),
            "matching": draw(st.sampled_from(["fifo", "pro_rata"])),
            "self_trade": draw(st.sampled_from(["allow", "cancel_incoming", "decrement"])),
        },
        "flow": {
            "intensity": draw(st.floats(0.0, 50.0)),
            "limit_rates": draw(st.none() | st.lists(st.floats(0.0, 5.0), min_size=1, max_size=20)),
            "market_size": draw(
                st.just({"values": [1, 5], "weights": [0.5, 0.5]})
                | st.builds(lambda m: {"mean": m}, st.floats(1.0, 90.0))
            ),
        },
        "flow_per_book": draw(st.dictionaries(st.sampled_from(books), st.just({"market_rate": 0.7}))),
        "fundamentals": {"correlation": draw(st.floats(0.0, 1.0)), "jump_rate": draw(st.floats(0.0, 1.0))},
        "agents": {
            "maker": {"count": draw(st.integers(0, 8)), "risk": {"max_drawdown": draw(st.none() | positive)}},
            "taker": {
                "count": draw(st.integers(0, 2)),
                "target": draw(st.integers(0, 50)),
                "actor": draw(
                    st.sampled_from(["learn", "nothing", "a.py:B:c=1,d=x y", "runs/a: b", "no"])
                    | st.text("ab:=,#'\n", min_size=1)
                ),
            },
        },
        "env": {"num_envs": draw(st.integers(1, 100)) * 4, "stagger": draw(st.booleans())},
        "ppo": {"lr": draw(st.floats(1e-6, 1e-1)), "target_kl": draw(st.none() | positive)},
        "run": {"seed": draw(st.integers(0, 2**62 - 1))},
    }
    keep = draw(st.sets(st.sampled_from(sorted(tree))))
    return {k: v for k, v in tree.items() if k in keep | {"market", "flow_per_book"}}


@settings(max_examples=150, deadline=None)
@given(trees())
def test_dumped_and_loaded_is_the_same(tmp_path_factory, tree):
    cfg = make_config(tree)
    path = write(tmp_path_factory.mktemp("config"), dump_config(cfg))
    again = load_config(path)
    assert again == cfg
    assert dump_config(again) == dump_config(cfg)
    assert again.flows == cfg.flows
    np.testing.assert_array_equal(again.pairs, cfg.pairs)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["market.dt", "flow.intensity", "ppo.lr", "flow.tilt", "fundamentals.jump_size"]),
        st.floats(1e-5, 99.0), min_size=1,
    )
)  # fmt: skip
def test_overrides_are_what_the_file_could_have_said(changes):
    cfg = load_config(None, [f"{k}={v!r}" for k, v in changes.items()])
    for key, value in changes.items():
        section, name = key.split(".")
        assert getattr(getattr(cfg, section), name) == value
    tree: dict = {}
    for key, value in changes.items():
        section, name = key.split(".")
        tree.setdefault(section, {})[name] = value
    assert make_config(tree) == cfg


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_the_scenarios_load_and_round_trip(path, tmp_path):
    cfg = load_config(path)
    assert load_config(write(tmp_path, dump_config(cfg))) == cfg


def test_defaults_alone_and_empty_files_are_a_market(tmp_path):
    assert load_config() == Config()
    for text in ("", "# nothing\n", "market:\n  # books: 3\nenv:\n"):
        assert load_config(write(tmp_path, text)) == Config()


def test_books_may_be_a_number_and_overrides_reach_deep():
    cfg = load_config(
        None, ["market.books=3", "agents.maker.risk.max_inventory=9", "flow_per_book.A1.market_rate=5"]
    )
    assert cfg.market.books == ["A0", "A1", "A2"]
    assert cfg.agents.maker.risk.max_inventory == 9
    assert [f.market_rate for f in cfg.flows] == [2.0, 5.0, 2.0]
    assert cfg.counts == {"maker": 1}


@pytest.mark.parametrize("text", ["1e-4", "'1e-4'", "1.0e-4", "0.0001"])
def test_numbers_as_people_write_them(text, tmp_path):
    """YAML 1.1 reads 1e-4 as a string."""
    assert load_config(None, [f"ppo.lr={text}"]).ppo.lr == 1e-4
    assert load_config(write(tmp_path, f"ppo:\n  lr: {text}\n")).ppo.lr == 1e-4


def test_a_configuration_cannot_be_changed():
    cfg = load_config()
    with pytest.raises(ValueError, match="frozen"):
        cfg.env.num_envs = 3
    tree = {"market": {"books": ["A"]}}
    make_config(tree, ["market.dt=2", "env.num_envs=4"])
    assert tree == {"market": {"books": ["A"]}}, "overrides must not reach into what was given"


def test_pairs_and_underlyings():
    cfg = make_config({"market": {"books": ["a", "b", "c"], "underlying": ["U", "V", "U"]}})
    assert cfg.pairs.tolist() == [[0, 2]]
    assert cfg.market.underlying_index.tolist() == [0, 1, 0]
    assert make_config({"market": {"books": 3}}).pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    given = make_config(
        {"market": {"books": ["a", "b", "c"]}, "agents": {"arbitrageur": {"pairs": [["c", "a"]]}}}
    )
    assert given.pairs.tolist() == [[0, 2]]


def test_who_learns_and_who_is_held():
    cfg = load_config(None, ["agents.taker.count=1", "agents.arbitrageur.actor=nothing"])
    assert cfg.learners == ["maker", "taker"]
    given = ["agents.maker.actor=avellaneda_stoikov:gamma=0.1,k=2", "agents.taker.count=1"]
    cfg = load_config(None, given)
    assert cfg.agents.maker.actor == "avellaneda_stoikov:gamma=0.1,k=2"
    assert cfg.learners == ["taker"]


# --- one clear error ---

TWO = {"market": {"books": ["A", "B"]}}


def two(**sections) -> dict:
    return TWO | sections


def correlation(value) -> dict:
    return two(fundamentals={"correlation": value})


# tree, the key that must be named, words that say what would be right
BAD = {
    "unknown section": ({"marlet": {}}, "marlet", "market"),
    "unknown key": ({"ppo": {"learning_rate": 1}}, "ppo.learning_rate", "unknown key"),
    "unknown key, near": ({"env": {"num_env": 3}}, "env.num_env", "num_envs"),
    "unknown key, deep": ({"agents": {"maker": {"risk": {"max_inventry": 3}}}}, "agents.maker.risk.max_inventry", "max_inventory"),
    "unknown role": ({"agents": {"broker": {"count": 1}}}, "agents.broker", "maker"),
    "unknown key in a regime": ({"regimes": {"kinds": {"calm": {"limits": 2}}, "initial": {"calm": 1}}}, "limits", "limit"),
    "string for a number": ({"market": {"dt": "fast"}}, "market.dt", "fast"),
    "number for a section": ({"market": 3}, "market", ""),
    "list for a number": ({"ppo": {"lr": [1]}}, "ppo.lr", ""),
    "fraction for a whole number": ({"env": {"num_envs": 2.5}}, "env.num_envs", "2.5"),
    "bool for a number": ({"market": {"dt": True}}, "market.dt", "boolean"),
    "bool for a count": ({"env": {"num_envs": True}}, "env.num_envs", "boolean"),
    "bool for the books": ({"market": {"books": True}}, "market.books", ""),
    "number for a bool": ({"run": {"tensorboard": 3}}, "run.tensorboard", ""),
    "null for a number": ({"market": {"dt": None}}, "market.dt", ""),
    "NaN": ({"flow": {"intensity": float("nan")}}, "flow.intensity", "finite"),
    "infinite": ({"market": {"dt": float("inf")}}, "market.dt", "finite"),
    "NaN in a table": ({"flow": {"limit_rates": [1.0, float("nan")]}}, "flow.limit_rates.1", "finite"),
    "NaN in the correlation": (correlation([[1.0, float("nan")], [0.1, 1.0]]), "fundamentals.correlation", "finite"),
    "negative rate": ({"flow": {"market_rate": -1}}, "flow.market_rate", "at least 0"),
    "negative entry of a table": ({"flow": {"cancel_rates": [0.1, -0.1]}}, "flow.cancel_rates.1", "0"),
    "zero dt": ({"market": {"dt": 0}}, "market.dt", "at least"),
    "no environments": ({"env": {"num_envs": 0}}, "env.num_envs", "1"),
    "negative seed": ({"run": {"seed": -1}}, "run.seed", "0"),
    "device that is none": ({"run": {"device": "gpu"}}, "run.device", "cuda"),
    "number of a device that is none": ({"run": {"device": "cuda:x"}}, "run.device", "cuda"),
    "unknown choice": ({"market": {"matching": "lifo"}}, "market.matching", "pro_rata"),
    "unknown self-trade policy": ({"market": {"self_trade": "cancel"}}, "market.self_trade", "decrement"),
    "empty actor": ({"agents": {"taker": {"actor": ""}}}, "agents.taker.actor", "at least 1 character"),
    "no device": ({"run": {"device": "gpu"}}, "run.device", "must be auto, cpu, cuda or cuda:N"),
    "number for an actor": ({"agents": {"maker": {"actor": 3}}}, "agents.maker.actor", "text"),
    "no actor": ({"agents": {"maker": {"actor": None}}}, "agents.maker.actor", "text"),
    "bad name": ({"name": "../up"}, "name", ""),
    "window": ({"market": {"window": 500}}, "market.window", "power of two"),
    "window too small": ({"market": {"window": 32}}, "market.window", "64"),
    "price inside the window": ({"market": {"initial_price": 300}}, "market.initial_price", "512"),
    "price too high": ({"market": {"initial_price": 1 << 30}}, "market.initial_price", str(1 << 28)),
    "too many prices": (two() | {"market": {"books": 2, "initial_price": [1000, 1000, 1000]}}, "market.initial_price", "2"),
    "no prices": ({"market": {"initial_price": []}}, "market.initial_price", "1"),
    "no books": ({"market": {"books": []}}, "market.books", "present"),
    "zero books": ({"market": {"books": 0}}, "market.books", "1 to 1024"),
    "a book twice": ({"market": {"books": ["A", "A"]}}, "market.books", "unique"),
    "underlyings missing": ({"market": {"books": 3, "underlying": ["U"]}}, "market.underlying", "3"),
    "depth beyond the window": ({"market": {"window": 64, "depth_levels": 40, "initial_price": 900}}, "market.depth_levels", "16"),
    "placement beyond the window": ({"flow": {"distances": 600}}, "flow (A0)", "1024"),
    "table beyond the window": ({"flow": {"limit_rates": [0.1] * 512}}, "flow (A0)", "1024"),
    "widened beyond the window": ({"flow": {"distances": 500}, "regimes": {"kinds": {"x": {"widen": 20}}, "initial": {"x": 1}, "switch_rates": {}}}, "flow (A0)", "520"),
    "empty table": ({"flow": {"limit_rates": []}}, "flow.limit_rates", "1 to 16384"),
    "size without a law": ({"flow": {"limit_size": {}}}, "flow.limit_size", "mean"),
    "size with two laws": ({"flow": {"limit_size": {"mean": 2, "values": [1], "weights": [1]}}}, "flow.limit_size", "mean"),
    "size without weights": ({"flow": {"limit_size": {"values": [1, 2]}}}, "flow.limit_size.weights", "one weight per value"),
    "size of no weight": ({"flow": {"limit_size": {"values": [1], "weights": [0]}}}, "flow.limit_size.weights", "zero"),
    "size of zero lots": ({"flow": {"limit_size": {"values": [0], "weights": [1]}}}, "flow.limit_size.values.0", "1"),
    "book of a flow": (two(flow_per_book={"C": {"market_rate": 1}}), "flow_per_book", "'C'"),
    "key of a book's flow": (two(flow_per_book={"B": {"market_rat": 1}}), "flow_per_book.B.market_rat", "market_rate"),
    "value of a book's flow": (two(flow_per_book={"B": {"market_rate": -1}}), "flow_per_book.B.market_rate", "0"),
    "asymmetric correlation": (correlation([[1.0, 0.5], [0.4, 1.0]]), "fundamentals.correlation", "symmetric"),
    "indefinite correlation": (
        {"market": {"books": 3}, "fundamentals": {"correlation": [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]}},
        "fundamentals.correlation", "semidefinite",
    ),
    "one correlation too negative": ({"market": {"books": 3}, "fundamentals": {"correlation": -0.6}}, "fundamentals.correlation", "semidefinite"),
    "correlation above one": (correlation(1.5), "fundamentals.correlation", "[-1, 1]"),
    "correlation of the wrong size": (correlation([[1.0]]), "fundamentals.correlation", "2 x 2"),
    "ragged correlation": (correlation([[1.0, 0.1], [0.1]]), "fundamentals.correlation", "equal lengths"),
    "no correlation": (correlation([]), "fundamentals.correlation", "2 x 2"),
    "diagonal of the correlation": (correlation([[0.9, 0.1], [0.1, 0.9]]), "fundamentals.correlation", "diagonal"),
    "volatilities": (two(fundamentals={"volatility": [0.1]}), "fundamentals.volatility", "(2)"),
    "negative volatility": (two(fundamentals={"volatility": -0.1}), "fundamentals.volatility", "negative"),
    "no regime": ({"regimes": {"kinds": {}, "initial": {}, "switch_rates": {}}}, "regimes.kinds", "at least one"),
    "regime probabilities": ({"regimes": {"initial": {"normal": 0.5}}}, "regimes.initial", "sum to 1"),
    "unknown regime at reset": ({"regimes": {"initial": {"panic": 1.0}}}, "regimes.initial", "'panic'"),
    "unknown regime to switch to": ({"regimes": {"switch_rates": {"normal": {"panic": 1.0}}}}, "switch_rates", "'panic'"),
    "regime that switches to itself": ({"regimes": {"switch_rates": {"normal": {"normal": 1.0}}}}, "regimes.switch_rates.normal", "itself"),
    "negative switch rate": ({"regimes": {"switch_rates": {"normal": {"stress": -1.0}}}}, "regimes.switch_rates.normal.stress", "0"),
    "book of a pair": (two(agents={"arbitrageur": {"count": 1, "pairs": [["A", "C"]]}}), "agents.arbitrageur.pairs", "'C'"),
    "pair with itself": (two(agents={"arbitrageur": {"count": 1, "pairs": [["A", "A"]]}}), "agents.arbitrageur.pairs", "different"),
    "pair given twice": (two(agents={"arbitrageur": {"pairs": [["A", "B"], ["B", "A"]]}}), "agents.arbitrageur.pairs", "twice"),
    "pair of three": (two(agents={"arbitrageur": {"pairs": [["A", "B", "A"]]}}), "agents.arbitrageur.pairs", ""),
    "arbitrage in one book": ({"agents": {"arbitrageur": {"count": 1}}}, "agents.arbitrageur", "two books"),
    "no pairs": (two(agents={"arbitrageur": {"count": 1, "pairs": []}}), "agents.arbitrageur", ""),
    "book of a target": (two(agents={"taker": {"target_books": ["C"]}}), "agents.taker.target_books", "'C'"),
    "books of no target": (two(agents={"taker": {"target": 0, "target_books": ["A"]}}), "agents.taker.target_books", "is 0"),
    "target beyond the sizes": ({"agents": {"taker": {"count": 1, "target": 500, "max_size": 1}}}, "agents.taker.target", "200"),
    "target beyond the inventory limit": ({"agents": {"taker": {"count": 1, "target": 300}}}, "agents.taker.target", "max_inventory"),
    "latency": ({"market": {"dt": 0.5}, "agents": {"maker": {"latency": 0.5}}}, "agents.maker.latency", "0.5"),
    "threshold": ({"agents": {"taker": {"threshold": 1.0}}}, "agents.taker.threshold", "below 1"),
    "too many agents": ({"agents": {r: {"count": 64} for r in ("maker", "taker", "arbitrageur")}, "market": {"books": 2}}, "agents", "128"),
    "replay of another book": (two(replay={"files": {"A": "a.csv", "C": "c.csv"}}), "replay.files", "'A', 'B'"),
    "replay of some books": (two(replay={"files": {"A": "a.csv"}}), "replay.files", "'A', 'B'"),
    "replay too short": ({"replay": {"files": {"A0": "a"}, "start": 100, "end": 200}}, "replay.start/end", "200 steps"),
    "replay with excitation": ({"replay": {"files": {"A0": "a"}}, "flow": {"hawkes": {}}}, "flow.hawkes", "a replayed market"),
    "replay with hidden orders": ({"replay": {"files": {"A0": "a"}}, "flow": {"metaorders": {}}}, "flow.metaorders", "a replayed market"),
    "replay with multipliers": ({"replay": {"files": {"A0": "a"}}, "flow": {"reactive": {}}}, "flow.reactive", "a replayed market"),
    "replay with round lots": ({"replay": {"files": {"A0": "a"}}, "flow": {"round_lot": 5}}, "flow.round_lot", "a replayed market"),
    "replay with stale quotes": ({"replay": {"files": {"A0": "a"}}, "flow": {"revision_rate": 0.5}}, "flow.revision_rate", "a replayed market"),
    "replay by the own best": ({"replay": {"files": {"A0": "a"}}, "flow": {"reference": "own", "limit_rates": [1.0]}}, "flow.reference", "a replayed market"),
    "replay with a feature of a book": (two(replay={"files": {"A": "a", "B": "b"}}, flow_per_book={"B": {"hawkes": {}}}), "flow_per_book.B.hawkes", "a replayed market"),
    "replay with a lag": ({"replay": {"files": {"A0": "a"}}, "fundamentals": {"lag": [1.0]}}, "fundamentals.lag", "a replayed market"),
    "replay with jumps": ({"replay": {"files": {"A0": "a"}}, "fundamentals": {"jump_rate": 0.1}}, "fundamentals.jump_rate", "a replayed market"),
    "replay backwards": ({"replay": {"files": {"A0": "a"}, "start": 300, "end": 200}}, "replay.start/end", ""),
    "minibatches": ({"ppo": {"minibatches": 7}}, "ppo.minibatches", "divide"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_value_is_named(case, tmp_path):
    tree, key, words = BAD[case]
    path = write(tmp_path, yaml.safe_dump(tree))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    message = str(error.value)
    assert key in message
    assert words in message
    assert len(message.splitlines()) == 1, message
    assert message.startswith(str(path)), "the file should be named"
    assert "pydantic" not in message


def test_every_fault_has_its_line():
    with pytest.raises(ConfigError) as error:
        make_config({"market": {"dt": -1, "windw": 3}, "ppo": {"lr": "x"}})
    keys = [line.split(":")[1].strip() for line in str(error.value).splitlines()]
    assert sorted(keys) == ["market.dt", "market.windw", "ppo.lr"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("market:\n  dt: 1\n  dt: 2\n", ["dt", "twice", "line 3"]),
        ("env: {}\nmarket: {}\nenv: {}\n", ["env", "twice"]),
        ("1: 2\n1: 3\n", ["1", "twice"]),
        ("- market\n- env\n", ["mapping", "list"]),
        ("just words\n", ["mapping", "str"]),
        ("42\n", ["mapping", "int"]),
        ("market: [1, 2\n", ["YAML", "line"]),
        ("market: {dt: 1}\n\tenv: {}\n", ["YAML", "line"]),
        ("a: &a [*a]\n", ["a"]),
        ("market: !!python/object/apply:os.system ['true']\n", ["YAML"]),
        ("3: 4\n", ["3"]),
        ("? [1, 2]\n: 3\n", ["YAML"]),
    ],
)
def test_a_bad_file_is_named(text, words, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    for word in [str(path), *words]:
        assert word in str(error.value)


def test_files_that_are_no_text_or_not_there(tmp_path):
    for name, data in (
        ("binary.yaml", bytes(range(256)) * 4),
        ("nul.yaml", b"\x00\x01"),
        ("utf16.yaml", "env: {}".encode("utf-16")),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=name):
            load_config(path)
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="no such config file"):
            read_yaml(path)
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * (5 << 20))
    with pytest.raises(ConfigError, match="larger than"):
        load_config(big)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("env.num_envs", ["section.key=value"]),
        ("=3", ["section.key=value"]),
        ("env.num_envs=[1", ["YAML"]),
        ("env.num_envs.x=3", ["num_envs"]),
        ("market.dt.x=3", ["market.dt"]),
        ("env..num_envs=3", ["env"]),
        (".=3", [""]),
        ("env=3", ["env"]),
        ("env.num_envs=", ["env.num_envs"]),
        ("env.num_envs=none", ["env.num_envs", "none"]),
        ("ppo.lr=yes", ["ppo.lr", "boolean"]),
        ("ppo.lr=nan", ["ppo.lr"]),
        ("ppo.lr=.nan", ["ppo.lr", "finite"]),
        ("run.seeds=3", ["run.seeds", "seed"]),
        ("market.books=[A, A]", ["market.books", "unique"]),
    ],
)
def test_a_bad_override_is_named(override, words):
    with pytest.raises(ConfigError) as error:
        load_config(None, [override])
    for word in words:
        assert word in str(error.value)


def test_a_bare_off_switches_graphs_off():
    assert make_config({"name": "x"}, ["run.cuda_graphs=off"]).run.cuda_graphs == "off"
    assert make_config({"run": {"cuda_graphs": False}}).run.cuda_graphs == "off"


def test_overrides_are_a_list():
    with pytest.raises(ConfigError, match="list"):
        load_config(None, "env.num_envs=3")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("agents.maker.quote_spread=1e12", "agents.maker.quote_spread"),
        ("flow.placement_decay=1e-4", "placement_decay"),
        ("fundamentals.volatility=1e30", "fundamentals.volatility"),
        ("flow.tilt=1e300", "flow.tilt"),
        ("market.dt=1e300", "market.dt"),
        ("name=2024-13-45", "not valid YAML"),
        (".=3", "section.key=value"),
    ],
)
def test_values_far_beyond_any_use_are_refused(override, words):
    extra = ["flow.spread_preference=0.5"] if "decay" in override else []
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        load_config(None, [*extra, override])


def test_a_single_regime_setting_keeps_the_other_regimes():
    cfg = load_config(None, ["regimes.kinds.stress.limit=0.5"])
    assert cfg.regimes.names == ["normal", "stress"]
    assert cfg.regimes.kinds["stress"].limit == 0.5
    assert cfg.regimes.kinds["stress"].market == 1.3


def test_merge_keys_work(tmp_path):
    (tmp_path / "m.yaml").write_text(
        "agents:\n  maker: &a {latency: 0.1}\n  taker: {<<: *a, count: 1}\n", encoding="utf-8"
    )
    cfg = load_config(tmp_path / "m.yaml")
    assert (cfg.agents.taker.latency, cfg.agents.taker.count, cfg.agents.maker.count) == (0.1, 1, 1)


def test_the_example_of_flow_features_is_a_scenario():
    text = (Path(__file__).parents[1] / "docs" / "flow.md").read_text()
    cfg = make_config(yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]))
    assert all((cfg.flow.hawkes, cfg.flow.metaorders, cfg.flow.reactive, cfg.intraday, cfg.fundamentals.lag))


# --- hostile files ---

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "a billion laughs": (LAUGHS, "aliases"),
    "laughs by merging": (LAUGHS.replace("[", "{<<: [").replace("]", "]}"), "aliases"),
    "holds itself": ("market: &m {books: [*m]}", "holds it"),
    "deep brackets": ("market: " + "[" * 100_000, "brackets deeper"),
    "deep lines": ("\n".join(" " * i + "a:" for i in range(1500)), "not valid YAML"),
    "a NUL": ('run: {dir: "a\\0b"}', r"run\.dir: 'a\\x00b' holds a character that is none"),
    "half a pair": ('market: {books: ["\\ud800"]}', r"market\.books\.0: .* holds a character"),
    "an object": ("name: !!python/object/apply:os.getcwd []", "not valid YAML"),
    "a bool that is none": ("name: !!bool x", "not valid YAML"),
    "an integer of nothing": ("name: !!int ''", "not valid YAML"),
    "a time that is none": ("name: !!timestamp x", "not valid YAML"),
    "many digits": (f"run: {{seed: {'9' * 5000}}}", "not valid YAML"),
    "a key twice": ("market: {dt: 1.0, dt: 2.0}", "given twice"),
    "a section twice": ("market: {dt: 1.0}\nmarket: {dt: 2.0}", "given twice"),
    "two documents": ("name: a\n---\nname: b", "not valid YAML"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case):
    text, words = HOSTILE[case]
    with pytest.raises(ConfigError, match=words) as error:
        load_config(write(tmp_path, text))
    assert "scenario.yaml" in str(error.value)
    assert len(str(error.value)) < 10_000


KEYS = st.sampled_from(
    ["market", "flow", "agents", "maker", "books", "dt", "stress", "regimes", "kinds", "ppo", "lr", "", "x"]
)
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(Config.model_fields)) | st.text(max_size=4), JUNK, min_size=1, max_size=3
    )
)
def test_junk_is_a_config_error_that_names_its_key(tree):
    says = ""
    try:
        make_config(tree)
    except ConfigError as error:
        says = str(error)
    assert not says or any(str(key) in says or repr(str(key))[1:-1] in says for key in tree)
