"""Questions of a tenant's own about its customers, and what counts as an answer."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import audit, values
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import CustomField, CustomFieldType
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.values import Unfit

MAXIMUM_ANSWERS = 200
MAXIMUM_OPTIONS = 100

_KEY = re.compile(r"[a-z][a-zA-Z0-9_]{0,39}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,12})?")
# What a double, and so every reader of JSON, holds exactly.
_DIGITS = 15


async def every(session: AsyncSession) -> Sequence[CustomField]:
    """All custom fields of the tenant, oldest first."""
    return (await session.scalars(select(CustomField).order_by(CustomField.id))).all()


async def define(
    session: AsyncSession,
    *,
    key: str,
    label: str,
    kind: CustomFieldType,
    required: bool,
    options: Sequence[str] | None,
    by: Viewer,
) -> CustomField:
    """A new custom field. A required one is asked of every customer made from now on."""
    faults = Faults("input")
    if not _KEY.fullmatch(key):
        message = "A key begins with a small letter and has up to 40 letters a–z, digits and underscores."
        faults.add(ErrorCode.INVALID, message, "key")
    elif await session.scalar(select(CustomField.id).where(CustomField.key == key)):
        faults.add(ErrorCode.TAKEN, "There is a custom field with this key.", "key")
    shown = values.checked(faults, values.text, label, 100, at=("label",))
    choices = _options(faults, kind, options or ())
    faults.raise_if_any()
    field = CustomField(tenant_id=by.tenant_id, key=key, label=shown, type=kind, required=required, options=choices)
    session.add(field)
    async with taken({"uq_custom_fields_tenant_id_key": ("input", "key")}):
        await session.flush()
    audit.record(session, by=by, action="custom_field.define", subject_id=field.id, details={"key": key})
    return field


def _options(faults: Faults, kind: CustomFieldType, options: Sequence[str]) -> list[str]:
    if kind is not CustomFieldType.SELECT:
        if options:
            faults.add(ErrorCode.INVALID, "Only a field of type SELECT has options.", "options")
        return []
    if not options:
        faults.add(ErrorCode.REQUIRED, "A field of type SELECT needs at least one option.", "options")
    if len(options) > MAXIMUM_OPTIONS:
        faults.add(ErrorCode.LIMIT_EXCEEDED, f"A field has at most {MAXIMUM_OPTIONS} options.", "options")
        return []
    found: list[str] = []
    for index, option in enumerate(options):
        read = values.checked(faults, values.text, option, 100, at=("options", str(index)))
        if read in found:
            faults.add(ErrorCode.INVALID, "This option is already there.", "options", str(index))
        elif read is not None:
            found.append(read)
    return found


def validate(faults: Faults, fields: Sequence[CustomField], given: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Answers by the id of their field, each in the one form we store; faults at ``values, <index>, key | value``.

    `given` are pairs of a field's key (in answers that were stored before: its id) and a JSON value. Null, and text
    of blanks only, is no answer and left out. TEXT becomes a string, NUMBER a JSON number of at most 15 digits, DATE
    ``YYYY-MM-DD``, BOOLEAN a boolean, SELECT one of the options. Pure.
    """
    answered = read(faults, fields, given, "values")
    if answered is None:
        return {}
    for field in fields:
        if field.required and field.id not in answered:
            faults.add(ErrorCode.REQUIRED, f"{field.label} is required.", "values")
    return {str(key): value for key, value in answered.items() if value is not None}


def read(
    faults: Faults, fields: Sequence[CustomField], given: Sequence[tuple[str, object]], *at: str
) -> dict[UUID, object] | None:
    """As `validate`, for answers to some of the fields: None where there is no answer; faults below the path `at`.

    None altogether when there are too many to look at.
    """
    if len(given) > MAXIMUM_ANSWERS:
        faults.add(ErrorCode.LIMIT_EXCEEDED, f"At most {MAXIMUM_ANSWERS} answers are taken at once.", *at)
        return None
    named: Mapping[str, CustomField] = {field.key: field for field in fields} | {str(f.id): f for f in fields}
    answered: dict[UUID, object] = {}
    for index, (name, raw) in enumerate(given):
        place = (*at, str(index))
        field = named.get(name)
        if field is None:
            faults.add(ErrorCode.NOT_FOUND, "There is no such custom field.", *place, "key")
        elif field.id in answered:
            faults.add(ErrorCode.INVALID, "This field is answered twice.", *place, "key")
        else:
            answered[field.id] = _answer(faults, field, raw, (*place, "value"))
    return answered


def _answer(faults: Faults, field: CustomField, raw: object, at: tuple[str, ...]) -> object:
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        if field.required:
            faults.add(ErrorCode.REQUIRED, f"{field.label} is required.", *at)
        return None
    try:
        return _READERS[field.type](field, raw)
    except Unfit as error:
        faults.add(ErrorCode.INVALID, str(error), *at)
        return None


def _text(_field: CustomField, raw: object) -> str:
    if not isinstance(raw, str):
        raise Unfit("This must be text.")
    return values.text(raw, 500, lines=True)


def _number(_field: CustomField, raw: object) -> int | float:
    if isinstance(raw, float):
        number = Decimal(repr(raw))
    elif isinstance(raw, str) and _NUMBER.fullmatch(raw.strip()):
        number = Decimal(raw.strip())
    elif isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) < 10**_DIGITS:
        number = Decimal(raw)
    else:
        raise Unfit("This must be a number.")
    if not number.is_finite():
        raise Unfit("This must be a number.")
    exact = number.normalize()
    if len(exact.as_tuple().digits) > _DIGITS or abs(exact.adjusted()) >= _DIGITS:
        raise Unfit(f"A number has at most {_DIGITS} digits.")
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _date(_field: CustomField, raw: object) -> str:
    if not isinstance(raw, str) or not _DATE.fullmatch(raw):
        raise Unfit("Write a date as 2026-01-31.")
    try:
        return date.fromisoformat(raw).isoformat()
    except ValueError as error:
        raise Unfit("There is no such day.") from error


def _boolean(_field: CustomField, raw: object) -> bool:
    if not isinstance(raw, bool):
        raise Unfit("This must be true or false.")
    return raw


def _choice(field: CustomField, raw: object) -> str:
    if not isinstance(raw, str) or raw not in field.options:
        raise Unfit(f"This must be one of: {', '.join(field.options)}.")
    return raw


_READERS: Mapping[CustomFieldType, Callable[[CustomField, object], object]] = {
    CustomFieldType.TEXT: _text,
    CustomFieldType.NUMBER: _number,
    CustomFieldType.DATE: _date,
    CustomFieldType.BOOLEAN: _boolean,
    CustomFieldType.SELECT: _choice,
}
