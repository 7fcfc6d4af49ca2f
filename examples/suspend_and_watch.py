"""What it means that a customer is off the network: suspend one, and watch until it is true.

    ispgraph up --demo                       in one terminal
    python examples/suspend_and_watch.py     in another        (--up names an up.json elsewhere)

A customer of the demo who is on line is suspended. The steps of the job are printed as the subscription `jobUpdated`
delivers them, until the end of the session has been seen. The customer's device dials again and is refused, or gets
into the walled garden only; then the customer is activated, and dials in as before. The same again with a router that
is out of reach, one that agrees and does nothing, one whose answer is lost, and one with a user of its own that beats
RADIUS: each time, what the API claims is compared with what the simulated network does.

It needs httpx and websockets and nothing of ispgraph. It exits with 0 only if everything came out as expected.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import websockets
from demo import Isp, Network, expect, run

ACTION = """mutation Act($input: %sInput!) { customer%s(input: $input) {
  customer { status statusReason } jobs { id } errors { code message field } } }"""
FIND = """query Find($by: CustomerBy!) { customer(by: $by) { id name status service { id router { id name }
  network { state problem desiredVersion appliedVersion drift { path observed } } } } }"""
FOLLOW = """subscription Follow($id: ID!) { jobUpdated(jobId: $id) { status message
  ... on NetworkJob { steps { protocol outcome detail errorCause roundTripMs } } } }"""
RECONCILE = (
    """mutation Put($id: ID!) { routerReconcile(routerId: $id, dryRun: false) { jobs { id } errors { message } } }"""
)
JOBS = """query Jobs($id: ID!) { node(id: $id) { ... on Customer { jobs(first: 1) { nodes { id status } } } } }"""
PATIENCE = 120.0


class Office(Isp):
    """The API, with what this tour does there."""

    async def find(self, username: str) -> dict[str, Any]:
        """The customer with a username."""
        found: dict[str, Any] = (await self.ask(FIND, by={"username": username}))["customer"]
        return found

    async def act(self, action: str, customer: str, **given: Any) -> list[str]:
        """`customerSuspend` and its like: the ids of the jobs that carry it out."""
        asked = ACTION % (action, action)
        done = (await self.ask(asked, input={"customerId": customer, **given}))[f"customer{action}"]
        for error in done["errors"]:
            raise SystemExit(f"unexpected: {error}")
        return [job["id"] for job in done["jobs"]]

    async def follow(self, job: str) -> AsyncIterator[dict[str, Any]]:
        """A job as it goes on, until it has ended (graphql-transport-ws)."""
        protocol = websockets.Subprotocol("graphql-transport-ws")
        async with websockets.connect(self.up["websocket"], subprotocols=[protocol]) as connection:
            hello = {"type": "connection_init", "payload": {"Authorization": f"Bearer {self.token}"}}
            await connection.send(json.dumps(hello))
            await connection.recv()
            wanted = {"query": FOLLOW, "variables": {"id": job}}
            await connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": wanted}))
            async for text in connection:
                message = json.loads(text)
                if message["type"] == "next":
                    yield message["payload"]["data"]["jobUpdated"]
                elif message["type"] in ("complete", "error"):
                    return


class Lab(Network):
    """The simulated network, with devices that dial and routers that fail."""

    async def device(self, name: str) -> dict[str, Any]:
        """A customer's device as it is now."""
        found: dict[str, Any] = await self.get(f"/subscribers/{name}")
        return found

    async def mend(self, router: str) -> None:
        """Everything works again."""
        (await self.http.delete(f"/routers/{router}/faults")).raise_for_status()

    async def dial(self, name: str) -> dict[str, Any]:
        """Have a device dial anew, and wait for what comes of it."""
        await self.tell(f"/subscribers/{name}/dial")
        end = time.monotonic() + PATIENCE
        while True:
            seen = await self.device(name)
            if seen["state"] in ("online", "refused") or time.monotonic() > end:
                return seen
            await asyncio.sleep(0.2)


