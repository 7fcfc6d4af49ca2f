"""Custom fields: defining them, and what counts as an answer."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import custom_fields
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import CustomField, CustomFieldType
from tests.api import Api
from tests.factories import House
from tests.test_catalogue import FIELD_DEFINE, found


async def test_custom_fields_are_defined_with_all_faults_at_once(api: Api, database: Database, house: House) -> None:
    async def define(**given: Any) -> dict[str, Any]:
        payload: dict[str, Any] = (await api.data(FIELD_DEFINE, house.admin, input=given))["customFieldDefine"]
        return payload

    made = await define(key="heardFrom", label=" Heard from ", type="SELECT", required=True, options=["Web", " Shop "])
    assert made["field"] | {"id": ""} == {
        "id": "",
        "key": "heardFrom",
        "label": "Heard from",
        "type": "SELECT",
        "required": True,
        "options": ["Web", "Shop"],
    }
    assert found(await define(key="heardFrom", label="", type="SELECT", options=[])) == {
        ("TAKEN", "input", "key"),
        ("REQUIRED", "input", "label"),
        ("REQUIRED", "input", "options"),
    }
    assert found(await define(key="x", label="X", type="SELECT", options=["a", "b", "a ", " "])) == {
        ("INVALID", "input", "options", "2"),
        ("REQUIRED", "input", "options", "3"),
    }
    for key in ("", "Floor", "1st", "a-b", "a" * 41, "é", "floor\n"):
        assert found(await define(key=key, label="Floor", type="NUMBER", options=["1"])) == {
            ("INVALID", "input", "key"),
            ("INVALID", "input", "options"),
        }, key
    async with database.read(house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(CustomField)) == 1


def field(kind: CustomFieldType, key: str = "asked", *, required: bool = False) -> CustomField:
    """An unsaved custom field."""
    return CustomField(id=ids.uuid7(), key=key, label=key, type=kind, required=required, options=["a", "b"])


T = CustomFieldType


@pytest.mark.parametrize(
    ("kind", "raw", "stored"),
    [
        (T.TEXT, " two\nlines ", "two\nlines"),
        (T.TEXT, "x" * 500, "x" * 500),
        (T.NUMBER, 7, 7),
        (T.NUMBER, -0.5, -0.5),
        (T.NUMBER, " 12.50 ", 12.5),
        (T.NUMBER, "3.0", 3),
        (T.NUMBER, "0", 0),
        (T.NUMBER, 0.1, 0.1),
        (T.DATE, "2028-02-29", "2028-02-29"),
        (T.BOOLEAN, False, False),
        (T.SELECT, "b", "b"),
    ],
)
def test_an_answer_is_stored_in_one_form_that_is_an_answer_itself(kind: T, raw: object, stored: object) -> None:
    asked, faults = field(kind), Faults("input")
    answered = custom_fields.validate(faults, [asked], [("asked", raw)])
    assert not faults.found
    assert answered == {str(asked.id): stored}
    assert type(answered[str(asked.id)]) is type(stored)
    assert custom_fields.validate(faults, [asked], list(answered.items())) == answered
    assert not faults.found


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (T.TEXT, "x" * 501),
        (T.TEXT, 5),
        (T.TEXT, "a\x00b"),
        (T.NUMBER, "1e5"),
        (T.NUMBER, "NaN"),
        (T.NUMBER, float("inf")),
        (T.NUMBER, float("nan")),
        (T.NUMBER, True),
        (T.NUMBER, "1,5"),
        (T.NUMBER, "٣"),
        (T.NUMBER, 10**15),
        (T.NUMBER, 1e300),
        (T.NUMBER, "0.1234567890123456"),
        (T.NUMBER, [1]),
        (T.DATE, "2026-02-30"),
        (T.DATE, "20260131"),
        (T.DATE, "2026-1-31"),
        (T.DATE, 20260131),
        (T.BOOLEAN, "true"),
        (T.BOOLEAN, 1),
        (T.SELECT, "c"),
        (T.SELECT, "A"),
        (T.SELECT, {"a": 1}),
    ],
)
def test_what_is_no_answer_is_refused_where_it_stands(kind: T, raw: object) -> None:
    faults = Faults("input")
    assert custom_fields.validate(faults, [field(kind)], [("asked", raw)]) == {}
    assert [(fault.code, fault.field) for fault in faults.found] == [
        (ErrorCode.INVALID, ("input", "values", "0", "value"))
    ]


def test_all_faults_of_the_answers_are_found_at_once() -> None:
    fields = [field(T.TEXT, "a", required=True), field(T.TEXT, "b", required=True), field(T.NUMBER, "c")]
    faults = Faults("input")
    given = [("nope", 1), ("a", "  "), ("c", "x"), ("c", 1)]
    assert custom_fields.validate(faults, fields, given) == {}
    assert [(fault.code.name, *(fault.field or ())) for fault in faults.found] == [
        ("NOT_FOUND", "input", "values", "0", "key"),
        ("REQUIRED", "input", "values", "1", "value"),
        ("INVALID", "input", "values", "2", "value"),
        ("INVALID", "input", "values", "3", "key"),
        ("REQUIRED", "input", "values"),
    ]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**8), max_value=10**8))
def test_a_number_survives_storage_exactly(number: Decimal) -> None:
    asked, faults = field(T.NUMBER), Faults()
    answered = custom_fields.validate(faults, [asked], [("asked", f"{number:f}")])
    assert not faults.found
    assert Decimal(str(answered[str(asked.id)])) == number
