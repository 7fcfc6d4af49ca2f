"""SSL Wireless (Bangladesh): SMS Plus, version 3, one message a request. It sends no reports of delivery."""

import hashlib
from collections.abc import Mapping

from ispgraph.adapters.errors import Forged, Refusal, Refused
from ispgraph.adapters.letters import Accepted, Letter, Report
from ispgraph.adapters.sms import answers
from ispgraph.adapters.sms.provider import HttpProvider

_LONGEST_REFERENCE = 20
_UNAUTHORIZED = "4001"


class SslWireless(HttpProvider):
    base_url = "https://smsplus.sslwireless.com"
    secrets = ("api_token",)

    async def send(self, letter: Letter) -> Accepted:
        asked = {
            "api_token": self._set["api_token"],
            "sid": letter.sender or self._set["sid"],
            "msisdn": letter.to.removeprefix("+"),
            "sms": letter.body,
            "csms_id": short_reference(letter.reference),
        }
        answer = await self._client.post(f"{self._base}/api/v3/send-sms", json=asked)
        if not answer.is_success:
            raise answers.refusal(answer.status_code, self._shown(answer.text))
        data = answers.json_of(answer)
        sent = answers.text_at(data, "smsinfo.0.sms_status")
        if answers.text_at(data, "status") != "SUCCESS" or sent != "SUCCESS":
            why = answers.text_at(data, "error_message") or answers.text_at(data, "smsinfo.0.status_message")
            login = answers.text_at(data, "status_code") == _UNAUTHORIZED
            raise Refused(Refusal.BAD_LOGIN if login else Refusal.OTHER, self._shown(why or answer.text))
        return Accepted(answers.text_at(data, "smsinfo.0.reference_id"), None)

    def reported(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[Report]:
        raise Forged("This provider sends no reports.")


def short_reference(reference: str) -> str:
    """Our reference, or what stands for it where it is longer than they take."""
    if len(reference) <= _LONGEST_REFERENCE:
        return reference
    return hashlib.blake2b(reference.encode(), digest_size=_LONGEST_REFERENCE // 2).hexdigest()
