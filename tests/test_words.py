"""Every name of the schema is described, and nothing is described that is not there."""

import re

import pytest

from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.webhooks.catalogue import WebhookEvent
from ispgraph.resolvers import build
from ispgraph.schema import words
from ispgraph.schema.words.errors import ERRORS
from ispgraph.schema.words.events import EVENTS
from tests.api import schema


def test_everything_is_described() -> None:
    described = {name: thing.description for name, thing in words.members(schema()._schema)}
    assert len(described) > 3000
    assert [name for name, text in described.items() if not (text and text.strip())] == [], "see ispgraph/schema/words"
    # What is told is a sentence or more, or begins with a name of the protocol that is told of.
    unended = [name for name, text in described.items() if text and not re.search(r"[.!:)`]$", text.strip())]
    assert unended == []


def test_no_word_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    describe = words.describe

    def watched(made: object) -> set[str]:
        used.update(describe(made))  # type: ignore[arg-type]
        return used

    monkeypatch.setattr(words, "describe", watched)
    build.build()
    kept = {f"{name}.{place}" for name, table in words.WORDS.items() for place in table} | set(words.RECURRING)
    assert kept - used == set(), "it is described where it stands, or is no longer there"
    assert sum(len(module.WORDS) for module in words.MODULES) == len(words.WORDS), "one type in two tables"


def test_every_operation_says_who_may() -> None:
    core = schema()._schema
    roots = [core.query_type, core.mutation_type, core.subscription_type]
    told = {name: field.description or "" for root in roots if root for name, field in root.fields.items()}
    assert [name for name, text in told.items() if not re.search(r"^Permission: .+\.", text, re.M)] == []
    assert "Permission: SUSPEND_CUSTOMERS." in told["customerSuspend"]
    assert "\n\nEvents: CUSTOMER_SUSPENDED, " in told["customerSuspend"]
    assert "\n\nError codes: IDEMPOTENCY_KEY_REUSED, INVALID, INVALID_STATE, " in told["customerSuspend"]
    assert {code for codes in ERRORS.values() for code in codes.split()} <= {code.value for code in ErrorCode}
    assert core.mutation_type is not None
    assert set(ERRORS) <= set(core.mutation_type.fields) == set(words.error_codes(core))
    assert {event for events in EVENTS.values() for event in events.split()} <= {event.value for event in WebhookEvent}
    assert "Permission: MANAGE_TICKETS. Customers too" in told["ticketReply"]
