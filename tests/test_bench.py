"""The benchmark: what it counts is what happened, its report has its shape, its errors come before its work. No timing."""

import json
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from lobgraph import MarketEnv, bench, cli
from lobgraph.bench import adapters, derive, market, plan, start, steps, table, tape, timing, world
from lobgraph.bench.world import Setting
from lobgraph.config import ConfigError
from lobgraph.market.state import (
    ACTION,
    AGGRESSIVE_BOUGHT,
    AGGRESSIVE_SOLD,
    EVENTS,
    ORDER_PX,
    ORDER_REST,
    TAPE_TRADE,
)

BRIEF = timing.Effort(seconds=0.001, repeats=2)
TINY = [
    (market.flow_events, Setting(envs=4, events=300.0)),
    (tape.tape_messages, Setting(envs=2, events=500)),
    (market.agent_messages, Setting(envs=4, makers=3, takers=0)),
    (market.book_messages, Setting(envs=4, makers=3, takers=0)),
    (steps.env_steps, Setting(envs=16, events=50.0, threads=2)),
    *((steps.env_steps, Setting(envs=1, events=e)) for e in (5.0, 20.0, 80.0)),
    (steps.train_steps, Setting(envs=8, books=2, takers=0, arbitrageurs=1)),
    (market.featured_events, Setting(envs=4, events=300.0)),
    # as many as are installed: none without the extras
    *(
        (partial(adapters.adapters, adapter=a), Setting(envs=1 if a in plan.ALONE else 4))
        for a in adapters.installed()
    ),
]
KNOWN = set(bench.NAMES) - (set() if adapters.installed() else {"adapters"})
FIELDS = {
    "name": str, "environments": int, "books": int, "agents_per_role": dict, "events_per_step": float,
    "threads": int, "median": float, "min": float, "max": float, "unit": str,
}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A run of a small plan, as it stands in its file."""
    path = tmp_path_factory.mktemp("bench") / "new" / "bench.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tape, "MESSAGES", 10_000)
        bench.run_bench(json_path=path, cases=TINY, effort=BRIEF)
    return json.loads(path.read_text())


# --- the report ---


def test_a_report_holds_machine_and_cases(report):
    assert {"processor", "cores", "load_before", "load_after", "python", "numpy", "numba", "torch"} <= set(
        report["machine"]
    )
    assert [c["name"] for c in report["cases"]] == [plan.case_name(f) for f, _ in TINY]
    assert {c["name"] for c in report["cases"]} == KNOWN
    for case in report["cases"]:
        assert {key: type(case[key]) for key in FIELDS} == FIELDS
        assert 0 < case["min"] <= case["median"] <= case["max"]
        assert case["repeats"] == BRIEF.repeats
        assert case["unit"].endswith("/s")


def test_cases_name_their_sizes(report):
    flow, replay, messages, books, env, *_, train, _ = report["cases"][: -len(adapters.installed()) or None]
    assert (flow["environments"], flow["books"], flow["agents_per_role"]) == (4, 1, {})
    assert (replay["environments"], replay["agents_per_role"], replay["source"]) == (
        2,
        {"maker": 1},
        "synthetic",
    )
    assert messages["agents_per_role"] == books["agents_per_role"] == {"maker": 3}
    assert (messages["driver"], books["driver"]) == ("env.step", "books")
    assert messages["carried_out_share"] == books["carried_out_share"] == 1.0
    assert env["agents_per_role"] == {"maker": 1, "taker": 1}
    assert (train["books"], train["agents_per_role"]) == (2, {"maker": 1, "arbitrageur": 1})
    assert sum(train["phase_shares"].values()) == pytest.approx(1.0)


@pytest.mark.skipif(not adapters.installed(), reason="no adapter's library is installed")
def test_adapters_stand_beside_the_native_loop(report):
    mine = [c for c in report["cases"] if c["name"] == "adapters"]
    assert [c["adapter"] for c in mine] == adapters.installed()
    for c in mine:
        assert c["added_us"] == pytest.approx(1e6 * c["environments"] * (1 / c["median"] - 1 / c["native"]))
        assert f"{c['adapter']}: {c['median'] / c['native']:.0%} of native" in table.notes_of(c)


def test_threads_are_those_used(report):
    """Two are asked for; a batch of 16 takes them, one of 8 does not."""
    assert report["cases"][4]["threads"] == 2
    env = MarketEnv(Setting(envs=8, threads=2).config())
    assert world.threads_used(env) == 1


def test_overheads_follow_from_the_cases(report):
    """env_steps on two threads have no flow measured on two; those on one have it."""
    two, *alone = [c for c in report["cases"] if c["name"] == "env_steps"]
    assert two["overhead_ns"] is None
    flow = report["cases"][0]
    for c in alone:
        expected = c["core_ns"] - c["reset_ns_per_step"] - c["events_per_step"] * flow["core_ns"]
        assert c["overhead_ns"] == pytest.approx(expected)
    assert report["one_environment"]["few_events"] == alone[0]["events_per_step"]
    assert report["one_environment"]["few_events_us"] == pytest.approx(alone[0]["overhead_ns"] / 1e3)


def test_progress_and_table_show_every_case(report, capsys):
    from rich.console import Console

    table.print_report(Console(), report)
    out = capsys.readouterr().out
    assert all(name in out for name in KNOWN)
    assert "one environment alone" in out
    assert "bytes of state per book" in out
    assert "100.00%" in out


def test_state_bytes_are_those_of_the_arrays():
    env = MarketEnv(Setting(envs=3, books=2).config())
    assert world.state_bytes(env) * 6 == pytest.approx(sum(a.nbytes for a in env.state), abs=3)
    assert world.state_bytes(env) > env.state.qty.itemsize * env.cfg.market.window


# --- counts ---


def test_flow_events_are_the_change_of_the_counter(report):
    """The rate's units: a second environment of the same seed, stepped by hand, counts the same."""
    setting = Setting(envs=4, makers=0, takers=0, events=300.0)
    env, _ = world.settled(setting, [market.ENDLESS])
    seen = [env.state.head[:, :, EVENTS].copy()]
    for _ in range(40):
        env.step({})
        seen.append(env.state.head[:, :, EVENTS].copy())
    assert (np.diff(seen, axis=0) > 0).all()
    again, _ = world.settled(setting, [market.ENDLESS])
    counted = world.count_events(again, [{}], 40)
    assert counted * 40 * 4 == pytest.approx((seen[-1] - seen[0]).sum(), abs=1e-6)
    assert report["cases"][0]["events_per_step"] == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize("events", [2.0, 100.0])
