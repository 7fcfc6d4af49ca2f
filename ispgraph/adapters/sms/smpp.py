"""An operator's message centre over SMPP 3.4: one connection, bound as a transceiver, over which messages go out and
reports of delivery come in.

smpplib speaks the protocol, and it waits while it does: each exchange runs in a thread, one at a time. Whoever gives up
an exchange ends the connection, for what would come next on it could be the answer to what was given up. A connection
that was lost is made again by the next call, but not at once after it has failed: meanwhile nothing is asked.
"""

import asyncio
import contextlib
import re
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
from smpplib import consts, exceptions

from ispgraph.adapters import outbound
from ispgraph.adapters.errors import AdapterError, BadReply, Forged, Refusal, Refused, TimedOut, Unreachable, one_line
from ispgraph.adapters.letters import Accepted, Fate, Letter, Report
from ispgraph.adapters.sms import alphabet
from ispgraph.adapters.sms.smpp_line import Line, Silent
from ispgraph.domain.gateways import Opened

ANSWER_SECONDS = 10.0
_IDLE_SECONDS = 30.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 2.0, 60.0
# Of messages in several parts so many are remembered until all of their parts are reported.
_REMEMBERED = 10_000

_LOGIN = (consts.SMPP_ESME_RBINDFAIL, consts.SMPP_ESME_RINVPASWD, consts.SMPP_ESME_RINVSYSID)
_LATER = (
    consts.SMPP_ESME_RTHROTTLED,
    consts.SMPP_ESME_RMSGQFUL,
    consts.SMPP_ESME_RSYSERR,
    consts.SMPP_ESME_RALYBND,
    consts.SMPP_ESME_RINVBNDSTS,
)
_GSM, _UCS2 = 0, 8
_ALONE, _JOINED = {_GSM: 160, _UCS2: 140}, {_GSM: 153, _UCS2: 134}
_UDH, _MOST_PARTS = 0x40, 255
_FIELD = re.compile(r"\b(id|stat|err):(\S*)", re.IGNORECASE)
_STATES = {
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
}
_FATES = {"DELIVRD": Fate.DELIVERED} | dict.fromkeys(("EXPIRED", "DELETED", "UNDELIV", "REJECTD"), Fate.FAILED)


