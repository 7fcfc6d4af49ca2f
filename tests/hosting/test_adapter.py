"""The adapter of the panel, over HTTP: what it asks, what it believes, and what its errors tell."""

import asyncio
from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ispgraph.adapters import nextpanel, outbound
from ispgraph.adapters.errors import AdapterError, BadReply, Refusal, Refused, TimedOut, Unreachable
from ispgraph.adapters.nextpanel import Login, NextPanel, Wanted
from ispgraph.adapters.nextpanel_double import NextPanelDouble
from ispgraph.adapters.payments.doubles import Fault, serve

WANTED = Wanted(
    billing_id="hac_1",
    customer="N1",
    username="ann",
    password="Hosting-Pass-81",
    email="ann@example.net",
    full_name="Ann Example",
    phone="+8801712345678",
    company=None,
    package_id=None,
    created_at="2026-01-01T00:00:00+00:00",
)


async def test_a_panel_is_spoken_to_as_it_wants_it() -> None:
    double = NextPanelDouble()
    async with serve(double.app) as url, outbound.client(private=True) as client:
        panel = NextPanel(client, Login(f"{url}/", double.api_key, double.api_secret))
        await panel.health()
        assert "x-api-key" not in double.asked("health")[0].headers
        await panel.prove()
        account = await panel.create(WANTED)
        assert double.asked("create")[0].headers["x-api-key"] == double.api_key
        assert await panel.create(WANTED) == account, "the conflict is with our own"
        found = await panel.search("hac_1")
        assert (found.asked, found.account_id) == (True, account)
        assert (await panel.search("hac_2")).account_id is None
        stranger = replace(WANTED, billing_id="hac_2")
        with pytest.raises(Refused) as taken:
            await panel.create(stranger)
        assert taken.value.kind is Refusal.ALREADY_EXISTS
        assert not taken.value.outcome_unknown
        double.searchable = False
        assert not (await panel.search("hac_1")).asked
        double.stern = True
        await panel.suspend(account, "Non-payment")
        await panel.suspend(account, "Non-payment")
        assert double.accounts[int(account)].status == "suspended"
        await panel.unsuspend(account)
        await panel.unsuspend(account)
        assert (await panel.stats(account))["total_domains"] == 3
        await panel.delete(account)
        await panel.delete(account)
        assert double.accounts == {}
        with pytest.raises(Refused) as missing:
            await panel.suspend(account, "x")
        assert missing.value.kind is Refusal.NO_SUCH_ITEM


async def test_errors_say_why_and_tell_no_secret() -> None:
    double = NextPanelDouble()
    async with serve(double.app) as url, outbound.client(private=True) as client:
        login = Login(url, double.api_key, double.api_secret)
        panel = NextPanel(client, login)
        with pytest.raises(Refused) as short:
            await panel.create(replace(WANTED, password="secret7"))
        assert short.value.kind is Refusal.INVALID_VALUE
        assert "secret7" not in str(short.value)
        with pytest.raises(Refused, match="email is required"):
            await panel.create(replace(WANTED, email=""))
        with pytest.raises(Refused) as key:
            await NextPanel(client, replace(login, api_secret="nps_other")).prove()
        assert key.value.kind is Refusal.BAD_LOGIN
        double.weak = True
        await panel.health()
        with pytest.raises(Refused, match="super-admin") as weak:
            await panel.prove()
        assert weak.value.kind is Refusal.NOT_PERMITTED
        double.weak = False
        for fault, unknown in ((Fault.ERROR, True), (Fault.RESET, True)):
            double.fail("create", fault)
            with pytest.raises(BadReply) as failed:
                await panel.create(WANTED)
            assert failed.value.outcome_unknown is unknown
        double.fail("read", Fault.ERROR)
        with pytest.raises(BadReply) as asked:
            await panel.prove()
        assert not asked.value.outcome_unknown
    for text in (repr(login), repr(WANTED)):
        assert double.api_secret not in text
        assert WANTED.password not in text
    async with outbound.client(private=True) as client:
        with pytest.raises(Unreachable) as gone:
            await NextPanel(client, login).create(WANTED)
        assert not gone.value.outcome_unknown
    async with outbound.client(private=False) as client:
        with pytest.raises(Refused, match="may not be called"):
            await NextPanel(client, login).health()


async def test_a_call_has_a_deadline_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    double = NextPanelDouble()
    monkeypatch.setattr(nextpanel, "HEALTH_SECONDS", 0.2)
    async with serve(double.app) as url, outbound.client(private=True) as client:
        double.fail("health", Fault.HANG)
        with pytest.raises(TimedOut, match="within") as late:
            await NextPanel(client, Login(url, "npk_a", "nps_a")).health()
        assert not late.value.outcome_unknown


@pytest.mark.parametrize(
    "answer",
    [
        (201, {"username": "ann"}),
        (201, {"id": True}),
        (201, {"id": -4}),
        (201, {"id": 10**400}),
        (201, {"id": "a\nb"}),
        (201, ["id", 1]),
        (200, {"id": 1}),
        (302, {"id": 1}),
        (418, {"detail": {"message": 7}}),
        (422, {"detail": [{"msg": None}, "x", 7]}),
        (409, {"account": {"billing_id": "hac_1", "id": None}}),
        (409, {"account": [{"billing_id": "hac_1", "id": 5}]}),
    ],
)
async def test_an_answer_that_makes_no_sense_makes_no_account(answer: tuple[int, object]) -> None:
    class Odd(NextPanelDouble):
        async def _create(self, _request: Request) -> Response:
            return JSONResponse(answer[1], answer[0])

    double = Odd()
    async with serve(double.app) as url, outbound.client(private=True) as client, asyncio.timeout(30):
        with pytest.raises(AdapterError):
            await NextPanel(client, Login(url, double.api_key, double.api_secret)).create(WANTED)


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ({"accounts": [{"id": 9, "billing_id": "hac_2"}], "total": 1}, (True, None)),
        ({"items": [{"id": 9, "billing_id": "hac_2"}, {"id": 8, "billing_id": "hac_1"}], "total": 50}, (True, "8")),
        # The first of several pages says nothing of the rest, and so does a list without a count.
        ({"accounts": [{"id": 9, "billing_id": "hac_2"}], "total": 50}, (False, None)),
        ({"accounts": []}, (False, None)),
        ({"detail": "whatever"}, (False, None)),
    ],
)
async def test_a_search_believes_what_is_ours_alone(listed: object, found: tuple[bool, str | None]) -> None:
    class Listing(NextPanelDouble):
        async def _search(self, _request: Request) -> Response:
            return JSONResponse(listed)

    double = Listing()
    async with serve(double.app) as url, outbound.client(private=True) as client:
        search = await NextPanel(client, Login(url, double.api_key, double.api_secret)).search("hac_1")
    assert (search.asked, search.account_id) == found