def kept_out(device: dict[str, Any]) -> bool:
    """Whether a device is off, refused, or in the walled garden."""
    return device["state"] != "online" or bool(device["address_lists"])


async def watch(isp: Office, job: str, *, until_waiting: bool = False) -> str:
    """Print the steps of a job as they come; its last status. `until_waiting`: leave when a router is waited for."""
    began, shown, status, said = time.monotonic(), 0, "", ""
    async for event in isp.follow(job):
        status = event["status"]
        for step in event["steps"][shown:]:
            took = f"{step['roundTripMs']:.1f} ms" if step["roundTripMs"] is not None else ""
            told = f"{step['protocol']:<10} {step['outcome']:<11} {took:>9}  {step['detail']}"
            print(f"    {time.monotonic() - began:6.2f} s  {told}")
        shown = len(event["steps"])
        if event["message"] and event["message"] != said:
            said = event["message"]
            print(f"    {time.monotonic() - began:6.2f} s  {status}: {said}")
        if until_waiting and status == "QUEUED" and "out of reach" in said:
            break
    print(f"  {status} after {time.monotonic() - began:.1f} s")
    return status


async def suspend(isp: Office, customer: str) -> str:
    """Suspend; the job."""
    began = time.monotonic()
    (job, *_) = await isp.act("Suspend", customer, reason="NON_PAYMENT", note="to see what happens")
    print(f"  suspended in the books after {time.monotonic() - began:.2f} s")
    return job


async def bring_back(isp: Office, network: Lab, customer: str, device: str) -> None:
    """Activate, and see the device on line as before."""
    began = time.monotonic()
    for job in await isp.act("Activate", customer):
        expect(await watch(isp, job) == "SUCCEEDED", "activated")
    seen = await network.dial(device)
    while kept_out(seen) and time.monotonic() - began < PATIENCE:
        await asyncio.sleep(0.2)
        seen = await network.device(device)
    expect(not kept_out(seen), f"on line again {time.monotonic() - began:.1f} s after the activation")


async def claims(isp: Office, network: Lab, device: str, state: str) -> None:
    """What the API says of the network, beside what the network does."""
    said, seen = (await isp.find(device))["service"]["network"], await network.device(device)
    print(f"  the API says {said['state']}{': ' + said['problem'] if said['problem'] else ''}")
    expect(said["state"] == state, f"it says {state}")
    off = kept_out(seen)
    where = "walled" if off and seen["state"] == "online" else seen["state"]
    expect(off == (state == "APPLIED"), f"the device is {where}, as the API claims")


async def plainly(isp: Office, network: Lab, device: dict[str, Any], customer: str) -> None:
    """Nothing goes wrong."""
    name = device["name"]
    began = time.monotonic()
    expect(await watch(isp, await suspend(isp, customer)) == "SUCCEEDED", "the end of the session was seen")
    seen = await network.dial(name)
    said = seen["reply_message"] or ", ".join(seen["address_lists"])
    expect(kept_out(seen), f"the device dials again: {seen['state']} ({said}), {time.monotonic() - began:.1f} s on")
    expect(seen["session_id"] != device["session_id"], "in another session than before")
    await claims(isp, network, name, "APPLIED")
    await bring_back(isp, network, customer, name)


async def out_of_reach(isp: Office, network: Lab, device: dict[str, Any], customer: str) -> None:
    """Nobody answers at the router, neither its API nor to Disconnect."""
    name, router = device["name"], device["router"]
    await network.tell(f"/routers/{router}/faults", {"refuse": True, "coa": {"silent": True}})
    job = await suspend(isp, customer)
    expect(await watch(isp, job, until_waiting=True) == "QUEUED", "the job waits, and says why")
    await claims(isp, network, name, "UNREACHABLE")
    print("  the router is back")
    await network.mend(router)
    expect(await watch(isp, job) == "SUCCEEDED", "carried out as soon as the router was back")
    await claims(isp, network, name, "APPLIED")
    await bring_back(isp, network, customer, name)


