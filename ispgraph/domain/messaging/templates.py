"""Whose words are used: those of the catalogue, and in their place those of a tenant, by channel and language."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, locales, values
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.messaging import texts
from ispgraph.domain.messaging.catalogue import EVENTS, LANGUAGE, OF_CUSTOMER, OWN, Event
from ispgraph.domain.models import MessageChannel, MessageTemplate
from ispgraph.domain.permissions import Permission, Viewer

_OWN_KEY = re.compile(re.escape(OWN) + r"[a-z0-9_]{1,50}")
_MOST_OWN = 200
_LONGEST = {MessageChannel.SMS: texts.LONGEST, MessageChannel.EMAIL: 10_000}


@dataclass(frozen=True, slots=True)
class Words:
    """The text of an event, or one of the tenant's own, on one channel in one language."""

    id: UUID
    key: str
    channel: MessageChannel
    language: str
    subject: str | None
    """Of an e-mail; None on other channels."""
    body: str
    active: bool
    """Otherwise nothing is sent where these words would be used."""
    changed: bool
    """Whether they are the tenant's."""

    @property
    def event(self) -> Event | None:
        """None of a tenant's own text."""
        return EVENTS.get(self.key)

    @property
    def variables(self) -> Mapping[str, str]:
        """What the text may name, and what stands there."""
        return OF_CUSTOMER if self.event is None else self.event.variables


@dataclass(frozen=True, slots=True)
class New:
    """Words as typed."""

    key: str
    channel: MessageChannel
    language: str | None
    """None: that of the catalogue."""
    subject: str | None
    body: str
    active: bool = True


def languages(own: str | None, tenant: str) -> Sequence[str]:
    """In which somebody is written to, the best one first: with a country, then without."""
    wanted = [tag for tag in (own, tenant, LANGUAGE) if tag]
    return list(dict.fromkeys(each for tag in wanted for each in (tag, tag.partition("-")[0])))


async def every(session: AsyncSession, tenant_id: UUID) -> Sequence[Words]:
    """All of the catalogue as they are used, and those that the tenant has added, by key, channel and language."""
    rows = [_of_row(row) for row in await session.scalars(select(MessageTemplate))]
    there = {(row.key, row.channel, row.language) for row in rows}
    defaults = [
        _default(tenant_id, event, channel)
        for event in EVENTS.values()
        for channel in event.channels
        if (event.key, channel, LANGUAGE) not in there
    ]
    return sorted([*rows, *defaults], key=lambda each: (each.key, each.channel.value, each.language))


async def find(session: AsyncSession, template_id: UUID, *, by: Viewer) -> Words | None:
    """The words with this id, for those who may send."""
    if not by.may(Permission.SEND_SMS):
        return None
    return next((each for each in await every(session, by.tenant_id) if each.id == template_id), None)


async def chosen(
    session: AsyncSession, tenant_id: UUID, key: str, wanted: Sequence[str]
) -> Mapping[MessageChannel, Words]:
    """By channel the words in the first of the languages in which there are any; of an event always some."""
    found = select(MessageTemplate).where(MessageTemplate.key == key, MessageTemplate.language.in_(wanted))
    rows = sorted((_of_row(row) for row in await session.scalars(found)), key=lambda row: wanted.index(row.language))
    event = EVENTS.get(key)
    best = {} if event is None else {channel: _default(tenant_id, event, channel) for channel in event.channels}
    for row in reversed(rows):
        best[row.channel] = row
    return best


