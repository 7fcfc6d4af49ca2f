"""Document limits: what is refused and with which words, and that the pass looks at each node once."""

from typing import Any

import pytest
from graphql import get_introspection_query, parse

from ispgraph.schema import limits
from ispgraph.schema.errors import ApiError
from ispgraph.schema.limits import Survey
from tests import toy_schema
from tests.api import Api
from tests.factories import House
from tests.toy_schema import ToyContext, ToyViewer

SCHEMA = toy_schema.build()
SETTINGS = toy_schema.settings(introspection="operators")
OPERATOR = ToyContext(SETTINGS, ToyViewer())
NOBODY = ToyContext(SETTINGS)


async def errors(document: str, *, context: Any = OPERATOR, **options: Any) -> list[tuple[str, str]]:
    result = await SCHEMA.execute(document, context_value=context, **options)
    return [(error.extensions["code"], error.message) for error in result.errors or ()]


def nested(depth: int) -> str:
    return "{" + "customer{" + "friend{" * (depth - 2) + "id" + "}" * depth


def bomb(fragments: int, field: str = "hello") -> str:
    chain = (f"fragment f{i} on Query {{ ...f{i + 1} ...f{i + 1} }}" for i in range(fragments - 1))
    return f"{{ ...f0 }} {' '.join(chain)} fragment f{fragments - 1} on Query {{ {field} }}"


INSIDE = {
    "depth": nested(limits.DEPTH),
    "aliases": "{" + " ".join(f"a{i}: id" for i in range(limits.ALIASES)).join(("customer{", "}")) + "}",
    "root fields": "{" + " ".join(f"a{i}: hello" for i in range(limits.ROOT_FIELDS)) + "}",
    "signIn fields": "mutation { signIn }",
    "directives on one place": "{ hello " + "@include(if: true)" + " }",
    "directives": "{customer{" + " ".join(f"a{i}: id @skip(if: false)" for i in range(limits.DIRECTIVES)) + "}}",
    "repeats of one field": "{" + "hello " * limits.ROOT_FIELDS + "}",
}
OUTSIDE = {
    "depth": nested(limits.DEPTH + 1),
    "introspection depth": "{__schema{types{" + "ofType{" * limits.INTROSPECTION_DEPTH + "name" + "}" * 27,
    "aliases": "{customer{" + " ".join(f"a{i}: id" for i in range(limits.ALIASES + 1)) + "}}",
    "root fields": "{" + " ".join(f"a{i}: hello" for i in range(limits.ROOT_FIELDS + 1)) + "}",
    "signIn fields": 'mutation { a: signIn(name: "a") ...B } fragment B on Mutation { b: signIn(name: "b") }',
    "directives on one place": "{ hello " + "@aa" * 10 + " }",
    "directives": "{customer{" + " ".join(f"a{i}: id @skip(if: false)" for i in range(limits.DIRECTIVES + 1)) + "}}",
    "fragments": "{hello}" + " ".join(f"fragment f{i} on Query {{hello}}" for i in range(limits.FRAGMENTS + 1)),
    "repeats of one field": "{customer{" + "id " * (limits.REPEATS + 1) + "}}",
    "nesting of values": "{ echo(text: " + "[" * 20 + "]" * 20 + ") }",
}


@pytest.mark.parametrize("document", INSIDE.values(), ids=INSIDE.keys())
async def test_documents_at_the_bound_pass(document: str) -> None:
    assert await errors(document) == []


@pytest.mark.parametrize(("limit", "document"), OUTSIDE.items(), ids=OUTSIDE.keys())
async def test_documents_past_the_bound_name_the_limit(limit: str, document: str) -> None:
    found = await errors(document)
    assert len(found) == 1
    code, message = found[0]
    assert code == "BAD_REQUEST"
    assert message.startswith(f"The document exceeds the limit on {limit}: ")


async def test_a_fragment_bomb_is_refused() -> None:
    for fragments in (20, 50):
        with pytest.raises(ApiError, match="root fields"):
            Survey(parse(bomb(fragments)))
    assert (await errors(bomb(20)))[0][0] == "BAD_REQUEST"


def test_the_pass_is_linear_in_nodes_and_spreads() -> None:
    # 14 fragments below one another, each spread twice: 2^14 paths, fewer than 100 nodes.
    chain = " ".join(f"fragment f{i} on Customer {{ a: id ...f{i + 1} b: id ...f{i + 1} }}" for i in range(14))
    document = parse(f"{{ customer {{ ...f0 }} }} {chain} fragment f14 on Customer {{ id }}")
    assert Survey(document).visited < 130


