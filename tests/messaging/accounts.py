"""Accounts with providers, and a message, for tests of adapters."""

from typing import Any
from uuid import UUID

from ispgraph.adapters.letters import Letter
from ispgraph.domain.gateways import Opened
from ispgraph.domain.models import GatewayKind

TENANT, GATEWAY = UUID(int=1), UUID(int=2)


def account(provider: str, kind: GatewayKind = GatewayKind.SMS, test_mode: bool = False, **settings: str) -> Opened:
    return Opened(GATEWAY, TENANT, kind, provider, "Test", test_mode, settings)


def letter(**changed: Any) -> Letter:
    given: dict[str, Any] = {
        "reference": "msg-000001",
        "to": "+8801712345678",
        "body": "Hello",
        "subject": None,
        "html": None,
        "sender": None,
        "report_url": "http://127.0.0.1:9/delivery/1/2",
    }
    return Letter(**(given | changed))
