"""A customer at home, who signs in and looks after the own affairs as a front end has it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import password_codes, tokens
from ispgraph.domain.models import Customer, CustomerPasswordReset, CustomerSignIn
from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import NETWORK_KEY, PASSWORD, TOKEN_KEY, House

NEW = "another horse battery"
SIGN_IN = """mutation ($input: CustomerSignInInput!) { done: customerSignIn(input: $input) {
  token expiresAt challenge viewer { customer { id accountNumber } operator { id walletBalance { amount } } permissions
    portalAdmin { name } }
  errors { code message field } } }"""
ME = "{ viewer { customer { id name } operator { id } tenant { name } permissions portalAdmin { name } } }"
CHANGE = """mutation ($current: String!, $new: String!) {
  done: passwordChange(input: {currentPassword: $current, newPassword: $new}) {
  token errors { code field } } }"""
REQUEST = """mutation ($input: CustomerPasswordRequestInput!) {
  done: customerPasswordRequest(input: $input) { done errors { code field } } }"""
RESET = """mutation ($code: String!, $new: String!) {
  done: passwordReset(input: {code: $code, newPassword: $new}) { done errors { code field } } }"""
INVITE = """mutation ($input: CustomerInviteInput!) { done: customerInvite(input: $input) {
  customer { id portalAccess } messages { channel to body } errors { code message field } } }"""
ACCESS = """mutation ($id: ID!, $allowed: Boolean!) {
  done: customerSetAccess(input: {customerId: $id, allowed: $allowed}) {
  customer { portalAccess } errors { code field } } }"""
OUT = "mutation { done: signOut { errors { code } } }"


def faults(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """Codes with dotted paths."""
    return [(error["code"], ".".join(error["field"] or [])) for error in payload["errors"]]


async def token_of(database: Database, row: Customer) -> str:
    """A token of a sign-in of this customer that lasts a year, so that tests may move the clock."""
    entry = CustomerSignIn(
        id=ids.uuid7(),
        tenant_id=row.tenant_id,
        customer_id=row.id,
        token_version=1,
        expires_at=clock.now() + timedelta(days=365),
    )
    async with database.transaction(row.tenant_id) as session:
        session.add(entry)
    return tokens.issue(
        TOKEN_KEY, tokens.Claims(row.tenant_id, row.id, entry.id, 1, entry.expires_at, of_customer=True)
    )


@dataclass
class Home:
    """One customer with a front end."""

    api: Api
    house: House
    settings: Settings
    customer: Customer
    token: str | None = None

    @property
    def id(self) -> str:
        return ids.encode("cus", self.customer.id)

    async def sign_in(self, login: str = "N-1001", password: str = PASSWORD, **more: Any) -> dict[str, Any]:
        """The payload; from now on what is done is done with the token."""
        given = {"login": login, "password": password} | (more or {"tenant": "north"})
        payload: dict[str, Any] = (await self.api.data(SIGN_IN, input=given))["done"]
        self.token = payload["token"] or self.token
        return payload

    async def entered(self) -> "Home":
        """Signed in."""
        assert faults(await self.sign_in()) == []
        return self

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        assert self.token is not None
        answer = await self.api(document, token=self.token, **variables)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    async def do(self, document: str, **variables: Any) -> dict[str, Any]:
        """The payload of a mutation that is called `done`."""
        payload: dict[str, Any] = (await self.ask(document, **variables))["done"]
        return payload

    async def refused(self, document: str, token: str | None = None, **variables: Any) -> str:
        """The code with which a document is refused as a whole, or in a field of it; empty when it is not."""
        assert token is not None or self.token is not None
        answer = await self.api(document, token=token or self.token, **variables)
        return str(answer["errors"][0]["extensions"]["code"]) if "errors" in answer else ""

    async def public(self, document: str, **variables: Any) -> dict[str, Any]:
        """The payload for somebody who has not signed in."""
        payload: dict[str, Any] = (await self.api.data(document, **variables))["done"]
        return payload

    async def office(self, document: str, **variables: Any) -> dict[str, Any]:
        """The payload for the admin of the house."""
        payload: dict[str, Any] = (await self.api.data(document, self.house.admin, **variables))["done"]
        return payload

    async def codes(self) -> list[str]:
        """The codes that were made for the customer and for the admin of its portal, oldest first."""
        rows = select(CustomerPasswordReset).where(CustomerPasswordReset.customer_id == self.customer.id)
        async with self.house.database.read(self.house.tenant.id) as session:
            found = list(await session.scalars(rows.order_by(CustomerPasswordReset.id)))
        return [password_codes.code(NETWORK_KEY, row.tenant_id, row.id) for row in found]
