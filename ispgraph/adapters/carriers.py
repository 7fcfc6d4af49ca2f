"""Carriers of messages by the provider of an account: what is sent with, whoever carries it."""

from collections.abc import Callable, Mapping

import httpx

from ispgraph.adapters.email import Email
from ispgraph.adapters.errors import Forged, Refusal, Refused
from ispgraph.adapters.letters import Accepted, Carrier, Fate, Letter, Report
from ispgraph.adapters.sms.africas_talking import AfricasTalking
from ispgraph.adapters.sms.http import HttpGateway
from ispgraph.adapters.sms.smpp import Smpp
from ispgraph.adapters.sms.ssl_wireless import SslWireless
from ispgraph.adapters.sms.twilio import Twilio
from ispgraph.adapters.sms.vonage import Vonage
from ispgraph.domain import gateways

__all__ = ["Accepted", "Carrier", "Fate", "Forged", "Letter", "Report", "open_carrier"]

_CARRIERS: Mapping[str, Callable[[gateways.Opened, httpx.AsyncClient, str], Carrier]] = {
    "africas_talking": AfricasTalking,
    "http": HttpGateway,
    "smpp": Smpp,
    "smtp": Email,
    "ssl_wireless": SslWireless,
    "twilio": Twilio,
    "vonage": Vonage,
}


def open_carrier(account: gateways.Opened, client: httpx.AsyncClient, *, report_url: str = "") -> Carrier:
    """What carries messages for an account; `client` is one of `outbound`. Raises Refused for a provider that carries
    none. Nothing is connected yet.

    `report_url` is where reports came to, as the provider called it: some sign that too. Without it, it is taken from
    the Host header of the report and the ids of the account.
    """
    make = _CARRIERS.get(account.provider)
    if make is None:
        raise Refused(Refusal.OTHER, f"{account.provider} carries no messages")
    return make(account, client, report_url)
