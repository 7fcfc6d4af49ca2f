"""What is no amount of money is refused wherever money is given: the field is named, and nothing is changed."""

from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from graphql import GraphQLArgument, GraphQLInputField, GraphQLInputObjectType, build_schema, get_named_type

from ispgraph import ids
from ispgraph.domain.models import Gateway, GatewayKind, GatewayPayment, GatewayPaymentState, Role
from tests.api import Api
from tests.billing.conftest import Till
from tests.conftest import Dsns
from tests.servers import ROOT
from tests.wizard import Wizard

LINES = (
    "NaN nan sNaN -NaN Inf inf Infinity -Infinity +inf infinity- NaN1 1NaN 1e309 1E309 1e5 1E+2 -1e-400 1e 1E e1 .e1",
    "1.e1 e -e 1,000 1,000.00 1.000,00 ,5 5,5 5;5 5:5 1'000 1_000 1/2 1.2.3 1..2 1.5.5 0.0.1 . - + -- --1 +-1 1- -.",
    "−1 –1 ٫5 1٫5 ½ ² 1⁰ ① ⑩ １２ ١٠٠ ۱۰ १०० ১০০ ๑ 一 〇 壹 Ⅳ ∞ π √4 0x10 0x1p4 0b1 0o7 05h 1d 1f 1L 1n 1m abc ten",
    "null true false None $5 5$ €1 5USD USD5 1% %31 &#49; '1' (1) [1] {1} <1> 1;2 1=1 1&2 1|2 !1 ~1 ^1 *1 1* #1",
)
WORDS = [word for line in LINES for word in line.split()]
SPACED = ["", " ", "1 000", "1\u00a0000", " 1", "1 ", "1\n", "\t1", "1\r\n", "1\u200b", "\u202e1", "\ufeff1", "1\u0000"]
LONG = ["9" * 19, "9" * 60, "1" + "0" * 400, "1." + "0" * 10, "0." + "1" * 30, "-" + "9" * 19, "0" * 40 + "1"]
JSON: list[Any] = [1.5, 0.1, -0.5, 1e10, 10**30, -(10**30), True, False, [], [1], ["1"], {}, {"amount": "1"}]
# Numbers, and no amounts of a currency with two decimals.
TOO_FINE = ["0.001", "-0.001", "1.005", "10.999", "0.123456789", "1.0001", "0.000000001"]
TOO_FINE += [f"{number}.{number * 10 + 5:03d}" for number in range(1, 41)]
TOO_MUCH = ["92233720368547758.08", "99999999999999999", "999999999999999999", "999999999999999999.99"]
BELOW = ["-1", "-0.01", "-999999999999999", -1, -100]
ZERO = ["0", "-0", "0.00", "-0.00", "00", 0]
ANYWHERE = [*WORDS, *SPACED, *LONG, *JSON, *TOO_FINE, *TOO_MUCH]


@dataclass
class Place:
    """A mutation where money is given: what else it needs, the path to the amount, and what is refused besides."""

    declared: str
    path: tuple[str, ...]
    given: dict[str, Any] = field(default_factory=dict)
    also: list[Any] = field(default_factory=lambda: [*BELOW, *ZERO])

    def with_amount(self, amount: Any) -> dict[str, Any]:
        """The variables of a call."""
        if len(self.path) == 1:
            return {**self.given, self.path[0]: amount}
        return {"input": {**self.given, self.path[1]: amount}}


async def places(api: Api, till: Till) -> dict[tuple[str, ...], Place]:
    """One for every argument of a mutation that is an amount, by the mutation and the path."""
    house = till.house
    someone = await till.customer()
    customer = ids.encode("cus", someone.id)
    invoice = ids.encode("inv", (await till.bill(someone.id, 10_000)).id)
    payment = ids.encode("pay", (await till.pay(5_000, customer_id=someone.id)).id)
    package = await house.package()
    operator = ids.encode("opr", (await house.operator(Role.OPERATOR)).id)
    draft = (await Wizard.begin(api, house.admin)).draft
    terms = {"name": "New", "connectionTypes": ["PPPOE"], "downloadKbps": 1, "uploadKbps": 1, "billingCycle": "MONTHLY"}
    terms |= {"price": "5", "validityDays": 30}
    paid = {"customerId": customer, "method": "CASH"}
    amount = ("input", "amount")
    found = {
        "customerAdjustBalance": Place(
            "AdjustBalanceInput", amount, {"customerId": customer, "reason": "x"}, [*ZERO, "-92233720368547758.09"]
        ),
        "customerDraftSetPayment": Place("DraftPaymentInput", amount, {"draftId": draft, "method": "CASH"}, BELOW),
        "customerGenerateBill": Place("GenerateBillInput", amount, {"customerId": customer}),
        "invoiceRecordPayment": Place("InvoicePaymentInput", amount, {"invoiceId": invoice, "method": "CASH"}),
        "customerRecordAdvancePayment": Place("AdvancePaymentInput", amount, paid),
        "customerRecordOtherPayment": Place("OtherPaymentInput", amount, paid | {"category": "EQUIPMENT"}),
        "operatorRecordPayment": Place(
            "OperatorPaymentInput", amount, {"operatorId": operator, "kind": "TOP_UP", "method": "CASH"}
        ),
        "operatorAdjustWallet": Place(
            "OperatorAdjustmentInput", amount, {"operatorId": operator, "reason": "x"}, [*ZERO, "-0.01"]
        ),
        "operatorSetCreditLimit": Place("OperatorCreditLimitInput", amount, {"operatorId": operator}, BELOW),
        "commissionRateSet": Place("CommissionRateInput", ("input", "fixed"), {"operatorId": operator}),
        "priceOverrideSet": Place(
            "PriceOverrideInput",
            ("input", "price"),
            {"operatorId": operator, "packageId": ids.encode("pkg", package.id), "reason": "x"},
            BELOW,
        ),
        "paymentRefund": Place("paymentId: $paymentId, amount: $amount, reason: $reason", ("amount",)),
    }
    found["paymentRefund"].given = {"paymentId": payment, "reason": "x"}
    held = Gateway(kind=GatewayKind.PAYMENT, provider="bank_transfer", name="Bank", secrets=b"")
    await house.add(held)
    attempt = GatewayPayment(gateway_id=held.id, customer_id=someone.id, reference="R", amount_minor=5, currency="USD")
    attempt.state = GatewayPaymentState.PENDING
    await house.add(attempt)
    confirmed = {"gatewayPaymentId": ids.encode("gpy", attempt.id)}
    found["gatewayPaymentConfirm"] = Place("GatewayPaymentConfirmInput", amount, confirmed)
    found["customerSendPaymentLink"] = Place(
        "SendPaymentLinkInput", amount, {"customerId": customer, "channels": ["SMS"]}
    )
    credited = "invoiceId: $invoiceId, amount: $amount, reason: $reason"
    found["invoiceCredit"] = Place(credited, ("amount",), {"invoiceId": invoice, "reason": "x"})
    by_path = {(name, *place.path): place for name, place in found.items()}
    for name in ("price", "dailyRate"):
        by_path["packageCreate", "input", name] = Place("PackageInput", ("input", name), terms, BELOW)
        changed = Place("packageId: $packageId, input: $input", ("input", name), terms, BELOW)
        by_path["packageUpdate", "input", name] = changed
        changed.declared = f"PackageInput {ids.encode('pkg', package.id)}"
    return by_path


