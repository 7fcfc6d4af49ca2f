"""Vonage: its SMS API. A status of "0" in the answer is a success, whatever HTTP says."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from ispgraph.adapters.errors import AdapterError, BadReply, Forged, Refusal, Refused, Unreachable
from ispgraph.adapters.letters import Accepted, Fate, Letter, Report
from ispgraph.adapters.sms import alphabet, answers
from ispgraph.adapters.sms.provider import HttpProvider

_THROTTLED, _INTERNAL = "1", "5"
_LOGIN = ("4", "8", "14", "32")
_FATES = {
    "delivered": Fate.DELIVERED,
    "expired": Fate.FAILED,
    "failed": Fate.FAILED,
    "rejected": Fate.FAILED,
    "deleted": Fate.FAILED,
}


class Vonage(HttpProvider):
    base_url = "https://rest.nexmo.com"
    secrets = ("api_secret", "signature_secret", "report_secret")

    async def send(self, letter: Letter) -> Accepted:
        form = {
            "api_key": self._set["api_key"],
            "api_secret": self._set["api_secret"],
            "from": letter.sender or self._set.get("sender", ""),
            "to": letter.to.removeprefix("+"),
            "text": letter.body,
            "type": "text" if alphabet.units(letter.body) else "unicode",
            "client-ref": letter.reference,
            "status-report-req": "1",
        }
        secret = "" if self._set.get("signature_secret") else self._set.get("report_secret", "")
        if url := answers.with_secret(letter.report_url, secret):
            form["callback"] = url
        answer = await self._client.post(f"{self._base}/sms/json", data=form)
        if not answer.is_success:
            raise answers.refusal(answer.status_code, self._shown(answer.text))
        parts = answers.at(answers.json_of(answer), "messages")
        if not isinstance(parts, list) or not parts:
            raise BadReply("Vonage's answer holds no messages.", outcome_unknown=True)
        for part in parts:
            if (status := answers.text_at(part, "status")) != "0":
                raise self._refused(status or "", part, begun=part is not parts[0])
        return Accepted(answers.text_at(parts[0], "message-id"), len(parts))

    def reported(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[Report]:
        found = answers.fields(method, query, headers, body)
        if secret := self._set.get("signature_secret"):
            signed = signature(secret, found, self._set.get("signature_method", "sha256"))
            if not hmac.compare_digest(str(found.get("sig", "")).lower().encode(), signed.encode()):
                raise Forged("The report is not signed as Vonage signs.")
        else:
            answers.require_secret(query, self._set.get("report_secret", ""))
        theirs, ours, status = (answers.text_at(found, name) for name in ("messageId", "client-ref", "status"))
        if status is None or (theirs is None and ours is None):
            raise BadReply("The report does not name a message and its state.")
        fate = _FATES.get(status.lower(), Fate.SENT)
        code = answers.text_at(found, "err-code")
        reason = self._shown(f"{status}, Vonage's error {code}") if fate is Fate.FAILED else None
        return [Report(theirs, ours, fate, reason)]

    def _refused(self, status: str, part: Any, *, begun: bool) -> AdapterError:
        text = self._shown(answers.text_at(part, "error-text") or f"status {status}")
        if begun or status == _INTERNAL:
            return BadReply(f"Vonage failed: {text}", outcome_unknown=True)
        if status == _THROTTLED:
            return Unreachable(f"Vonage takes no more messages for now: {text}")
        return Refused(Refusal.BAD_LOGIN if status in _LOGIN else Refusal.OTHER, text)


def signature(secret: str, fields: Mapping[str, Any], method: str) -> str:
    """The `sig` of signed messages, in hex: over all fields but itself, in the order of their names. `method` is
    md5hash, or the name of a hash for HMAC: md5, sha1, sha256, sha512."""
    clean = {name: str(value).replace("&", "_").replace("=", "_") for name, value in fields.items() if name != "sig"}
    signed = "".join(f"&{name}={clean[name]}" for name in sorted(clean))
    if method == "md5hash":
        # Their oldest way: no HMAC, the secret at the end.
        return hashlib.md5((signed + secret).encode()).hexdigest()  # noqa: S324
    return hmac.new(secret.encode(), signed.encode(), method).hexdigest()
