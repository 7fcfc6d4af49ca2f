"""SSL Wireless' SMS Plus, as its documentation tells of it: a status of 200 for nearly everything."""

import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ispgraph.adapters.sms.double import Double, in_seven_bits

_NUMBER = re.compile(r"8801[3-9][0-9]{8}")
_LONGEST = 1000


@dataclass
class SslWirelessDouble(Double):
    """An account with its one sender."""

    api_token: str = "token-of-the-double"  # noqa: S105
    sid: str = "NORTHNET"

    def paths(self) -> dict[str, list[str]]:
        return {"/api/v3/send-sms": ["POST"]}

    async def answer(self, request: Request) -> Response:
        asked = await request.json()
        if asked.get("api_token") != self.api_token:
            return _failed(4001, "Unauthorized")
        if asked.get("sid") != self.sid:
            return _failed(4005, "Invalid sid")
        if not _NUMBER.fullmatch(str(asked.get("msisdn", ""))):
            return _failed(4025, "Invalid msisdn")
        body, reference = str(asked.get("sms", "")), str(asked.get("csms_id", ""))
        if not 0 < len(body) <= _LONGEST:
            return _failed(4022, "Invalid sms length")
        if not 0 < len(reference) <= 20 or reference in {each.given["csms_id"] for each in self.taken}:
            return _failed(4023, "Invalid or duplicate csms_id")
        taken = self.take(asked["msisdn"], body, self.sid, f"{len(self.taken):032x}", asked)
        info = {
            "sms_status": "SUCCESS",
            "status_message": "Success",
            "msisdn": taken.to,
            "sms_type": "EN" if in_seven_bits(body) else "BN",
            "sms_body": body,
            "csms_id": reference,
            "reference_id": taken.id,
        }
        return JSONResponse({"status": "SUCCESS", "status_code": 200, "error_message": "", "smsinfo": [info]})


def _failed(code: int, message: str) -> Response:
    return JSONResponse({"status": "FAILED", "status_code": code, "error_message": message, "smsinfo": []})
