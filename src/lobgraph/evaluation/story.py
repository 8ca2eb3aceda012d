"""The story of a fill in a few sentences: when the order was placed, what was before it, what ate the queue, what it earned."""

from __future__ import annotations

from ..config import ConfigError
from ..market.step import NS
from .event_trace import MARKS, EventTrace
from .follow_book import Fill, Move, Order


def story(trace: EventTrace, number: int) -> str:
    """Sentences about fill `number`, a line each. Raises ConfigError where the episode has no such fill."""
    if not 0 <= number < len(trace.fills):
        some = f"they are numbered 0 to {len(trace.fills) - 1}" if trace.fills else "no agent was filled"
        raise ConfigError(f"fill {number}: episode {trace.log.number} has no such fill; {some}")
    fill = trace.fills[number]
    body = _resting(trace, fill, fill.order) if fill.order is not None else _incoming(trace, fill)
    return "\n".join([_headline(trace, fill), *body, *_after(trace, fill)])


def _headline(trace: EventTrace, f: Fill) -> str:
    log = trace.log
    did = "bought" if f.side > 0 else "sold"
    return (
        f"Fill {f.number} of episode {log.number}: {trace.names[f.agent]} {did} {_lots(f.lots)} of {log.cfg.market.books[f.book]} "
        f"at {f.px:,} ticks, {_at(trace, f.ns)} (step {f.step}), {'from' if f.side > 0 else 'to'} {_who(f.other)}."
    )


def _resting(trace: EventTrace, f: Fill, o: Order) -> list[str]:
    """An order that waited in the queue."""
    side = "bid" if o.side > 0 else "ask"
    place = f"behind {_lots(o.before)}" if o.before else "first in the queue"
    waited = f"it waited {(f.ns - o.ns) / NS:.3f} s"
    placed = f"{_lots(o.lots)} {place}, the mid at {_px(o.mid)}"
    lines = [f"Its {side} had come to rest {_at(trace, o.ns)} (step {o.step}): {placed}; {waited}."]
    moves = [m for m in o.moves if m.ns < f.ns]
    if o.before or moves:
        lines.append(_queue(trace, moves, f.ahead))
    before = trace.fills[: f.number]
    if earlier := sum(g.lots for g in before if g.order is o):
        lines.append(f"{_lots(earlier).capitalize()} of it had been filled before.")
    pro_rata = trace.log.cfg.market.matching == "pro_rata"
    first = "" if pro_rata else f", the {_lots(f.ahead)} before it first" if f.ahead else ", its own first"
    part = f"{f.lots:,} of them {'was' if f.lots == 1 else 'were'} its{' by pro rata' if pro_rata else ''}"
    lines.append(f"The trade took {_lots(f.traded)} at this price{first}: {part}.")
    return lines


def _queue(trace: EventTrace, moves: list[Move], ahead: int) -> str:
    """What became of the lots that stood before the order."""
    told = []
    trades = [m for m in moves if m.why == "trade"]
    if gone := sum(m.lots for m in trades):
        most = max(trades, key=lambda m: m.lots)
        largest = f"the largest {_lots(most.lots)} to {_who(most.who)} {_at(trace, most.ns)}"
        told.append(f"{_lots(gone)} traded ({_count(len(trades), 'trade')}, {largest})")
    cancels = [m for m in moves if m.why == "cancel"]
    if gone := sum(m.lots for m in cancels):
        told.append(f"{_lots(gone)} cancelled ({_count(len(cancels), 'cancel')})")
    if came := -sum(m.lots for m in moves if m.why == "view"):
        told.append(f"{came:+d} lots as recorded levels came into view or were corrected")
    left = f"{_lots(ahead)} left" if ahead else "nothing left"
    return f"Of what stood before it: {'; '.join(told) or 'nothing had gone'}; {left} before it when the trade came."


def _incoming(trace: EventTrace, f: Fill) -> list[str]:
    """An order of the agent's own that took what rested."""
    same = [
        g
        for g in trace.fills
        if (g.agent, g.ns, g.book, g.side, g.passive) == (f.agent, f.ns, f.book, f.side, False)
    ]
    total, levels = sum(g.lots for g in same), len({g.px for g in same})
    what = (
        "It was liquidated: a limit had ended its episode, and"
        if f.note == "liquidated"
        else "It came with an order of its own:"
    )
    took = "bought" if f.side > 0 else "sold"
    mean = _px(sum(g.lots * g.px for g in same) / total)
    here = f"at this price {_lots(f.traded)} traded, {f.lots:,} of them with {_who(f.other)}"
    return [
        f"{what} that order {took} {_lots(total)} at {_count(levels, 'price')}, at {mean} in the mean; {here}."
    ]


def _after(trace: EventTrace, f: Fill) -> list[str]:
    """What the mid did, and what the fill was worth by it."""
    lines = [
        f"The mid was {_px(f.mid)} when the incoming order arrived and {_px(f.mid_after)} after this trade."
    ]
    fee = trace.fee(f)
    paid = f", {'fees' if fee > 0 else 'a rebate'} of {abs(fee):.2f} apart" if fee else ""
    worth = [f"{trace.earned(f, f.mid) + 0.0:+,.1f} tick-lots against the mid it met"]
    for mark in MARKS:
        mid = trace.mid_at(f.book, f.ns + round(mark * NS))
        if mid == mid:
            worth.append(f"{trace.earned(f, mid) + 0.0:+,.1f} {mark:g} s later ({_px(mid)})")
    end = trace.mid_at(f.book, trace.end_ns)
    worth.append(f"{trace.earned(f, end) + 0.0:+,.1f} at the episode's end ({_px(end)})")
    lines.append(f"It earned {', '.join(worth)}{paid}.")
    s = trace.log.series
    role, spec = next((r, p) for r, p in s.specs.items() if p.agents.start <= f.agent < p.agents.stop)
    terms = s.terms[f.step, 0, f.agent]
    named = ", ".join(
        f"{name} {value + 0.0:+.2f}" for name, value in zip(spec.reward_terms, terms, strict=True)
    )
    others = sum(g.agent == f.agent and g.step == f.step for g in trace.fills) - 1
    along = f" ({_count(others, 'other fill')} of the {role} in this step)" if others else ""
    lines.append(f"The step's reward: {named}{along}.")
    return lines


def _at(trace: EventTrace, ns: int) -> str:
    return f"at {trace.seconds(ns):.3f} s"


def _lots(n: int) -> str:
    return f"{n:,} lot{'' if n == 1 else 's'}"


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def _px(px: float) -> str:
    return f"{px:,.2f}".rstrip("0").rstrip(".")


def _who(name: str) -> str:
    said = {
        "noise": "a noise trader",
        "recorded": "a recorded order",
        "fat_finger": "a fat finger",
        "drought": "a drought",
    }
    return said.get(name, name)
