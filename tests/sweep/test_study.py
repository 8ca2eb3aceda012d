"""Sweeps from outside: their files, that they go on after being killed, what does not start. Trials here are not trained."""

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pandas as pd
import pytest

from lobgraph.config import ConfigError, load_config
from lobgraph.rl import extras
from lobgraph.rl.places import read_state
from lobgraph.rl.run import locked
from lobgraph.sweep import study as studies
from lobgraph.sweep.figure import draw, importances
from lobgraph.sweep.study import Sweep, best_trial, load, run, start
from lobgraph.sweep.trial import STUDY, Job, Outcome, directory_of, run_trial, storage_of

TREE = {
    "name": "tiny", "env": {"num_envs": 4, "episode_steps": 10}, "graph": {"hidden": 8, "encoder": "mlp"}, "flow": {"warmup": 1.0},
    "ppo": {"rollout_steps": 10, "minibatches": 2, "total_steps": 120},
    "run": {"tensorboard": False, "evaluate_every": 1, "evaluate_episodes": 4},
}  # fmt: skip
LR = "ppo.lr=1e-4..1e-2:log"


def asked(**changes):
    given = {
        "tree": TREE,
        "over": [LR, "graph.hidden=8,16"],
        "role": "maker",
        "measure": "return",
        "better": 1,
        "trials": 6,
    }
    return Sweep(**(given | {"episodes": 4} | changes))


class Pool:
    """Runs jobs here, one after the other, as `judge` says."""

    _processes = None

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, _, job):
        future = Future()
        try:
            future.set_result(Pool.judge(job))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_):
        pass