async def agreed_only(isp: Office, network: Lab, device: dict[str, Any], customer: str) -> None:
    """The router acknowledges the Disconnect, and the session goes on."""
    await network.tell(f"/routers/{device['router']}/faults", {"coa": {"no_effect": True}})
    expect(await watch(isp, await suspend(isp, customer)) == "SUCCEEDED", "ended over the router's API instead")
    await claims(isp, network, device["name"], "APPLIED")
    await network.mend(device["router"])
    await bring_back(isp, network, customer, device["name"])


async def answer_lost(isp: Office, network: Lab, device: dict[str, Any], customer: str) -> None:
    """The router removes the session, and the connection breaks before it can say so."""
    faults = {"coa": {"silent": True}, "lose_answers": ["/ppp/active/remove"]}
    await network.tell(f"/routers/{device['router']}/faults", faults)
    expect(await watch(isp, await suspend(isp, customer)) == "SUCCEEDED", "it looked again, and saw that it was done")
    await claims(isp, network, device["name"], "APPLIED")
    await network.mend(device["router"])
    await bring_back(isp, network, customer, device["name"])


async def shadowed(isp: Office, network: Lab, device: dict[str, Any], customer: str) -> None:
    """Somebody made a user of the same name on the router: it lets him in without asking RADIUS."""
    name, router = device["name"], device["router"]
    await network.tell(f"/subscribers/{name}/password", {"password": "known to the router"})
    secret = {"name": name, "password": "known to the router", "service": "pppoe"}
    await network.tell(f"/routers/{router}/items", {"path": "/ppp/secret", "values": secret})
    await network.tell(f"/subscribers/{name}/hangup")
    expect((await network.dial(name))["local"] is True, "the router lets the device in by itself")
    expect(
        await watch(isp, await suspend(isp, customer)) == "FAILED", "the job does not claim to have suspended anybody"
    )
    await network.dial(name)
    await claims(isp, network, name, "FAILED")
    found = (await isp.find(name))["service"]
    expect([one["observed"] for one in found["network"]["drift"]] == [name], "and names the user who is in the way")
    done = (await isp.ask(RECONCILE, id=found["router"]["id"]))["routerReconcile"]
    expect(await watch(isp, done["jobs"][0]["id"]) == "SUCCEEDED", "the router is reconciled")
    job = (await isp.ask(JOBS, id=customer))["node"]["jobs"]["nodes"][0]["id"]
    expect(await watch(isp, job) == "SUCCEEDED", "and the customer is really off")
    await claims(isp, network, name, "APPLIED")


async def tour(up: dict[str, Any]) -> None:
    """All of it, each with a customer of its own."""
    isp, network = Office(up), Lab(up["lab"]["control"])
    await isp.sign_in()
    used: set[str] = set()
    for scenario in (plainly, out_of_reach, agreed_only, answer_lost, shadowed):
        device, customer = await chosen(isp, network, used)
        print(f"\n{scenario.__doc__}\n  {customer['name']}, {device['name']} on {device['router']}")
        await scenario(isp, network, device, customer["id"])


async def chosen(isp: Office, network: Lab, used: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A device not used before, of an active customer with a router, and the customer: waits until one is on line."""
    for _ in range(60):
        for device in await network.on_line():
            if device["name"] in used or device["address_lists"]:
                continue
            customer = await isp.find(device["username"])
            if not customer or not customer["service"]:
                continue
            service = customer["service"]
            settled = (customer["status"], service["network"]["state"]) == ("ACTIVE", "APPLIED")
            if settled and service["router"]:
                used.add(device["name"])
                return device, customer
        await asyncio.sleep(1)
    raise SystemExit("nobody came on line in a minute")


if __name__ == "__main__":
    sys.exit(run(tour, __doc__))