def document(name: str, place: Place) -> str:
    """The mutation, with its arguments as variables."""
    if name == "paymentRefund":
        head, given = "$paymentId: ID!, $amount: Decimal, $reason: String!", place.declared
    elif name == "invoiceCredit":
        head, given = "$invoiceId: ID!, $amount: Decimal!, $reason: String!", place.declared
    elif name == "packageUpdate":
        kind, package = place.declared.split()
        head, given = f"$input: {kind}!", f'packageId: "{package}", input: $input'
    else:
        head, given = f"$input: {place.declared}!", "input: $input"
    return f"mutation ({head}) {{ {name}({given}) {{ errors {{ code field }} }} }}"


def amounts_of_the_schema() -> set[tuple[str, ...]]:
    """Every argument of a mutation, and every field of its inputs, that is a number with decimals and no rate."""
    mutations = build_schema((ROOT / "schema.graphql").read_text()).mutation_type
    assert mutations is not None
    found: set[tuple[str, ...]] = set()

    def look(path: tuple[str, ...], given: GraphQLArgument | GraphQLInputField) -> None:
        kind = get_named_type(given.type)
        if kind.name == "Decimal":
            found.add(path)
        elif isinstance(kind, GraphQLInputObjectType):
            for name, below in kind.fields.items():
                # What narrows a list moves no money.
                if name != "where":
                    look((*path, name), below)

    for name, mutation in mutations.fields.items():
        for argument, given in mutation.args.items():
            look((name, argument), given)
    # Rates of tax and commission and discounts are per cent, and have tests of their own.
    return {path for path in found if path[-1] not in ("rate", "taxRate", "percent", "discountPercent")}


async def state(dsns: Dsns) -> dict[str, tuple[int, int]]:
    """How many rows each table has, and when the last of them was written."""
    connection = await asyncpg.connect(dsns.superuser)
    tables = await connection.fetch(
        "SELECT format('%I', relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    found = {}
    for (table,) in tables:
        row = await connection.fetchrow(f"SELECT count(*), coalesce(max(xmin::text::bigint), 0) FROM {table}")
        assert row is not None
        found[table] = (row[0], row[1])
    await connection.close()
    return found


def test_there_are_two_hundred() -> None:
    texts = {repr(amount) for amount in [*ANYWHERE, *BELOW, *ZERO]}
    assert len(texts) == len([*ANYWHERE, *BELOW, *ZERO]) >= 200


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.long)])
async def test_what_is_no_amount_is_refused(api: Api, till: Till, dsns: Dsns, every: int) -> None:
    everywhere, who = await places(api, till), till.house.admin
    assert set(everywhere) == amounts_of_the_schema()
    # Whoever calls for the first time leaves a trace of that.
    await api.data("{ viewer { operator { id } } }", who)
    before = await state(dsns)
    wrong = []
    for number, (path, place) in enumerate(sorted(everywhere.items())):
        asked = document(path[0], place)
        for amount in [*ANYWHERE, *place.also][number % every :: every]:
            answer = await api(asked, who, **place.with_amount(amount))
            if "errors" in answer:
                (error, *more) = answer["errors"]
                named = error["extensions"]["code"] == "BAD_REQUEST" and path[-1] in error["message"] and not more
            else:
                errors = answer["data"][path[0]]["errors"]
                named = [error["field"] for error in errors] == [list(path[1:])]
            if not named:
                wrong.append((path, amount, answer))
    assert wrong == []
    after = await state(dsns)
    # The log of a draft tells of everything that was tried.
    assert {table for table in before if before[table] != after[table]} <= {"drafts", "draft_log"}
    drafts = await api.data("{ customerDrafts(first: 9) { nodes { payment { amount { amount } } } } }", who)
    assert drafts == {"customerDrafts": {"nodes": [{"payment": None}]}}
