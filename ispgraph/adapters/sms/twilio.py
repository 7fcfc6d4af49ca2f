"""Twilio: Programmable Messaging, one message a request, reports by status callback."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

import httpx

from ispgraph.adapters.errors import AdapterError, BadReply, Forged, Refusal, Refused
from ispgraph.adapters.letters import Accepted, Fate, Letter, Report
from ispgraph.adapters.sms import answers
from ispgraph.adapters.sms.provider import HttpProvider

_FATES = {"delivered": Fate.DELIVERED, "read": Fate.DELIVERED, "undelivered": Fate.FAILED, "failed": Fate.FAILED}
_LOGIN = 20003


class Twilio(HttpProvider):
    base_url = "https://api.twilio.com"
    secrets = ("auth_token",)

    async def send(self, letter: Letter) -> Accepted:
        account_sid, sender = self._set["account_sid"], letter.sender or self._set.get("sender", "")
        # A service has an id where a number has a plus, and a name has neither.
        from_name = "MessagingServiceSid" if sender.startswith("MG") and len(sender) == 34 else "From"
        form = {"To": letter.to, from_name: sender, "Body": letter.body}
        if letter.report_url:
            form["StatusCallback"] = letter.report_url
        answer = await self._client.post(
            f"{self._base}/2010-04-01/Accounts/{account_sid}/Messages.json",
            data=form,
            auth=(account_sid, self._set["auth_token"]),
        )
        if answer.status_code != 201:
            raise self._refused(answer)
        data = answers.json_of(answer)
        sid = answers.text_at(data, "sid")
        if sid is None:
            raise BadReply("Twilio's answer holds no sid.", outcome_unknown=True)
        return Accepted(sid, answers.whole(answers.at(data, "num_segments")) or None)

    def reported(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[Report]:
        try:
            pairs = answers.form(body)
        except ValueError as error:
            raise BadReply("The report can not be read.") from error
        given, token = headers.get("x-twilio-signature", ""), self._set["auth_token"]
        signatures = [signature(token, url, pairs) for url in self._urls(query, headers)]
        if not any(hmac.compare_digest(given.encode(), each.encode()) for each in signatures):
            raise Forged("The report is not signed as Twilio signs.")
        form = dict(pairs)
        sid, status = form.get("MessageSid"), form.get("MessageStatus", "")
        if not sid or form.get("AccountSid", self._set["account_sid"]) != self._set["account_sid"]:
            raise BadReply("The report is not about a message of this account.")
        reason = f"Twilio's error {answers.said(code, [])}" if (code := form.get("ErrorCode")) else None
        return [Report(sid, None, _FATES.get(status, Fate.SENT), reason)]

    def _urls(self, query: Mapping[str, str], headers: Mapping[str, str]) -> list[str]:
        """As which Twilio may have called us: it signs the address it was given."""
        tail = f"?{urlencode(query)}" if query else ""
        if self._report_url:
            return [self._report_url + tail]
        path = f"{headers.get('host', '')}/delivery/{self._account.tenant_id.hex}/{self._account.id.hex}{tail}"
        return [f"https://{path}", f"http://{path}"]

    def _refused(self, answer: httpx.Response) -> AdapterError:
        try:
            data = answers.read_json(answer.content)
        except ValueError:
            data = {}
        message = self._shown(answers.text_at(data, "message") or answer.text)
        if answers.at(data, "code") == _LOGIN:
            return Refused(Refusal.BAD_LOGIN, message)
        return answers.refusal(answer.status_code, message)


def signature(auth_token: str, url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """X-Twilio-Signature: the address with each parameter behind it, in the order of their names, under HMAC-SHA1."""
    signed = url + "".join(name + value for name, value in sorted(set(pairs)))
    return base64.b64encode(hmac.digest(auth_token.encode(), signed.encode(), hashlib.sha1)).decode()
