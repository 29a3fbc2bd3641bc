"""Commands and facts in the words of a trader: what a failing flow is printed in."""

from typing import Any

from engine.vocabulary import Command, Flag, OrderType, Phase, Reason, Scope, SelfTrade, Side, TimeInForce
from tests.engine.reference_auction import Ask, Fact


def lines_of(facts: list[Any]) -> list[str]:
    """Facts as lines, the kind first and reasons by name."""
    return [line_of(fact) if isinstance(fact, dict) else str(fact) for fact in facts]


def line_of(fact: Fact) -> str:
    said = {name: value for name, value in fact.items() if name not in ("kind", "number", "counter_number")}
    if "reason" in said:
        said["reason"] = Reason(said["reason"]).name.lower()
    numbers = [fact[name] for name in ("number", "counter_number") if name in fact]
    return " ".join(
        [str(fact["kind"]), *(f"{name}={value}" for name, value in sorted(said.items())), f"#{numbers}"]
    )


def words(ask: Ask) -> str:
    """A command as a trader would say it."""
    kind = Command(ask["kind"])
    account = f"account {ask['account']}: " if ask["account"] else ""
    book = f" of instrument {ask['instrument']}" if ask["instrument"] else ""
    if kind is Command.NEW_ORDER:
        return account + order_words(ask) + book
    named = {name: value for name, value in ask.items() if value and name not in SILENT}
    if kind is Command.SET_PHASE:
        named["phase"] = f" {Phase(ask['phase']).name.lower()}"  # type: ignore[assignment]
    if kind is Command.START_SESSION:
        named["scope"] = f" {Scope(ask['scope']).name.lower()}"  # type: ignore[assignment]
    return account + " ".join(
        [kind.name.lower(), *(f"{name.split('_')[0]} {value}" for name, value in named.items())]
    )


SILENT = {
    "kind",
    "account",
    "sequence",
    "time_ns",
    "target",
    "dead",
    "mine",
    "exact",
    "of",
    "after_ns",
    "key",
}
SILENT |= {"client_order_id_0", "client_order_id_1", "outbox", "jump_ns"}


def order_words(ask: Ask) -> str:
    """`buy 20 @ 2270 ioc display 10`."""
    kind, tif = OrderType(ask["order_type"]), TimeInForce(ask["time_in_force"])
    price = f" @ {ask['price_fen_per_tonne']}" if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else ""
    parts = ["buy" if ask["side"] == Side.BUY else "sell", f"{ask['quantity_kg']}{price}"]
    parts += [] if kind is OrderType.LIMIT else [kind.name.lower()]
    parts += [] if tif is TimeInForce.DAY else [tif.name.lower()]
    for name, word in NAMES.items():
        if ask[name]:
            parts.append(f"{word} {ask[name]}")
    parts += ["post_only"] if ask["flags"] & Flag.POST_ONLY else []
    parts += ["keep"] if ask["flags"] & Flag.KEEP_ON_DISCONNECT else []
    mode = SelfTrade(ask["self_trade_mode"])
    return " ".join(parts + ([] if mode is SelfTrade.CANCEL_NEWEST else [mode.name.lower()]))


NAMES = {
    "stop_fen_per_tonne": "stop",
    "display_quantity_kg": "display",
    "minimum_quantity_kg": "minimum",
    "due_ns": "until",
    "lot": "lot",
    "session": "session",
    "key": "key",
}
