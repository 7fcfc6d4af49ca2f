"""Carriers of messages by the provider of an account: what is sent with, whoever carries it."""

from collections.abc import Callable, Mapping

import httpx

from ispgraph.adapters.errors import Forged, Refusal, Refused
from ispgraph.adapters.letters import Accepted, Carrier, Fate, Letter, Report
from ispgraph.adapters.sms.http import HttpGateway
from ispgraph.domain import gateways

__all__ = ["Accepted", "Carrier", "Fate", "Forged", "Letter", "Report", "open_carrier"]

_CARRIERS: Mapping[str, Callable[[gateways.Opened, httpx.AsyncClient], Carrier]] = {
    "http": HttpGateway,
}


def open_carrier(account: gateways.Opened, client: httpx.AsyncClient) -> Carrier:
    """What carries messages for an account; `client` is one of `outbound`. Raises Refused for a provider that carries
    none. Nothing is connected yet."""
    make = _CARRIERS.get(account.provider)
    if make is None:
        raise Refused(Refusal.OTHER, f"{account.provider} carries no messages")
    return make(account, client)