async def save(session: AsyncSession, new: New, *, by: Viewer) -> Words:
    """Have these words used from now on. All faults are raised at once; the same words again change nothing."""
    faults = Faults("input")
    event = EVENTS.get(new.key)
    if event is None and not _OWN_KEY.fullmatch(new.key):
        message = f"There is no such event. A text of your own has a key such as {OWN}outage (a–z, 0–9 and _)."
        faults.add(ErrorCode.NOT_FOUND, message, "key")
    channels = (MessageChannel.SMS,) if event is None else event.channels
    if new.channel not in channels:
        told = " and ".join(channel.value for channel in channels)
        faults.add(ErrorCode.INVALID, f"This is told by {told} only.", "channel")
    language = LANGUAGE if new.language is None else values.checked(faults, locales.tag, new.language, at=("language",))
    known = OF_CUSTOMER if event is None else event.variables
    body = values.checked(faults, values.text, new.body, _LONGEST[new.channel], at=("body",), lines=True)
    _check(faults, body, known, "body")
    subject = _subject(faults, new, event, known)
    faults.raise_if_any()
    assert language is not None
    assert body is not None
    row = await session.scalar(_row(new.key, new.channel, language).with_for_update())
    made = {"subject": subject, "body": body, "active": new.active}
    if row is not None and all(getattr(row, name) == value for name, value in made.items()):
        return _of_row(row)
    if row is None:
        if event is None:
            await _room(session)
        key = _id(by.tenant_id, new.key, new.channel, language)
        row = MessageTemplate(id=key, tenant_id=by.tenant_id, key=new.key, channel=new.channel, language=language)
        session.add(row)
    row.subject, row.body, row.active, row.updated_at = subject, body, new.active, clock.now()
    await session.flush()
    details = {"key": new.key, "channel": new.channel.value, "language": language, **made}
    audit.record(session, by=by, action="message_template.save", subject_id=row.id, details=details)
    return _of_row(row)


async def reset(
    session: AsyncSession, key: str, channel: MessageChannel, language: str | None, *, by: Viewer
) -> Words | None:
    """Have the words of the catalogue used again; None where it has none. Raises DomainError NO_CHANGE."""
    faults = Faults("input")
    tag = LANGUAGE if language is None else values.checked(faults, locales.tag, language, at=("language",))
    faults.raise_if_any()
    row = await session.scalar(_row(key, channel, tag or LANGUAGE).with_for_update())
    if row is None:
        raise fail(ErrorCode.NO_CHANGE, "There are no words of your own for this.", "input", "key")
    await session.delete(row)
    details = {"key": key, "channel": channel.value, "language": row.language, "body": row.body}
    audit.record(session, by=by, action="message_template.reset", subject_id=row.id, details=details)
    event = EVENTS.get(key)
    return None if event is None or row.language != LANGUAGE else _default(by.tenant_id, event, channel)


def _subject(faults: Faults, new: New, event: Event | None, known: Mapping[str, str]) -> str | None:
    if new.channel is not MessageChannel.EMAIL or event is None:
        if new.subject is not None:
            faults.add(ErrorCode.INVALID, "Only an e-mail has a subject.", "subject")
        return None
    if new.subject is None:
        return event.subject
    subject = values.checked(faults, values.text, new.subject, 200, at=("subject",))
    _check(faults, subject, {name: told for name, told in known.items() if name not in event.secret}, "subject")
    return subject


def _check(faults: Faults, text: str | None, known: Collection[str], field: str) -> None:
    if text is None:
        return
    found = texts.look(text, known)
    if found.unknown:
        told = ", ".join(f"{{{name}}}" for name in found.unknown)
        there = ", ".join(f"{{{name}}}" for name in known)
        faults.add(ErrorCode.INVALID, f"There is nothing that could stand for {told}. This may name {there}.", field)
    if found.lone:
        faults.add(ErrorCode.INVALID, "A brace that is meant as such is written twice: {{ or }}.", field)


async def _room(session: AsyncSession) -> None:
    count = select(func.count()).where(MessageTemplate.key.not_in(list(EVENTS)))
    if (await session.scalar(count) or 0) >= _MOST_OWN:
        raise fail(ErrorCode.LIMIT_EXCEEDED, f"There can be {_MOST_OWN} texts of your own.", "input", "key")


def _row(key: str, channel: MessageChannel, language: str) -> Select[MessageTemplate]:
    return select(MessageTemplate).where(
        MessageTemplate.key == key, MessageTemplate.channel == channel, MessageTemplate.language == language
    )


def _of_row(row: MessageTemplate) -> Words:
    return Words(row.id, row.key, row.channel, row.language, row.subject, row.body, row.active, changed=True)


def _default(tenant_id: UUID, event: Event, channel: MessageChannel) -> Words:
    subject = event.subject if channel is MessageChannel.EMAIL else None
    key = _id(tenant_id, event.key, channel, LANGUAGE)
    return Words(key, event.key, channel, LANGUAGE, subject, event.text, active=True, changed=False)


def _id(tenant_id: UUID, key: str, channel: MessageChannel, language: str) -> UUID:
    # The same before words are saved, while they are, and after they were taken back.
    return uuid5(tenant_id, f"{key}/{channel.value}/{language}")
