"""Africa's Talking: bulk messages, one recipient a request. Reports come unsigned to an address set in its dashboard,
so that address carries a secret."""

from collections.abc import Mapping

import httpx

from ispgraph.adapters.errors import BadReply, Refusal, Refused
from ispgraph.adapters.letters import Accepted, Fate, Letter, Report
from ispgraph.adapters.sms import answers
from ispgraph.adapters.sms.provider import HttpProvider
from ispgraph.domain.gateways import Opened

_TAKEN = ("100", "101", "102")
_INTERNAL = ("500", "501")
_FATES = {"success": Fate.DELIVERED, "rejected": Fate.FAILED, "failed": Fate.FAILED}


class AfricasTalking(HttpProvider):
    base_url = "https://api.africastalking.com"
    secrets = ("api_key", "report_secret")

    def __init__(self, account: Opened, client: httpx.AsyncClient, report_url: str) -> None:
        super().__init__(account, client, report_url)
        if account.test_mode:
            self.base_url = "https://api.sandbox.africastalking.com"

    async def send(self, letter: Letter) -> Accepted:
        form = {"username": self._set["username"], "to": letter.to, "message": letter.body}
        if sender := letter.sender or self._set.get("sender"):
            form["from"] = sender
        answer = await self._client.post(
            f"{self._base}/version1/messaging",
            data=form,
            headers={"apiKey": self._set["api_key"], "Accept": "application/json"},
        )
        if not answer.is_success:
            raise answers.refusal(answer.status_code, self._shown(answer.text))
        data = answers.json_of(answer)
        person = answers.at(data, "SMSMessageData.Recipients.0")
        if person is None:
            # Of a sender that is not ours, say: nobody was written to, and the reason is in a sentence.
            said = answers.text_at(data, "SMSMessageData.Message")
            if said is None:
                raise BadReply("The answer holds no recipients.", outcome_unknown=True)
            raise Refused(Refusal.OTHER, self._shown(said))
        code, status = answers.text_at(person, "statusCode"), answers.text_at(person, "status") or "no status"
        if code in _INTERNAL:
            raise BadReply(f"The provider failed: {self._shown(status)}", outcome_unknown=True)
        if code not in _TAKEN:
            raise Refused(Refusal.OTHER, self._shown(status))
        return Accepted(answers.text_at(person, "messageId"), answers.whole(answers.at(person, "messageParts")))

    def reported(self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[Report]:
        answers.require_secret(query, self._set.get("report_secret", ""))
        found = answers.fields(method, query, headers, body)
        theirs, status = answers.text_at(found, "id"), answers.text_at(found, "status")
        if theirs is None or status is None:
            raise BadReply("The report does not name a message and its state.")
        reason = answers.text_at(found, "failureReason")
        return [Report(theirs, None, _FATES.get(status.lower(), Fate.SENT), self._shown(reason) if reason else None)]
