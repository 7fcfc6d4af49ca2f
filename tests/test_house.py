"""The rules of the house, each of them a test: what is written nowhere else is held here."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from graphql import GraphQLList, GraphQLObjectType, get_named_type, get_nullable_type, is_leaf_type
from graphql import build_schema as parse_schema

from ispgraph.domain.errors import DomainError
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_id
from ispgraph.resolvers.base import Customers, Public, SignedIn
from ispgraph.resolvers.build import Mutation, Query, Subscription
from tests.api import schema
from tests.servers import ROOT

BIN = Path(sys.executable).parent
SOURCES = sorted((ROOT / "ispgraph").rglob("*.py"))

# Fields that list objects without pages, each with what bounds it.
SHORT_LISTS = {
    "CollectionsReport.operators": "the staff of one house, by method",
    "CollectionsReport.periods": "36 months, or 366 days",
    "BillingRun.failures": "the first 100",
    "BillingRun.lines": "the first 100",
    "CustomerActionPayload.jobs": "what one action promised",
    "CustomerActionResult.jobs": "what one action promised",
    "Customer.customFields": "one per custom field",
    "Customer.hostingAccounts": "a customer has few",
    "Customer.services": "a household has few",
    "CustomerInvitePayload.messages": "one for each channel",
    "CustomerCreatePayload.jobs": "what one creation promised",
    "CustomerImport.packages": "at most five hundred are read",
    "CustomerImportRow.faults": "a row has some twenty columns",
    "CustomerStats.topByBalance": "as many as were asked for, at most 100",
    "CustomerDraft.customFields": "one per custom field",
    "CustomerDraft.log": "the saves of one form within a day",
    "CustomerDraftConfirmPayload.jobs": "what one confirmation promised",
    "CustomersActionPayload.results": "as many as were named, at most 100",
    "DraftReview.lines": "what one invoice bills",
    "DraftReview.missing": "one per input of the wizard",
    "DraftReview.radius": "the attributes of one service",
    "HostingPayload.jobs": "what one action promised",
    "HotspotRechargePayload.jobs": "what one recharge promised",
    "Gateway.settings": "what one provider asks",
    "GatewayProvider.settings": "what one provider asks",
    "Invoice.dunning": "the reminders that a house sends of one invoice",
    "Invoice.lines": "what one invoice bills",
    "Invoice.payments": "who paid one invoice",
    "MessageTemplate.described": "what one text may name",
    "NetworkJob.steps": "a job has eight attempts, and tells little of its waiting",
    "NetworkState.drift": "the items of one service",
    "NetworkState.radius": "the attributes of one service",
    "PackagePayload.jobs": "what one change promised",
    "PaymentLinkPayload.messages": "one for each channel",
    "Payment.allocations": "the invoices one payment reached",
    "Portal.assets": "one of each kind",
    "Portal.log": "the last two hundred are kept",
    "PortalAssetsPayload.assets": "as many as were sent, at most three",
    "Payment.refunds": "a payment is given back in a few parts",
    "Quote.lines": "what one invoice bills",
    "Quote.radiusAfter": "the attributes of one service",
    "Quote.radiusBefore": "the attributes of one service",
    "Query.apiTokens": "one operator has at most fifty",
    "Query.customFields": "what one house asks",
    "Query.messageTemplates": "the events there are, and at most two hundred texts of one house",
    "Query.hostingServers": "the servers of one house",
    "Query.gatewayProviders": "those that the product knows",
    "Operator.grants": "at most two hundred are in force",
    "Query.nodes": "as many as were asked for, at most 100",
    "Query.operators": "the staff of one house",
    "Query.packages": "what one house sells",
    "Query.taxProfiles": "the rates of one house",
    "Query.routers": "the routers of one house",
    "RevenueReport.periods": "36 months, or 366 days",
    "Router.drift": "at most two hundred are kept",
    "RouterPayload.jobs": "what one change promised",
    "Subscription.liveUsageAll": "batches of at most five hundred",
    "SelectedCustomers.statuses": "the five states there are",
    "SubscriberReport.months": "at most 36",
    "TaxReport.periods": "36 months, or 366 days",
    "TaxReport.rates": "the rates of one house",
    "Ticket.replies": "a conversation of at most five hundred",
    "TimeLimit.windows": "the hours of one week",
    "Usage.points": "as many as the longest stretch of time has",
    "VoucherPayload.vouchers": "at most a hundred are made at once",
    "Query.zones": "the zones of one house",
    "WebhookDelivery.attempts": "the last twenty are kept",
}


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)],
    ids=" ".join,
)
def test_the_tools_find_nothing(command: tuple[str, ...]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_printed_schema_is_the_built_one() -> None:
    printed = (ROOT / "schema.graphql").read_text()
    assert printed.strip() == schema().as_str().strip(), "run: ispgraph export-schema > schema.graphql"


def test_every_root_field_says_who_may_use_it() -> None:
    open_to_all = set()
    for kind in (Query, Mutation, Subscription):
        fields = kind.__strawberry_definition__.fields  # type: ignore[attr-defined]
        assert fields, kind
        for field in fields:
            access = getattr(field, "access", None)
            assert isinstance(access, Permission | SignedIn | Public | Customers), (
                f"{kind.__name__}.{field.python_name}"
            )
            if isinstance(access, Public):
                open_to_all.add(field.python_name)
    assert open_to_all == {
        *("sign_in", "sign_in_confirm", "password_reset_request", "password_reset"),
        *("customer_sign_in", "customer_password_request", "portal_accept_invitation"),
    }


def test_every_list_of_objects_is_a_page_or_short_for_a_reason() -> None:
    found = set()
    for name, kind in parse_schema(schema().as_str()).type_map.items():
        if name.startswith("__") or name.endswith("Connection") or not isinstance(kind, GraphQLObjectType):
            continue
        for field, definition in kind.fields.items():
            listed = isinstance(get_nullable_type(definition.type), GraphQLList)
            if listed and not is_leaf_type(get_named_type(definition.type)) and field != "errors":
                found.add(f"{name}.{field}")
    assert found - set(SHORT_LISTS) == set(), "a page, or a reason"
    assert set(SHORT_LISTS) - found == set(), "no longer there"


def test_every_kind_of_id_that_is_read_has_a_name() -> None:
    # Without one, an id of another kind would be an internal error in place of NOT_FOUND.
    read = re.compile(r"(?:typed_ids?|optional_id)\(\s*\"(\w+)\"")
    kinds = {kind for path in SOURCES for kind in read.findall(path.read_text())}
    assert len(kinds) > 20
    for kind in kinds:
        with pytest.raises(DomainError):
            typed_id(kind, "no id")


def test_only_the_database_module_begins_and_commits() -> None:
    assert _files_with(r"\.commit\(|\b(session|engine|connection)\.begin\(") == {"db.py"}


def test_only_the_clock_asks_for_the_time() -> None:
    assert _files_with(r"datetime\.(now|today)\(|utcnow|\btime\.time(_ns)?\(|date\.today\(") == {"clock.py"}


def test_resolvers_hold_no_queries() -> None:
    places = _files_with(r"(?<![.\w])(select|text)\(|\bsession\.(add|delete|execute)\(")
    assert {place for place in places if place.startswith("resolvers/")} == set()


def test_there_is_no_float_near_money() -> None:
    for path in [ROOT / "ispgraph/domain/money.py", *(ROOT / "ispgraph/domain/billing").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Name) and node.id == "float"), f"{path}:{node.lineno}"
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), f"{path}:{node.lineno}"
            # Whole numbers divided by / make a float; exact numbers do not.
            divides = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
            assert not divides or re.search("Fraction|Decimal", ast.unparse(node)), f"{path}:{node.lineno}"


def test_files_are_short_and_named_after_things() -> None:
    long = {_name(path) for path in SOURCES if len(path.read_text().splitlines()) > 400}
    assert long == set()
    roles = re.compile(r"(^|_)(utils?|helpers?|managers?|services?|handlers?)$")
    named_after_roles = {_name(path) for path in SOURCES if roles.search(path.stem)}
    # A service is a noun of the trade here: what a customer buys.
    assert named_after_roles <= {f"{layer}/services.py" for layer in ("domain", "domain/models", "schema", "resolvers")}


def test_nothing_is_left_for_later() -> None:
    assert _files_with(r"\b(TODO|FIXME|XXX)\b") == set()


def test_the_readme_names_every_direct_dependency() -> None:
    readme = (ROOT / "README.md").read_text().lower()
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in listed]
    assert [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", readme)] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    lost = []
    for page in pages:
        for target in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", page.read_text()):
            file, _, anchor = target.partition("#")
            there = (page.parent / file).resolve() if file else page
            if not there.exists() or (anchor and anchor not in _anchors(there)):
                lost.append(f"{page.name}: {target}")
    assert lost == []


def _anchors(page: Path) -> set[str]:
    """What a link into a page can name, as hosts of repositories make it of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _files_with(pattern: str) -> set[str]:
    return {_name(path) for path in SOURCES if re.search(pattern, path.read_text())}


def _name(path: Path) -> str:
    return path.relative_to(ROOT / "ispgraph").as_posix()
