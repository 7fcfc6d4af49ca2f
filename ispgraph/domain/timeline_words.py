"""How the timeline says what happened: a kind, a sentence, and what was before and after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ispgraph.domain import money, reveal
from ispgraph.domain.timeline import Happening

CHANGE, ACTION, SECRET_READ = "CHANGE", "ACTION", "SECRET_READ"
UPDATE = "customer.update"
# Actions whose details are pairs of old and new.
_PAIRED = {UPDATE, "ticket.update", "ticket.set_status", "ticket.assign", "ticket.reply"}
# Where the words of an action, as they stand, do not say it.
_WORDS: Mapping[str, str] = {
    "customer.create": "Customer created",
    "draft.confirm": "Customer created from a draft",
    reveal.ACTION: "Network password read",
    "customer.exportSessions": "Sessions exported",
    "customer.activate_fup": "Fair use activated",
    "customer.reset_fup": "Fair use reset",
    "invoice.generate": "Invoice generated",
    "invoice.void": "Invoice voided",
    "invoice.credit": "Invoice credited",
    "payment.refund": "Payment refunded",
    "gateway.doubt": "Online payment in doubt",
    "gateway.confirm": "Online payment confirmed",
    "gateway.reject": "Online payment rejected",
    "payment_link.send": "Payment link sent",
    "payment_link.cancel": "Payment link cancelled",
}
# What of the details says most in a sentence.
_TELLING = ("ticket", "invoice", "payment", "reference", "reason", "note")


@dataclass(frozen=True, slots=True)
class Words:
    """An entry as it is shown. `before` and `after` are JSON or None."""

    kind: str
    summary: str
    before: Any = None
    after: Any = None


def words(happening: Happening, currency: str) -> Words:
    """What happened, in words."""
    if happening.source == "audit":
        return _audit(happening.what, happening.told["details"])
    told = {name: value for name, value in happening.told.items() if value is not None}
    for name in ("total", "paid", "amount"):
        if f"{name}Minor" in told:
            told[name] = money.shown(told.pop(f"{name}Minor"), currency)
    kind = happening.source.upper()
    return Words(kind, _SENTENCES[happening.source](happening.what, told), None, {"name": happening.what} | told)


_PAPERS = {"INVOICE": "Invoice", "CREDIT_NOTE": "Credit note"}
_SENTENCES: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "job": lambda what, told: f"Job {what}: {told['status']}",
    "session": lambda what, told: f"Session of {what}: {told['state']}",
    "invoice": lambda what, told: f"{_PAPERS[told['kind']]} {what or 'draft'}: {told['total']}, {told['status']}",
    "payment": lambda what, told: f"Payment {what}: {told['amount']} by {told['method']}, {told['status']}",
    "message": lambda what, told: f"{told['channel']} {what}: {told['status']}",
    "ticket": lambda what, told: f"Ticket {what}: {told['subject']}",
}


def _audit(action: str, details: Mapping[str, Any]) -> Words:
    if action == reveal.ACTION:
        return Words(SECRET_READ, _WORDS[action], None, dict(details))
    if action in _PAIRED:
        before, after = _apart(details)
        if action == UPDATE:
            changed = ", ".join(name.replace("_", " ") for name in details)
            return Words(CHANGE, f"Changed: {changed}", before, after)
        return Words(ACTION, _sentence(action, details), before or None, after)
    if "before" in details and "after" in details:
        return Words(ACTION, _sentence(action, details), details["before"], details["after"])
    return Words(ACTION, _sentence(action, details), None, dict(details) or None)


def _apart(details: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Old and new values of details in which pairs stand; what is no pair is part of the new ones."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name, value in details.items():
        if isinstance(value, Mapping):
            before[name], after[name] = _apart(value)
        elif isinstance(value, list) and len(value) == 2:
            before[name], after[name] = value
        else:
            after[name] = value
    return before, after


def _sentence(action: str, details: Mapping[str, Any]) -> str:
    noun, _, verb = action.partition(".")
    verb = verb.replace("_", " ")
    said = _WORDS.get(action) or (verb if noun == "customer" else f"{noun.replace('_', ' ')}: {verb}")
    told = [str(details[name]) for name in _TELLING if isinstance(details.get(name), str)]
    return said[:1].upper() + said[1:] + (f" ({', '.join(told)})" if told else "")