async def test_depth_counts_through_fragments() -> None:
    deep = "{customer{friend{friend{friend{...F}}}}} fragment F on Customer {" + "friend{" * 8 + "id" + "}" * 9
    assert (await errors(deep))[0][1].startswith("The document exceeds the limit on depth: 13 found")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{ ...Nope }", "Unknown fragment 'Nope'."),
        ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "Cannot spread fragment 'A' within"),
        ("{ customer(by: {id: $id}) { id } }", "Variable '$id' is not defined"),
        ("{ hello", "Syntax Error"),
        ("[" * 100_000, "Syntax Error"),
        ("{" + "a{" * 400 + "b" + "}" * 401, "nested too deeply"),
        (nested(100), "exceeds the limit on depth"),
        ("{hello " * 999, "Syntax Error"),
        ("{ hello " + ", " * 10 + "a " * 2000 + "}", "more than 1000 tokens"),
        ("{ hello }" + "#x\n" * 600, "comments"),
        ('{ echo(text: "a\\u0000b") }', "NUL"),
    ],
)
async def test_broken_documents_get_their_own_words(document: str, words: str) -> None:
    found = await errors(document)
    assert found[0][0] == "BAD_REQUEST"
    assert words in found[0][1]


async def test_validation_reports_a_bounded_number_of_errors() -> None:
    found = await errors("{customer{" + " ".join(f"x{i}" for i in range(200)) + "}}")
    assert len(found) == limits.VALIDATION_ERRORS + 1


async def test_a_one_of_input_in_a_fragment_before_its_operation() -> None:
    document = "fragment F on Query { customer(by: {id: $id}) { id } } query ($id: ID!) { ...F }"
    assert await errors(document, variable_values={"id": "1"}) == []
    both = await errors('{ customer(by: {id: "1", name: "x"}) { id } }')
    assert both[0][0] == "BAD_REQUEST"
    assert "exactly one field" in both[0][1]


async def test_several_operations_need_a_name() -> None:
    document = "query A { a: hello } query B { b: hello }"
    assert (await errors(document))[0][1].startswith("operationName")
    assert await errors(document, operation_name="B") == []


# ---------------------------------------------------------------------------------------------- cost


DASHBOARD = """query ($size: Int = 50) { customers(first: $size) { nodes {
  id name a: id b: id c: id d: id e: id f: id g: id h: id
  invoices(first: 3) { nodes { a b c d e } }
  more: invoices(first: 5) { nodes { a b c d e } } } } }"""


def pay(nodes: int) -> int:
    return 2 + nodes * (10 + 2 + 3 * 5 + 2 + 5 * 5)


@pytest.mark.parametrize(
    ("document", "variables", "cost"),
    [
        ("{ hello }", {}, 1),
        ("{ customers { nodes { id } pageInfo { hasNextPage } } }", {}, 1 + 1 + 20 + 2),
        ("{ customers(first: 100) { nodes { id } } }", {}, 102),
        ("{ customers(first: 1000) { nodes { id } } }", {}, 102),
        ("{ customers(first: -5) { nodes { id } } }", {}, 3),
        ("{ customers(first: 2, last: 7) { nodes { id } } }", {}, 9),
        ("{ recent(first: 7) { id name } }", {}, 15),
        ("{ recent { id } }", {}, 21),
        ("query ($ids: [ID!]!) { found(ids: $ids) { id } }", {"ids": ["1", "2", "3"]}, 4),
        ('{ found(ids: ["1", "2"]) { id } }', {}, 3),
        ("{ customer { services { a b } } }", {}, 1 + 1 + 5 * 2),
        (DASHBOARD, {}, pay(50)),
        (DASHBOARD, {"size": 10}, pay(10)),
        (DASHBOARD, {"size": None}, pay(20)),
        ("{ customers(first: 3) { ...P } } fragment P on CustomerConnection { nodes { ...C } } "
         "fragment C on Customer { id name }", {}, 1 + 1 + 3 * 2),
    ],
)  # fmt: skip
def test_the_cost_of_an_operation(document: str, variables: dict[str, Any], cost: int) -> None:
    checked = limits.Documents(SCHEMA._schema).check(document)
    assert checked.errors == []
    assert checked.pricing is not None
    assert checked.pricing.cost(None, variables) == cost
    assert checked.pricing.cost(None, variables) == cost


def test_a_full_page_of_customers_with_their_invoices_fits() -> None:
    checked = limits.Documents(SCHEMA._schema).check(DASHBOARD)
    assert checked.pricing is not None
    assert limits.COST_ANONYMOUS < checked.pricing.cost(None, {}) < limits.COST_SIGNED_IN


async def test_a_costly_operation_is_refused_before_it_runs() -> None:
    huge = "query ($n: Int) { customers(first: $n) { nodes { invoices(first: $n) { nodes { customer {" \
           " invoices(first: $n) { nodes { a } } } } } } } }"  # fmt: skip
    result = await SCHEMA.execute(huge, {"n": 100}, context_value=OPERATOR)
    assert result.errors[0].extensions == {
        "code": "COST_EXCEEDED", "bound": limits.COST_SIGNED_IN, "cost": result.errors[0].extensions["cost"],
    }  # fmt: skip
    assert result.errors[0].extensions["cost"] > 1_000_000
    assert await errors(huge, variable_values={"n": 5}) == []


