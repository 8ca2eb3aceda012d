"""What follows from several cases together: overhead per env step, one environment alone, deviation from linear cost.

All from `core_ns`, processor time, so that other processes on the machine disturb it as little as they can.
"""

from __future__ import annotations

from typing import Any

from .timing import line

Cases = list[dict[str, Any]]


def add_overhead(cases: Cases) -> None:
    """Give each env_steps case flow_ns_per_event and overhead_ns: per core, less events x flow time and less resets.

    The flow time is that of flow_events with the same environments, books and threads, else of the nearest size on as
    many threads. None where none was measured.
    """
    for case in (c for c in cases if c["name"] == "env_steps"):
        flow = _flow_ns(cases, case)
        case["flow_ns_per_event"] = flow
        case["overhead_ns"] = (
            None
            if flow is None
            else case["core_ns"] - case["reset_ns_per_step"] - case["events_per_step"] * flow
        )


def _flow_ns(cases: Cases, case: dict[str, Any]) -> float | None:
    """Flow time per event for a case; of flow_events with at least 300 events a book, so that steps do not count."""
    flows = [
        c
        for c in cases
        if c["name"] == "flow_events"
        and c["threads"] == case["threads"]
        and c["events_per_step"] >= 300 * c["books"]
    ]
    if not flows:
        return None

    def distance(flow: dict[str, Any]) -> tuple[float, int]:
        books = flow["environments"] * flow["books"] / (case["environments"] * case["books"])
        return max(books, 1.0 / books), abs(flow["books"] - case["books"])

    return min(flows, key=distance)["core_ns"]


def one_environment(cases: Cases) -> dict[str, Any] | None:
    """Microseconds per step of one environment beyond its events, by two methods; None without such cases.

    few_events_us: the step with fewest events, less their flow time. intercept_us and slope_ns_per_event: a line over all.
    Resets are taken off both.
    """
    points = sorted(
        (
            c
            for c in cases
            if c["name"] == "env_steps"
            and c["environments"] == 1
            and c["books"] == 1
            and c["agents_per_role"] == {"maker": 1, "taker": 1}
        ),
        key=lambda c: c["events_per_step"],
    )
    if len(points) < 3:
        return None
    events, ns = [c["events_per_step"] for c in points], [_net_ns(c) for c in points]
    intercept, slope, error = line(events, ns)
    few = points[0]["overhead_ns"]
    return {
        "few_events_us": None if few is None else few / 1e3,
        "few_events": events[0],
        "intercept_us": intercept / 1e3,
        "slope_ns_per_event": slope,
        "worst_deviation_percent": error,
    }


def linearity(cases: Cases) -> dict[str, dict[str, Any]]:
    """Worst deviations from linear cost in percent, by sweep; only what was measured.

    environments: cost of one env step against that at 1,024 environments, on one thread. flow_environments: cost of one
    flow event likewise. events: env_steps at 1,024 environments against the best line over events per step.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, name in (("environments", "env_steps"), ("flow_environments", "flow_events")):
        costs = _costs(cases, name)
        others = {
            e: 100.0 * (cost / costs[1024] - 1.0) for e, cost in costs.items() if 1024 in costs and e != 1024
        }
        if len(others) > 1:  # a quick run's one environment alone says nothing of batches
            batches = {e: d for e, d in others.items() if e >= 256}
            found[key] = {
                "worst_percent": max(others.values(), key=abs),
                "worst_percent_from_256": max(batches.values(), key=abs) if batches else None,
                "percent_by_environments": {str(e): d for e, d in others.items()},
            }
    points = [c for c in _single(cases, "env_steps") if c["environments"] == 1024]
    if len(points) >= 3:
        intercept, slope, error = line([c["events_per_step"] for c in points], [_net_ns(c) for c in points])
        found["events"] = {
            "worst_percent": error,
            "intercept_ns": intercept,
            "slope_ns_per_event": slope,
        }
    return found


def _net_ns(case: dict[str, Any]) -> float:
    return case["core_ns"] - case["reset_ns_per_step"]


def _single(cases: Cases, name: str) -> Cases:
    """Cases of one book on one thread, with the baseline's agents or none."""
    agents = {"env_steps": {"maker": 1, "taker": 1}, "flow_events": {}}[name]
    return [
        c
        for c in cases
        if c["name"] == name and c["threads"] == 1 and c["books"] == 1 and c["agents_per_role"] == agents
    ]


def _costs(cases: Cases, name: str) -> dict[int, float]:
    """Nanoseconds by environments: of an env step at about 100 events; of an event of the flow alone."""
    costs = {}
    for c in _single(cases, name):
        if name == "env_steps" and 80 <= c["events_per_step"] <= 120:
            costs[c["environments"]] = c["core_ns"]
        elif name == "flow_events" and c["events_per_step"] >= 300:
            costs.setdefault(c["environments"], c["core_ns"])
    return costs