@pytest.fixture
def here(monkeypatch):
    """Trials judged by a function of their job instead of being trained."""
    pytest.importorskip("optuna")
    monkeypatch.setattr(studies, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(studies, "_compile", lambda cfg: None)

    def judge_by(function):
        Pool.judge = staticmethod(function)

    return judge_by


def settings_of(job):
    return dict(text.split("=") for text in job.settings)


def by_rate(job):
    """The higher the rate the better; the size counts for nothing."""
    return Outcome("complete", float(np.log10(float(settings_of(job)["ppo.lr"]))), 0.1, 1.0)


def silent(_):
    pass


def test_a_sweep_finds_what_matters(here, tmp_path):
    import optuna

    here(by_rate)
    sweep = asked(trials=25)
    path = start(sweep, tmp_path)
    table = run(sweep, path, note=silent)
    assert (table["state"] == "complete").all()
    best = best_trial(sweep, table)
    assert best["value"] == table["value"].max()
    assert best["ppo.lr"] == table["ppo.lr"].max()
    cfg = load_config(path / "best.yaml")
    assert cfg.ppo.lr == best["ppo.lr"]
    assert str(cfg.graph.hidden) == best["graph.hidden"]
    assert cfg.ppo.total_steps == 120  # all else as it was
    written = pd.read_csv(path / "trials.csv", dtype={"graph.hidden": str}, keep_default_na=False)
    assert written["trial"].tolist() == list(range(25))
    np.testing.assert_allclose(written["value"].astype(float), table["value"].astype(float))
    shares = importances(optuna.load_study(study_name=STUDY, storage=storage_of(path)), sweep)
    assert shares["ppo.lr"] > 0.8 > 0.2 > shares["graph.hidden"]
    fig = draw(sweep, table, shares)
    assert [ax.get_xlabel() for ax in fig.axes] == [
        "share of importance (PED-ANOVA)",
        "ppo.lr",
        "graph.hidden",
    ]
    star = next(line for line in fig.axes[1].lines if line.get_marker() == "*")
    assert star.get_xydata().tolist() == [[best["ppo.lr"], best["value"]]]


def test_less_may_be_better(here, tmp_path):
    here(by_rate)
    sweep = asked(measure="max_drawdown", better=-1)
    table = run(sweep, start(sweep, tmp_path), note=silent)
    assert best_trial(sweep, table)["ppo.lr"] == table["ppo.lr"].min()


def test_killed_trials_are_said_and_run_again(here, tmp_path):
    """A process that dies in the middle: what it tried runs again, what was done is kept, nothing is asked twice."""
    lines = []
    sweep = asked(trials=5)
    path = start(sweep, tmp_path)

    def die_at_2(job):
        if job.number == 2:
            raise KeyboardInterrupt
        return by_rate(job)

    here(die_at_2)
    with pytest.raises(KeyboardInterrupt):
        run(sweep, path, note=lines.append)
    done = pd.read_csv(path / "trials.csv")
    here(by_rate)
    table = run(load(path), path, note=lines.append)
    assert "trial 2: killed: an earlier process ended before it did; its values run again" in lines
    assert table["state"].tolist() == ["complete", "complete", "killed", "complete", "complete", "complete"]
    assert table.loc[3, "ppo.lr"] == table.loc[2, "ppo.lr"]
    assert table["value"][:2].tolist() == pytest.approx(done["value"].tolist())
    assert len(run(load(path), path, note=silent)) == 6  # nothing is left
    assert len(run(load(path, trials=7), path, note=silent)) == 8


def test_half_a_line_of_the_record_is_dropped(here, tmp_path):
    """What a process left that was killed while it wrote."""
    here(by_rate)
    path = start(asked(trials=3), tmp_path)
    run(load(path), path, note=silent)
    journal = path / "trials.journal"
    for trials in (5, 6):
        journal.write_bytes(journal.read_bytes()[:-20])
        table = run(load(path, trials=trials), path, note=silent)
        assert (table["state"] == "complete").sum() >= trials - 1
        assert journal.read_bytes().endswith(b"\n")


def test_values_that_take_their_process_down_are_given_up(here, tmp_path):
    """They run three times and count once: a sweep in which all do so ends."""

    def judge(job):
        if settings_of(job)["graph.hidden"] == "16":
            raise BrokenProcessPool
        return Outcome("complete", 1.0, 0.1, 1.0)

    here(judge)
    lines = []
    sweep = asked(over=["graph.hidden=8,16", "ppo.epochs=1,2"], trials=6)
    table = run(sweep, start(sweep, tmp_path), note=lines.append)
    killed = table[table["state"] == "killed"]
    given_up = sum("given up" in line for line in lines)
    assert given_up >= 1
    assert (table["state"] == "complete").sum() + given_up == 6
    assert set(killed["graph.hidden"]) == {"16"}
    assert len(killed) == sum("killed" in line for line in lines)


def test_the_same_values_are_not_trained_twice_and_refusals_are_said(here, tmp_path):
    trained = []

    def judge(job):
        trained.append(tuple(job.settings))
        if settings_of(job)["ppo.epochs"] == "2":
            return Outcome("failed", note="ppo: refused")
        return Outcome("complete", len(trained), 0.1, 1.0)

    here(judge)
    lines = []
    sweep = asked(over=["graph.hidden=8,16", "ppo.epochs=1,2"], trials=12)
    table = run(sweep, start(sweep, tmp_path), note=lines.append)
    good = [s for s in trained if "ppo.epochs=1" in s]
    assert len(good) == len(set(good)) == 2
    assert len(table) == 12
    assert table["note"].str.startswith("as trial").any()
    assert (table.loc[table["ppo.epochs"] == "2", "note"] == "ppo: refused").all()
    assert any("failed (ppo: refused)" in line for line in lines)


def test_what_cannot_start_is_refused_at_once(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    for changes, says in (
        ({"over": ["ppo.lrr=1..2"]}, "did you mean 'lr'"),
        ({"role": "taker"}, "--role taker: does not learn; those that do are maker"),
        ({"prune": True, "measure": "pnl"}, "--prune"),
        ({"over": ["run.progress=true,false"]}, "--over run.progress: changes nothing"),
    ):
        with pytest.raises(ConfigError, match=says):
            start(asked(**changes), tmp_path)
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match="optuna is not installed; install the extra 'sweep'"):
        start(asked(), tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="a sweep's directory has one"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("trials: many", r"sweep.yaml: trials: must be a whole number \(got 'many'\)"),
        ("trials: 3", "sweep.yaml: role: is missing"),
        ("tials: 3", "sweep.yaml: tials: unknown key"),
        ("- 3", "sweep.yaml"),
        (
            "tree: {agents: {maker: {count: 1}}}\nover: [ppo.lr=1e-4..1e-3]\nrole: maker\nmeasure: nope\nbetter: 1\ntrials: 1",
            "--measure nope",
        ),
    ],
)
def test_a_spoilt_record_of_what_was_asked_is_named(tmp_path, text, says):
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load(tmp_path)


