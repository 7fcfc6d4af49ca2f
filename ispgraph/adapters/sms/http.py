"""A gateway that is told by its settings: where it is, what it wants to read, and how its answers are understood.

The template is taken apart before anything is filled in, and put together again afterwards, so that no text of a
message can become a parameter of its own, whatever it holds.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx

from ispgraph.adapters.errors import BadReply, Refusal, Refused
from ispgraph.adapters.letters import Accepted, Fate, Letter, Report
from ispgraph.adapters.sms import alphabet, answers
from ispgraph.domain import http_gateway
from ispgraph.domain.gateways import Opened

# So much of an answer is compared with an expression: even one that is slow to fail ends soon.
_EXPRESSION_READS = 500
_HEADER_UNFIT = re.compile(r"[^\x20-\x7e]")


class HttpGateway:
    """One such account. `send` gives whatever reference the rule finds, which may be none."""

    def __init__(self, account: Opened, client: httpx.AsyncClient) -> None:
        self._set = account.settings
        self._client = client
        self._secrets = [self._set.get(name, "") for name in ("token", "username", "password", "report_secret")]

    async def send(self, letter: Letter) -> Accepted:
        values = self._values(letter)
        request = self._request(values)
        answer = await self._client.send(request)
        data = _json_or_none(answer)
        if not (self._status_fits(answer.status_code) and self._rule_fits(answer, data)):
            raise answers.refusal(*self._no(answer, data))
        return Accepted(self._reference(answer, data), None)

    async def reports(self) -> list[Report]:
        return []

    def reported(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[Report]:
        answers.require_secret(query, self._set.get("report_secret", ""))
        found = answers.fields(method, query, headers, body)
        theirs, ours, status, reason = (
            answers.text_at(found, path) if (path := self._set.get(name)) else None
            for name in ("report_id", "report_reference", "report_status", "report_reason")
        )
        if status is None or (theirs is None and ours is None):
            raise BadReply("The report does not name a message and its state as the settings say.")
        return [Report(theirs, ours, self._fate(status), self._shown(reason) if reason else None)]

    async def close(self) -> None:
        """The client is not ours to close."""

    # -- what is asked

    def _values(self, letter: Letter) -> dict[str, str]:
        report_url = answers.with_secret(letter.report_url, self._set.get("report_secret", ""))
        return {
            "to": letter.to,
            "number": letter.to.removeprefix("+"),
            "body": letter.body,
            "reference": letter.reference,
            "sender": letter.sender or self._set.get("sender", ""),
            "report_url": report_url or "",
            "unicode": "0" if alphabet.units(letter.body) else "1",
            **{name: self._set.get(name, "") for name in ("token", "username", "password")},
        }

    def _request(self, values: Mapping[str, str]) -> httpx.Request:
        url, kind, template = self._set["url"], self._set.get("content", "form"), self._set.get("template", "")
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        headers = {
            name: _HEADER_UNFIT.sub("?", http_gateway.filled(value, values))
            for name, value in http_gateway.headers(self._set.get("headers", ""))
        }
        content: bytes | None = None
        if kind == "query":
            query += parse_qsl(template, keep_blank_values=True)
        elif kind == "form":
            content = urlencode(_filled(parse_qsl(template, keep_blank_values=True), values)).encode()
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        else:
            content = http_gateway.filled_json(template, values)
            headers.setdefault("Content-Type", "application/json")
        address = urlunsplit(parts._replace(query=urlencode(_filled(query, values))))
        try:
            request = self._client.build_request(self._set.get("method", "POST"), address, content=content)
        except httpx.InvalidURL as error:
            raise Refused(Refusal.OTHER, "the address of the gateway is not one") from error
        request.headers.update(headers)
        if self._set.get("basic_auth") == "yes":
            auth = httpx.BasicAuth(values["username"], values["password"])
            request = next(auth.auth_flow(request))
        return request

    # -- what is answered

    def _status_fits(self, status: int) -> bool:
        wanted = self._set.get("success_status", "2xx").replace(" ", "").split(",")
        return str(status) in wanted or f"{status // 100}xx" in wanted

    def _rule_fits(self, answer: httpx.Response, data: Any) -> bool:
        rule, value = self._set.get("success_rule", "status"), self._set.get("success_value", "")
        if rule == "json":
            return answers.text_at(data, self._set.get("success_path", "")) in value.split("|")
        if rule == "text":
            return value in answer.text
        if rule == "regex":
            return re.search(value, answer.text[:_EXPRESSION_READS]) is not None
        return True

    def _reference(self, answer: httpx.Response, data: Any) -> str | None:
        found = None
        if path := self._set.get("reference_path"):
            found = answers.text_at(data, path)
        elif pattern := self._set.get("reference_pattern"):
            hit = re.search(pattern, answer.text[:_EXPRESSION_READS])
            found = hit.group(1) if hit else None
        return found[:100] if found else None

    def _no(self, answer: httpx.Response, data: Any) -> tuple[int, str]:
        why = answers.text_at(data, path) if (path := self._set.get("error_path")) else None
        # A success of the protocol that is none by the rule is the gateway's no.
        status = 400 if self._status_fits(answer.status_code) else answer.status_code
        return status, self._shown(why or answer.text)

    def _fate(self, status: str) -> Fate:
        for name, fate in (("report_delivered", Fate.DELIVERED), ("report_failed", Fate.FAILED)):
            if status.strip().lower() in (each.strip().lower() for each in self._set.get(name, "").split(",")):
                return fate
        return Fate.SENT

    def _shown(self, text: str) -> str:
        return answers.said(text, self._secrets)


def _filled(pairs: list[tuple[str, str]], values: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, http_gateway.filled(value, values)) for name, value in pairs]


def _json_or_none(answer: httpx.Response) -> Any:
    try:
        return answers.read_json(answer.content)
    except ValueError:
        return None