def test_a_step_has_about_as_many_events_as_asked(events):
    setting = Setting(envs=64, events=events)
    env, actions = world.settled(setting)
    assert world.count_events(env, actions, 100) == pytest.approx(events, rel=0.1)


def test_steps_that_end_an_episode_are_not_counted():
    """With episodes of 5 steps four of five count, as many events as in the same steps of a long episode."""
    setting, short = Setting(envs=8, makers=0, takers=0), ["env.stagger=false", "env.episode_steps=5"]
    envs = [MarketEnv(setting.config(1.0, o)) for o in (short, ["env.stagger=false"])]
    for env in envs:
        env.reset()
    assert world.count_events(envs[0], [{}], 5) == world.count_events(envs[1], [{}], 4) > 10


@pytest.mark.parametrize(("makers", "takers", "books"), [(3, 0, 1), (10, 0, 2), (2, 3, 1), (0, 2, 2)])
def test_agent_messages_are_those_in_the_books_and_accounts(makers, takers, books):
    """The headers' count is that of the messages sent; every quote stands where it was asked for, every trade in an account."""
    env = MarketEnv(Setting(envs=3, books=books, makers=makers, takers=takers).config(1.0, market.QUIET))
    actions = market.message_actions(env)
    env.reset()
    assert market.messages_done(env) == 0
    sent, traded = 0, 0
    for i in range(24):
        before = env.state.order[:, :, ORDER_PX].copy()
        env.step(actions[i % len(actions)])
        sent += int((env.state.message[..., ACTION] != 0).sum())
        traded += int(env.state.account[:, :, :, AGGRESSIVE_BOUGHT : AGGRESSIVE_SOLD + 1].sum())
        slots = 2 * makers
        if i:
            assert (env.state.order[:, :, ORDER_PX, :slots] != before[..., :slots]).all()
        if not takers:
            assert (env.state.order[:, :, ORDER_REST, :slots] == market.QUOTE_LOTS).all()
    assert sent == 24 * 3 * books * (makers + takers)
    assert market.messages_done(env) == sent
    assert traded == 24 * 3 * books * takers


def test_books_alone_do_the_same_as_whole_steps():
    """The books' driver leaves quantities, orders and accounts as env.step does."""
    envs = [
        MarketEnv(Setting(envs=2, books=2, makers=2, takers=2).config(1.0, market.QUIET)) for _ in range(2)
    ]
    actions = market.message_actions(envs[0])
    for env in envs:
        env.reset()
    for i in range(12):
        envs[0].step(actions[i % len(actions)])
        arrays = envs[1]._arrays(actions[i % len(actions)])
        market.step_books(envs[1]._world, *arrays, 0, 2)
    for name in ("qty", "head", "order", "account", "clock"):
        np.testing.assert_array_equal(*(getattr(env.state, name) for env in envs))
    assert market.messages_done(envs[0]) == market.messages_done(envs[1]) == 12 * 2 * 2 * 4


