"""What may follow on what: whatever is said of a payment, in whatever order, it brings its money once."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ispgraph.domain import gateway_payments as rules
from ispgraph.domain import money
from ispgraph.domain.gateway_payments import Standing, Word
from ispgraph.domain.models import GatewayPaymentState

S = GatewayPaymentState
SAID = [S.PENDING, S.PAID, S.FAILED, S.CANCELLED, S.EXPIRED]
words = st.builds(
    Word,
    state=st.sampled_from(SAID),
    amount_minor=st.sampled_from([None, 0, -5, 1, 999, 1_000, 5_000, money.LIMIT_MINOR + 1]),
    currency=st.sampled_from([None, "USD", "EUR", "usd"]),
    receipt=st.just("r1"),
    reason=st.sampled_from([None, "no"]),
)


def told(*said: Word, begin: GatewayPaymentState = S.STARTED) -> tuple[Standing, list[int]]:
    now, applied = Standing(begin), []
    for word in said:
        then = rules.after(now, word, asked_minor=1_000, currency="USD")
        now = then.standing
        if then.applied_minor is not None:
            applied.append(then.applied_minor)
    return now, applied


def good(word: Word) -> bool:
    real = word.amount_minor is not None and 0 < word.amount_minor <= money.LIMIT_MINOR
    return word.state is S.PAID and word.currency == "USD" and real


@settings(max_examples=25)
@given(st.lists(words, max_size=8), st.sampled_from([S.STARTED, S.PENDING, S.IN_DOUBT]))
def test_money_is_applied_once_and_by_what_came(said: list[Word], begin: GatewayPaymentState) -> None:
    now, applied = told(*said, begin=begin)
    paid = [word.amount_minor for word in said if good(word)]
    assert applied == paid[:1]
    assert (now.state is S.PAID) == bool(paid)
    if not paid and any(word.state is S.PAID for word in said):
        # Money came that cannot be applied: nothing that is said later makes us forget it.
        assert (now.state, now.receipt) == (S.IN_DOUBT, "r1")


@settings(max_examples=25)
@given(st.lists(words, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(said: list[Word], chance: object) -> None:
    paid = {word.amount_minor for word in said if good(word)}
    if len(paid) > 1:
        return
    again = [*said, *said]
    chance.shuffle(again)  # type: ignore[attr-defined]
    assert told(*again)[1] == told(*said)[1]
    assert (told(*again)[0].state is S.PAID) == (told(*said)[0].state is S.PAID)


def test_what_failed_is_not_pending_again() -> None:
    for end in (S.FAILED, S.CANCELLED, S.EXPIRED):
        assert told(Word(end), Word(S.PENDING))[0].state is end
        assert told(Word(S.PENDING), Word(end))[0].state is end


def test_a_report_is_believed_when_it_brings_what_was_asked_for() -> None:
    assert rules.believed(Word(S.PAID, 1_000, "USD", "r"), 1_000, "USD")
    assert rules.believed(Word(S.FAILED), 1_000, "USD")
    for amount, currency in ((999, "USD"), (1_001, "USD"), (None, "USD"), (1_000, "EUR"), (1_000, None)):
        assert not rules.believed(Word(S.PAID, amount, currency, "r"), 1_000, "USD")


def test_a_difference_is_told() -> None:
    now, applied = told(Word(S.PAID, 2_500, "USD", "r"))
    assert (applied, now.reason) == ([2_500], "25.00 USD came, 10.00 USD was asked for.")
    assert told(Word(S.PAID, 1_000, "USD", "r"))[0].reason is None


def test_it_is_asked_less_and_less_often() -> None:
    waits = [rules.wait(checks) for checks in range(200)]
    assert waits[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(hours=6)
