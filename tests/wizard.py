"""The wizard as a front end drives it."""

from typing import Any

from ispgraph import ids
from ispgraph.domain.models import Operator, Package
from tests.api import Api

DRAFT = """draft { id version status name currentStep completedSteps progressPercent expiresAt
  connection { type username passwordSet macAddress ipAddress subnet router { name } } payment { amount { amount } } }
  errors { code message field }"""
CONFIRM = """mutation ($input: DraftConfirmInput!) { customerDraftConfirm(input: $input) {
  errors { code message field }
  draft { status progressPercent completedSteps connection { passwordSet } customer { id } }
  customer { id accountNumber name mobile email status balance { amount currency } wallet { amount }
    amountDue { amount } zone { name } address { street city } customFields { field { key } value }
    services { username status connectionType expiresAt ipAddress macAddresses package { name }
      network { radius { list attribute value } } }
    invoices { nodes { number } } payments { nodes { number } }
    ledger { nodes { account debit { amount } credit { amount } balance { amount } } } }
  invoice { id number status total { amount } tax { amount } amountPaid { amount } amountDue { amount } }
  payment { id number amount { amount } allocations { amount { amount } invoice { number } } }
  credentials { username password loginName loginPassword } jobs { id kind status } } }"""
INPUTS = {
    "Basics": "DraftBasicsInput",
    "Connection": "DraftConnectionInput",
    "Package": "DraftPackageInput",
    "Address": "DraftAddressInput",
    "CustomFields": "DraftCustomFieldsInput",
    "Payment": "DraftPaymentInput",
}
PPPOE = {"pppoe": {"username": "jane", "password": "a-Password-1"}}


class Wizard:
    """One draft in the hands of one operator."""

    def __init__(self, api: Api, operator: Operator, draft: str) -> None:
        self.api, self.operator, self.draft = api, operator, draft

    @classmethod
    async def begin(cls, api: Api, operator: Operator) -> "Wizard":
        """Start a draft."""
        data = await api.data(f"mutation {{ customerDraftStart {{ {DRAFT} }} }}", operator)
        return cls(api, operator, data["customerDraftStart"]["draft"]["id"])

    async def step(self, name: str, /, **given: Any) -> dict[str, Any]:
        """Save a step; its payload."""
        field = f"customerDraftSet{name}"
        document = f"mutation ($input: {INPUTS[name]}!) {{ {field}(input: $input) {{ {DRAFT} }} }}"
        data = await self.api.data(document, self.operator, input={"draftId": self.draft, **given})
        payload: dict[str, Any] = data[field]
        return payload

    async def fill(self, package: Package, *, pays: str = "500.00", number: int = 0, **changed: Any) -> "Wizard":
        """Save every required step; `changed` replaces the input of a step by its name."""
        inputs: dict[str, dict[str, Any]] = {
            "Basics": {"name": "Jane Example", "mobile": "01712345678", "email": f"jane{number}@example.com"},
            "Connection": PPPOE,
            "Package": {"packageId": ids.encode("pkg", package.id)},
            "Address": {"address": {"street": "1 Example Street", "city": "Dhaka"}},
            "Payment": {"amount": pays, "method": "CASH"},
        }
        for name, given in (inputs | changed).items():
            payload = await self.step(name, **given)
            assert payload["errors"] == [], (name, payload["errors"])
        return self

    async def confirm(self, **given: Any) -> dict[str, Any]:
        """Confirm; the payload."""
        data = await self.api.data(CONFIRM, self.operator, input={"draftId": self.draft, **given})
        payload: dict[str, Any] = data["customerDraftConfirm"]
        return payload

    async def read(self, fields: str) -> dict[str, Any]:
        """Some fields of the draft."""
        document = f"query ($id: ID!) {{ customerDraft(id: $id) {{ {fields} }} }}"
        draft: dict[str, Any] = (await self.api.data(document, self.operator, id=self.draft))["customerDraft"]
        return draft


def faults(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """Codes with dotted paths."""
    return [(error["code"], ".".join(error["field"] or [])) for error in payload["errors"]]