def test_a_message_that_changes_nothing_is_not_counted():
    """The same quotes again keep their place: sent, but not carried out."""
    env = MarketEnv(Setting(envs=2, makers=2, takers=0).config(1.0, market.QUIET))
    actions = market.message_actions(env)
    env.reset()
    for _ in range(5):
        env.step(actions[0])
    assert market.messages_done(env) == 4


# --- replay ---


def test_tape_messages_rest_a_quote_and_count_the_tape(report):
    case = report["cases"][1]
    assert case["resting_share"] == 1.0
    assert case["events_per_step"] == 500.0


def test_a_filled_quote_is_an_error(monkeypatch):
    """A trade through every level fills the maker: the figure would not be that of a resting order."""
    monkeypatch.setattr(tape, "MESSAGES", 10_000)
    whole = tape.synthetic_tape(tape.MESSAGES)
    kind, side, px, qty = (column.copy() for column in (whole.kind, whole.side, whole.px, whole.qty))
    at = slice(700, None, 700)  # often enough that any start of an episode meets one
    kind[at], side[at], px[at], qty[at] = TAPE_TRADE, 1, 1, 1 << 20
    swept = whole._replace(kind=kind, side=side, px=px, qty=qty)
    monkeypatch.setattr(tape, "synthetic_tape", lambda messages: swept)
    with pytest.raises(RuntimeError, match="quotes rested in"):
        tape.tape_messages(Setting(envs=2, events=500), BRIEF)


def test_recorded_files_are_looked_up_below_lobgraph_data(monkeypatch, tmp_path):
    monkeypatch.delenv("LOBGRAPH_DATA", raising=False)
    assert tape.recorded_file() is None
    with pytest.raises(FileNotFoundError, match="LOBGRAPH_DATA"):
        tape.file_messages(Setting(envs=1), BRIEF)
    file = tmp_path / "lobster" / "AMZN_2012-06-21_34200000_57600000_message_5.csv"
    file.parent.mkdir()
    file.touch()
    monkeypatch.setenv("LOBGRAPH_DATA", str(tmp_path))
    assert tape.recorded_file() == file


# --- what follows from several cases ---


def made(name, envs, events, ns, threads=1, agents=None, books=1):
    return {
        "name": name, "environments": envs, "books": books, "threads": threads, "events_per_step": events,
        "agents_per_role": ({"maker": 1, "taker": 1} if name == "env_steps" else {}) if agents is None else agents,
        "core_ns": ns, "reset_ns_per_step": 100.0,
    }  # fmt: skip


def test_a_line_is_found():
    x = [1.0, 10.0, 100.0, 400.0]
    assert timing.line(x, [50.0 + 3.0 * v for v in x]) == pytest.approx((50.0, 3.0, 0.0), abs=1e-6)
    assert timing.line(x, [55.0, 80.0, 350.0, 1400.0])[2] > 1.0


def test_overhead_is_less_events_and_resets_on_as_many_threads():
    cases = [
        made("flow_events", 1024, 400.0, 50.0),
        made("flow_events", 1024, 400.0, 60.0, threads=2),
        made("flow_events", 1024, 10.0, 5.0),  # too few events a step: its steps would count
        made("flow_events", 1, 8000.0, 40.0),
        made("env_steps", 1024, 100.0, 6000.0),
        made("env_steps", 1024, 100.0, 7000.0, threads=2),
        made("env_steps", 2, 100.0, 6000.0),
    ]
    derive.add_overhead(cases)
    assert [c["overhead_ns"] for c in cases[4:]] == pytest.approx([900.0, 900.0, 1900.0])


def test_one_environment_by_both_methods():
    cases = [made("flow_events", 1, 8000.0, 50.0)]
    cases += [made("env_steps", 1, e, 30_100.0 + 60.0 * e) for e in (10.0, 100.0, 400.0)]
    derive.add_overhead(cases)
    alone = derive.one_environment(cases)
    assert alone == pytest.approx({
        "few_events_us": 30.1, "few_events": 10.0, "intercept_us": 30.0, "slope_ns_per_event": 60.0,
        "worst_deviation_percent": 0.0,
    }, abs=1e-6)  # fmt: skip
    assert derive.one_environment(cases[:3]) is None