async def test_who_is_not_signed_in_may_ask_for_less() -> None:
    assert await errors(DASHBOARD) == []
    assert (await errors(DASHBOARD, context=NOBODY))[0][0] == "COST_EXCEEDED"
    assert await errors("{ hello }", context=NOBODY) == []


async def test_subscriptions_are_bounded_too() -> None:
    document = "subscription { " + " ".join(f"a{i}: count" for i in range(31)) + " }"
    found = [result async for result in await SCHEMA.stream(document, context_value=OPERATOR)]
    assert found[0].errors[0].extensions["limit"] == "aliases"


# ------------------------------------------------------------------------------------- introspection


async def test_introspection_needs_a_signed_in_operator() -> None:
    document = get_introspection_query()
    assert await errors(document) == []
    assert await errors(document, context=NOBODY) == [("BAD_REQUEST", "Introspection needs a signed-in operator.")]
    assert await errors('{ ...F } fragment F on Query { __type(name: "Query") { name } }', context=NOBODY) != []
    assert await errors("{ __typename }", context=NOBODY) == []
    assert await errors(document, context=ToyContext(toy_schema.settings(introspection="open"))) == []


async def test_suggestions_are_only_for_those_who_may_read_the_schema() -> None:
    assert "Did you mean" in (await errors("{ hell }"))[0][1]
    assert (await errors("{ hell }", context=NOBODY))[0][1] == "Cannot query field 'hell' on type 'Query'."
    assert "Did you mean" not in (await errors("{ customers(fist: 1) { nodes { id } } }", context=NOBODY))[0][1]


# -------------------------------------------------------------------------------------------- caches


def test_a_document_is_parsed_and_validated_once() -> None:
    documents = limits.Documents(SCHEMA._schema)
    assert documents.check("{ hello }") is documents.check("{ hello }")


def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    documents = limits.Documents(SCHEMA._schema)
    first = documents.check("{ hello }")
    for number in range(limits.CACHED_DOCUMENTS):
        documents.check(f"{{ a{number}: hello }}")
    assert len(documents._checked) == limits.CACHED_DOCUMENTS
    assert documents.check("{ hello }") is not first
    long = f'{{ echo(text: "{"x" * limits.CACHED_LENGTH}") }}'
    assert documents.check(long) is not documents.check(long)


async def test_the_caches_serve_both_execution_and_streams() -> None:
    await errors("{ cached: hello }")
    assert "{ cached: hello }" in SCHEMA.__dict__["ispgraph_documents"]._checked


# ------------------------------------------------------------------------------------------- masking


@pytest.mark.parametrize("field", ["broken", "plainError"])
async def test_what_a_resolver_did_not_mean_to_say_is_masked(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = await SCHEMA.execute(f"{{ {field} }}", context_value=OPERATOR)
    error = result.errors[0]
    assert (error.message, error.extensions["code"], error.path) == ("Internal error", "INTERNAL", [field])
    logged = capsys.readouterr().out
    assert error.extensions["traceId"] in logged
    assert "secret word" in logged


async def test_an_api_error_passes() -> None:
    result = await SCHEMA.execute("{ refused }", context_value=OPERATOR)
    assert result.errors[0].formatted == {
        "message": "Not for you.",
        "locations": [{"line": 1, "column": 3}],
        "path": ["refused"],
        "extensions": {"code": "FORBIDDEN", "permission": "VIEW_CUSTOMERS"},
    }


async def test_a_database_that_is_away_is_unavailable_and_its_statement_stays_out_of_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await errors("{ away }") == [("UNAVAILABLE", "The service is not available just now; try again")]
    logged = capsys.readouterr().out
    assert "InterfaceError" in logged
    assert "secret word" not in logged


async def test_masking_holds_inside_a_stream() -> None:
    results = [result async for result in await SCHEMA.stream("subscription { fails }", context_value=OPERATOR)]
    assert results[0].data == {"fails": 1}
    assert results[1].errors[0].message == "Internal error"
    results = [result async for result in await SCHEMA.stream("{", context_value=OPERATOR)]
    assert results[0].errors[0].extensions == {"code": "BAD_REQUEST"}


async def test_counts_of_a_whole_tenant_cost_what_they_cost_the_database(api: Api, house: House) -> None:
    counts = " ".join(f"c{number}: totalCount" for number in range(30))
    answer = await api(f"{{ customers {{ {counts} }} }}", house.admin)
    assert answer["errors"][0]["extensions"]["code"] == "COST_EXCEEDED"
    below = "{ customers(first: 20) { totalCount nodes { invoices(first: 1) { totalCount } zone { customerCount } } } }"
    assert "errors" not in await api(below, house.admin)