class Smpp:
    """An account with a message centre."""

    def __init__(self, account: Opened, client: httpx.AsyncClient, report_url: str) -> None:
        self._set = account.settings
        self._private = outbound.may_be_private(client)
        self._turn = asyncio.Lock()
        self._line: Line | None = None
        self._retry_at = 0.0
        self._pause = _SHORTEST_PAUSE
        self._parts: dict[str, _Whole] = {}

    async def send(self, letter: Letter) -> Accepted:
        """`provider_reference` is the number of the first part, as receipts will name it."""
        coding, parts = pack(letter.body)
        addressed = self._addressed(letter)
        taken: list[str] = []
        async with self._turn:
            line = await self._ready()
            for part in parts:
                asked = addressed | {"data_coding": coding, "esm_class": _UDH if len(parts) > 1 else 0}
                try:
                    async with self._exchange(line):
                        found = await asyncio.to_thread(line.submit, asked | {"short_message": part}, ANSWER_SECONDS)
                        if found.status == consts.SMPP_ESME_RINVBNDSTS:
                            # It has forgotten that we are logged in.
                            self._drop()
                        if found.status != consts.SMPP_ESME_ROK:
                            raise _refused(found.status)
                except AdapterError as error:
                    if taken and not error.outcome_unknown:
                        text = f"Only {len(taken)} of {len(parts)} parts were taken: {error}"
                        raise BadReply(text, outcome_unknown=True) from error
                    raise
                taken.append(self._named(found.message_id))
        whole = _Whole(taken[0], set(taken))
        if len(taken) > 1:
            self._parts |= dict.fromkeys(taken, whole)
            while len(self._parts) > _REMEMBERED:
                del self._parts[next(iter(self._parts))]
        return Accepted(taken[0], len(parts))

    async def reports(self) -> list[Report]:
        """What came in. It also keeps the connection alive, and makes it again when it was lost."""
        if self._line is None and time.monotonic() < self._retry_at:
            return []
        async with self._turn:
            line = await self._ready()
            async with self._exchange(line):
                await asyncio.to_thread(line.listen, ANSWER_SECONDS, _IDLE_SECONDS)
            receipts, line.receipts = line.receipts, []
        return [report for receipt in receipts if (report := self._report(receipt)) is not None]

    def reported(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[Report]:
        raise Forged("A message centre sends its reports over its own connection.")

    async def close(self) -> None:
        """Take leave, and end the connection."""
        async with self._turn:
            if self._line is not None:
                with contextlib.suppress(AdapterError):
                    async with self._exchange(self._line):
                        await asyncio.to_thread(self._line.leave, ANSWER_SECONDS)
                self._drop()

    # -- the connection

    async def _ready(self) -> Line:
        if self._line is not None:
            return self._line
        if time.monotonic() < self._retry_at:
            raise Unreachable("The message centre was not reached a moment ago.")
        try:
            line = await self._connected()
        except Exception:
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            raise
        self._pause, self._line = _SHORTEST_PAUSE, line
        return line

    async def _connected(self) -> Line:
        host, port = self._set["host"], int(self._set.get("port", "2775"))
        made = await outbound.connect(host, port, private=self._private)
        made.setblocking(True)
        made.settimeout(ANSWER_SECONDS)
        line = Line(made)
        try:
            async with self._exchange(line, bound=False):
                if self._set.get("tls") == "yes":
                    await asyncio.to_thread(line.secure, outbound.trusted(), host)
                status = await asyncio.to_thread(
                    line.bind,
                    ANSWER_SECONDS,
                    system_id=self._set["system_id"],
                    password=self._set["password"],
                    system_type=self._set.get("system_type", ""),
                )
            if status != consts.SMPP_ESME_ROK:
                raise _refused(status)
        except BaseException:
            line.end()
            raise
        return line

    @contextlib.asynccontextmanager
    async def _exchange(self, line: Line, *, bound: bool = True) -> AsyncIterator[None]:
        """Around what is asked: tells what is known after a failure. Only after a plain no the connection is kept."""
        begun = line.sent
        try:
            yield
        except Refused:
            raise
        except Unreachable:
            raise
        except BaseException as error:
            self._drop() if bound else line.end()
            unknown = bound and line.sent != begun
            if isinstance(error, ssl.SSLCertVerificationError):
                raise Refused(Refusal.UNTRUSTED, one_line(error.verify_message)) from error
            if isinstance(error, TimeoutError | Silent):
                raise TimedOut("The message centre did not answer in time.", outcome_unknown=unknown) from error
            if not isinstance(error, Exception):
                raise
            if isinstance(error, OSError | exceptions.ConnectionError) and not unknown:
                raise Unreachable("The message centre closed the connection.") from error
            if isinstance(error, OSError | exceptions.ConnectionError):
                text = "The message centre closed the connection instead of answering."
                raise BadReply(text, outcome_unknown=True) from error
            raise BadReply("The answer of the message centre made no sense.", outcome_unknown=unknown) from error

    def _drop(self) -> None:
        if self._line is not None:
            self._line.end()
            self._line = None

    # -- what is asked, and what is told

    def _addressed(self, letter: Letter) -> dict[str, Any]:
        sender = letter.sender or self._set.get("sender", "")
        digits = sender.removeprefix("+")
        if not digits.isdigit():
            kind = (
                (consts.SMPP_TON_ALNUM, consts.SMPP_NPI_UNK) if sender else (consts.SMPP_TON_UNK, consts.SMPP_NPI_UNK)
            )
        elif sender.startswith("+"):
            kind = (consts.SMPP_TON_INTL, consts.SMPP_NPI_ISDN)
        else:
            kind = (consts.SMPP_TON_UNK, consts.SMPP_NPI_ISDN)
        return {
            "source_addr_ton": kind[0],
            "source_addr_npi": kind[1],
            "source_addr": digits,
            "dest_addr_ton": consts.SMPP_TON_INTL,
            "dest_addr_npi": consts.SMPP_NPI_ISDN,
            "destination_addr": letter.to.removeprefix("+"),
            "registered_delivery": consts.SMPP_SMSC_DELIVERY_RECEIPT_BOTH,
        }

    def _named(self, answered: str) -> str:
        """The number of a message as receipts name it: some centres answer in hexadecimal, and report in decimal."""
        if self._set.get("message_ids") == "hexadecimal":
            with contextlib.suppress(ValueError):
                return str(int(answered, 16))
        return answered

    def _report(self, receipt: Mapping[str, Any]) -> Report | None:
        found = {name.lower(): value for name, value in _FIELD.findall(receipt["text"])}
        named = receipt["id"] or found.get("id")
        state = _STATES.get(receipt["state"], "") or found.get("stat", "").upper()
        if not named or not state:
            return None
        fate = _FATES.get(state, Fate.SENT)
        error = found.get("err", "")
        reason = one_line(f"{state}, error {error}" if error.strip("0") else state) if fate is Fate.FAILED else None
        whole = self._parts.get(named)
        if whole is None:
            return Report(named, None, fate, reason)
        if fate is Fate.FAILED:
            # Without one of its parts nobody can read it.
            self._forget(whole)
        elif fate is Fate.DELIVERED:
            whole.missing.discard(named)
            if whole.missing:
                return None
            self._forget(whole)
        return Report(whole.reference, None, fate, reason)

    def _forget(self, whole: "_Whole") -> None:
        self._parts = {named: each for named, each in self._parts.items() if each is not whole}


class _Whole:
    """A message in several parts, and which of them are not reported as delivered."""

    def __init__(self, reference: str, missing: set[str]) -> None:
        self.reference = reference
        self.missing = missing


def pack(text: str) -> tuple[int, Sequence[bytes]]:
    """How a text is coded, and its parts: more than one with the header that joins them (3GPP TS 23.040 section
    9.2.3.24.1). No character is cut in two. Raises Refused for what is longer than 255 parts."""
    units = alphabet.units(text)
    coding = _UCS2 if units is None else _GSM
    if units is None:
        units = [character.encode("utf-16-be") for character in text]
    if sum(map(len, units)) <= _ALONE[coding]:
        return coding, [b"".join(units)]
    parts = [b""]
    for unit in units:
        if len(parts[-1]) + len(unit) > _JOINED[coding]:
            parts.append(b"")
        parts[-1] += unit
    if len(parts) > _MOST_PARTS:
        raise Refused(Refusal.INVALID_VALUE, "the text is too long for a message in parts")
    joins = bytes([5, 0, 3, secrets.randbelow(256), len(parts)])
    return coding, [joins + bytes([number]) + part for number, part in enumerate(parts, 1)]


def _refused(status: int) -> AdapterError:
    text = one_line(consts.DESCRIPTIONS.get(status, "no reason that is known")) + f" (0x{status:02X})"
    if status in _LOGIN:
        return Refused(Refusal.BAD_LOGIN, text)
    if status in _LATER:
        return Unreachable(f"The message centre takes no more messages for now: {text}")
    return Refused(Refusal.OTHER, text)