def test_deviations_from_linear_cost():
    cases = [made("env_steps", e, 100.0, ns) for e, ns in ((1, 12_000.0), (1024, 6000.0), (4096, 6600.0))]
    cases += [made("env_steps", 1024, e, 1100.0 + 49.0 * e) for e in (1.0, 400.0)]
    cases += [made("env_steps", 4096, 100.0, 9000.0, threads=2), made("env_steps", 1024, 99.0, 1.0, books=4)]
    found = derive.linearity(cases)
    assert found["environments"]["worst_percent"] == pytest.approx(100.0)
    assert found["environments"]["worst_percent_from_256"] == pytest.approx(10.0)
    assert found["events"] == pytest.approx(
        {"worst_percent": 0.0, "intercept_ns": 1000.0, "slope_ns_per_event": 49.0}, abs=1e-6
    )
    assert "flow_environments" not in found


# --- plan, command, errors ---


def test_the_plan_sweeps_every_axis(monkeypatch):
    monkeypatch.delenv("LOBGRAPH_DATA", raising=False)
    cases = plan.plan(cores=2, quick=False)
    assert len(cases) == len(set(cases))
    for name in ("flow_events", "env_steps", "agent_messages"):
        mine = [s for f, s in cases if plan.case_name(f) == name]
        assert {s.envs for s in mine} >= {1, 16, 256, 1024, 4096, 16384}
        assert {s.threads for s in mine} == {1, 2}
        assert {s.books for s in mine} >= {1, 4, 16}
    env = [s for f, s in cases if f is steps.env_steps]
    assert {s.events for s in env if s.envs == 1} == {1, 3, 10, 30, 100, 400}
    assert {s.makers for s in env} >= {1, 10}
    for quick in (True, False):
        assert {plan.case_name(f) for f, _ in plan.plan(2, quick)} == KNOWN
    assert len(plan.plan(2, quick=True)) < len(cases) / 3


def test_one_core_plans_nothing_twice():
    cases = plan.plan(cores=1, quick=False)
    assert len(cases) == len(set(cases))
    assert {s.threads for _, s in cases} == {1}


def test_only_chooses_cases():
    chosen = plan.chosen(TINY, ("env_steps",))
    assert [f for f, _ in chosen] == [steps.env_steps] * 4
    assert plan.chosen(TINY, ()) == TINY


def test_a_recorded_file_is_a_case_of_the_tape(monkeypatch, tmp_path):
    (tmp_path / "AMZN_2012-06-21_1_2_message_5.csv").touch()
    monkeypatch.setenv("LOBGRAPH_DATA", str(tmp_path))
    cases = plan.plan(2, quick=False)
    assert [plan.case_name(f) for f, _ in cases if f is tape.file_messages] == ["tape_messages"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--only", "env_step"], "env_steps, adapters, train_steps, process_start"),
        (["--json", "{tmp}"], "is a directory; name the file"),
        (["--json", "{tmp}/file/bench.json"], "{tmp}/file"),
    ],
)
def test_errors_come_before_the_work(args, says, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(plan, "plan", None)
    monkeypatch.setattr(sys, "argv", ["lobgraph", "bench", *(a.format(tmp=tmp_path) for a in args)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    done = capsys.readouterr()
    assert exit_.value.code == 2
    assert done.err.startswith("error: ")
    assert says.format(tmp=tmp_path) in done.err
    assert not done.out


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="unknown case 'flow'; cases are flow_events, featured_events"):
        bench.run_bench(only=["flow"])


def test_random_actions_are_within_bounds_and_differ():
    env = MarketEnv(Setting(envs=4, books=2, arbitrageurs=1).config())
    sets = world.random_actions(env)
    for role, spec in env.specs.items():
        low, high = torch.from_numpy(spec.low), torch.from_numpy(spec.high)
        assert all(((a[role] >= low) & (a[role] <= high)).all() for a in sets)
        assert not torch.equal(sets[0][role], sets[1][role])


def test_a_window_is_whole_blocks():
    done = []

    def work(count):
        done.append(count)
        return 1.0

    windows = timing.windows_of(work, replace(BRIEF, repeats=3), block=7)
    assert len(windows.rates) == len(windows.cores) == 3
    assert len(done) == 5
    assert all(count % 7 == 0 for count in done)


@pytest.mark.slow
def test_process_start_compiles_once():
    found = start.process_start(repeats=1)
    assert found["cold"]["compiled"] > found["cached"]["compiled"] == 0
    assert found["cold"]["first_call_seconds"] > 0
    for run in found.values():
        parts = [run[f"{part}_seconds"] for part in ("interpreter", "import", "first_call")]
        assert sum(parts) == pytest.approx(run["seconds"])