def test_one_process_at_a_time(here, tmp_path):
    here(by_rate)
    path = start(asked(), tmp_path)
    with locked(path), pytest.raises(FileExistsError, match="another training is writing here"):
        run(asked(), path, note=silent)


def job_of(path, *settings, **changes):
    given = {"sweep": str(path), "number": 0, "trial_id": 0, "tree": TREE, "settings": list(settings), "role": "maker",
             "measure": "return", "seeds": 1, "episodes": 4, "seed": 7, "prune": False, "threads": 1}  # fmt: skip
    return Job(**(given | changes))


def test_a_trial_is_a_run_and_its_value_is_that_of_evaluate(tmp_path):
    from lobgraph import evaluate

    outcome = run_trial(job_of(tmp_path, "ppo.lr=0.001"))
    home = directory_of(tmp_path, 0)
    cfg = load_config(home / "config.yaml")
    assert cfg.ppo.lr == 0.001
    assert read_state(home).state == "finished"
    returns = evaluate(cfg, {"maker": home}, episodes=4, seed=7)["return"]
    assert outcome.state == "complete"
    assert outcome.value == pytest.approx(returns.mean())
    assert outcome.error == pytest.approx(returns.std(ddof=1) / 2)
    two = run_trial(job_of(tmp_path, "ppo.lr=0.001", number=1, seeds=2))
    assert {p.name for p in directory_of(tmp_path, 1).iterdir()} == {"seed_0", "seed_1"}
    other = evaluate(cfg, {"maker": directory_of(tmp_path, 1) / "seed_1"}, episodes=4, seed=7)[
        "return"
    ].mean()
    assert two.value == pytest.approx((outcome.value + other) / 2)


def test_settings_that_do_not_go_together_are_an_outcome(tmp_path):
    outcome = run_trial(job_of(tmp_path, "graph.encoder=gat", "graph.hidden=9"))
    assert outcome.state == "failed"
    assert "graph.heads" in outcome.note
    assert not directory_of(tmp_path, 0).exists()


def test_pruning_stops_a_training(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name=STUDY, storage=storage_of(tmp_path), direction="maximize")
    for value in (1e6, 2e6, 3e6, 4e6, 5e6):  # better than any training here
        trial = study.ask()
        for step in (40, 80, 120):
            trial.report(value, step)
        study.tell(trial, value)
    trial = study.ask()
    outcome = run_trial(job_of(tmp_path, "ppo.lr=0.001", trial_id=trial._trial_id, number=5, prune=True))
    assert outcome.state == "pruned"
    assert outcome.note == "pruned after 40 steps"
    assert read_state(directory_of(tmp_path, 5))[:2] == ("stopped", "callback")
    reported = study.get_trials()[5].intermediate_values
    assert list(reported) == [40]


@pytest.mark.slow
def test_trials_in_processes(tmp_path):
    """With real processes: the same table for one job as by run_trial itself, and the command's files."""
    pytest.importorskip("optuna")
    sweep = asked(trials=2)
    path = start(sweep, tmp_path)
    table = run(sweep, path, jobs=2, note=silent)
    assert (table["state"] == "complete").all()
    for row in table.itertuples():
        job = job_of(tmp_path / "again", f"ppo.lr={table.loc[row.Index, 'ppo.lr']}",
                     f"graph.hidden={table.loc[row.Index, 'graph.hidden']}", number=row.trial, seed=sweep.seed)  # fmt: skip
        assert run_trial(job).value == pytest.approx(row.value, rel=1e-6)
