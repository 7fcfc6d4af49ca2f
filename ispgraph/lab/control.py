"""The control API of the lab: JSON over HTTP on loopback.

``name`` in a path is percent-encoded and may hold any character. Errors are ``{"error": text}`` with status 400, 404 or
409. All objects are read strictly: an unknown field is an error.

=======================================  ==============================================================================
``GET /``                                figures of the whole lab
``POST /clock``                          ``{"speed": 60}``: lab seconds per real second; ``{"advance": 3600}`` jumps
``GET /routers``                         all routers
``POST /routers``                        start a router, or replace the settings of a running one: ``name``, ``address``
                                         (127.x.y.z), ``version``, ``board``, ``serial``, ``api_port`` and ``coa_port``
                                         (0: free), ``tls_port`` (null: none), ``users`` [{name, password, group}],
                                         ``radius`` {server, auth_port, acct_port, secret, timeout, tries,
                                         require_message_auth, accept_coa}, ``nas_identifier``, ``pools``
                                         [{name, ranges, next-pool}], ``profiles`` and ``hotspot_profiles`` [{name, …}
                                         with RouterOS' properties], ``pppoe`` {properties of the PPPoE server},
                                         ``interim_seconds``, ``clock_offset``, ``walls`` [address lists that block]
``GET /routers/{name}``                  ports, TLS fingerprint, counters
``DELETE /routers/{name}``               stop it; its subscribers go too
``POST /routers/{name}/faults``          ``{…}`` faults of the API connection by name (faults.Faults), and
                                         ``coa`` {silent, nak, no_effect, late_seconds, require_signature},
                                         ``accounting`` [{effect, of, share, next, seconds}] (accounting.Weather),
                                         ``radius_secret_mismatch``, ``down_seconds`` (cut off so long),
                                         ``clock_offset``
``DELETE /routers/{name}/faults``        everything works again
``POST /routers/{name}/reboot``          ``{"clean": false}``: a power cut; true: sessions end with a Stop first
``GET /routers/{name}/items?path=``      the items of a menu with all their properties
``POST /routers/{name}/items``           ``{"path", "values"}``: add an item as an installer would at the console
``DELETE /routers/{name}/items``         ``?path=&id=``: remove one
``GET /subscribers?online=&router=``     all subscribers, or those that are (not) online, or one router's
``POST /subscribers``                    one or a list: ``name``, ``username`` (default: name), ``password``,
                                         ``router``, ``mac``, ``service`` pppoe|hotspot|static,
                                         ``protocol`` pap|chap|mschap2,
                                         ``load_up_bps``, ``load_down_bps``, ``address`` (static, hotspot),
                                         ``redial_seconds`` (null: never), ``patient`` (false: never slows down),
                                         ``online`` (dial at once)
``GET`` or ``DELETE /subscribers/{name}``
``POST /subscribers/{name}/dial``        switch on; the answer does not wait for the session
``POST /subscribers/{name}/hangup``      switch off
``POST /subscribers/{name}/redial``      ``{"seconds": 5}`` or null
``POST /subscribers/{name}/load``        ``{"up_bps", "down_bps"}``
``POST /subscribers/{name}/password``    ``{"password"}`` for the next dial
=======================================  ==============================================================================
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ispgraph.lab import views
from ispgraph.lab.accounting import EFFECTS, STATUSES, Weather
from ispgraph.lab.incoming import CoaFaults
from ispgraph.lab.kinds import Refused
from ispgraph.lab.network import Lab, Unknown
from ispgraph.lab.orders import BadOrder, Order, RouterOrder, SubscriberOrder

Handler = Callable[[Lab, list[str], Request], Awaitable[Any]]


def create_control(lab: Lab) -> Starlette:
    """The application that rules this lab."""

    async def endpoint(request: Request) -> Response:
        # The path is split before it is decoded: a name may contain a slash.
        raw = request.scope.get("raw_path") or request.url.path.encode()
        parts = [unquote(part) for part in raw.decode("ascii").split("?")[0].strip("/").split("/") if part]
        shape = (request.method, parts[0] if parts else "", len(parts), parts[2] if len(parts) == 3 else "")
        handler = _HANDLERS.get(shape)
        if handler is None:
            return JSONResponse({"error": "there is nothing here"}, 404)
        try:
            return JSONResponse(await handler(lab, parts[1:2], request))
        except Unknown as error:
            return JSONResponse({"error": str(error)}, 404)
        except OSError as error:
            return JSONResponse({"error": f"cannot listen: {os.strerror(error.errno or 0)}"}, 409)
        except Refused as error:
            return JSONResponse({"error": error.message}, 400)
        except (BadOrder, ValueError, KeyError) as error:
            return JSONResponse({"error": str(error.args[0] if error.args else error)}, 400)

    methods = ["GET", "POST", "DELETE"]
    return Starlette(routes=[Route("/{rest:path}", endpoint, methods=methods)])


async def _body(request: Request) -> Any:
    if not await request.body():
        return {}
    try:
        return await request.json()
    except ValueError as error:
        raise BadOrder("the body is no JSON") from error


async def _summary(lab: Lab, _: list[str], __: Request) -> Any:
    return views.summary(lab)


async def _clock(lab: Lab, _: list[str], request: Request) -> Any:
    order = Order(await _body(request))
    speed, advance = order.take("speed", float, None), order.take("advance", float, None)
    order.end()
    if speed is not None:
        lab.clock.set_speed(speed)
    if advance is not None:
        lab.clock.advance(advance)
    return views.summary(lab)


async def _routers(lab: Lab, _: list[str], __: Request) -> Any:
    return [views.router(nas) for nas in lab.routers.values()]


async def _add_router(lab: Lab, _: list[str], request: Request) -> Any:
    return views.router(await lab.add_router(RouterOrder.read(await _body(request))))


async def _router(lab: Lab, names: list[str], _: Request) -> Any:
    return views.router(lab.router(names[0]))


async def _remove_router(lab: Lab, names: list[str], _: Request) -> Any:
    await lab.remove_router(names[0])
    return {}


async def _set_faults(lab: Lab, names: list[str], request: Request) -> Any:
    nas = lab.router(names[0])
    body = await _body(request)
    order = Order(body)
    coa, weather = order.take("coa", dict, None), order.take("accounting", list, None)
    mistyped = order.take("radius_secret_mismatch", bool, None)
    down, offset = order.take("down_seconds", float, None), order.take("clock_offset", float, None)
    named = {"coa", "accounting", "radius_secret_mismatch", "down_seconds", "clock_offset"}
    coa_faults = None if coa is None else _coa_faults(coa)
    new_weather = None if weather is None else [read_weather(one) for one in weather]
    nas.router.faults.set(**{name: value for name, value in body.items() if name not in named})
    if coa_faults is not None:
        nas.incoming.faults = coa_faults
    if new_weather is not None:
        nas.accounting.weather = new_weather
    if mistyped is not None:
        nas.client.mistyped_secret = mistyped
    if offset is not None:
        nas.router.clock_offset = offset
    if down:
        nas.router.go_down(down)
    return views.router(nas)


def _coa_faults(body: dict[str, Any]) -> CoaFaults:
    order = Order(body, "coa")
    found = CoaFaults(
        silent=order.take("silent", bool, False),
        nak=order.take("nak", int, None),
        no_effect=order.take("no_effect", bool, False),
        late_seconds=order.take("late_seconds", float, 0.0),
        require_signature=order.take("require_signature", bool, False),
    )
    order.end()
    return found


def read_weather(body: object) -> Weather:
    """One thing that happens to accounting packets. Raises BadOrder."""
    order = Order(body, "accounting")
    of = order.take("of", list, list(STATUSES))
    effect = order.take("effect", str)
    found = Weather(
        effect=effect,
        of=frozenset(of),
        share=order.take("share", float, 0.0),
        next=order.take("next", int, 0),
        seconds=order.take("seconds", float, 5.0),
    )
    order.end()
    if effect not in EFFECTS:
        raise BadOrder(f"effect must be one of {', '.join(EFFECTS)}")
    if not found.of <= set(STATUSES) or found.share > 1:
        raise BadOrder("of must name Start, Interim or Stop, and share be at most 1")
    return found


async def _clear_faults(lab: Lab, names: list[str], _: Request) -> Any:
    nas = lab.router(names[0])
    nas.router.faults.clear()
    nas.incoming.faults = CoaFaults()
    nas.accounting.weather = []
    nas.client.mistyped_secret = False
    nas.router.clock_offset = 0.0
    return views.router(nas)


async def _reboot(lab: Lab, names: list[str], request: Request) -> Any:
    nas = lab.router(names[0])
    order = Order(await _body(request))
    clean = order.take("clean", bool, False)
    order.end()
    nas.reboot(clean=clean)
    return views.router(nas)


async def _items(lab: Lab, names: list[str], request: Request) -> Any:
    table = lab.router(names[0]).router.table(request.query_params.get("path", ""))
    columns = [*table.menu.properties, "dynamic"]
    return [
        {".id": item.id, **{name: value for name in columns if (value := table.get(item, name)) is not None}}
        for item in table
    ]


async def _add_item(lab: Lab, names: list[str], request: Request) -> Any:
    nas = lab.router(names[0])
    order = Order(await _body(request))
    path, values = order.take("path", str), order.take("values", dict)
    order.end()
    if nas.router.table(path).menu.single:
        raise BadOrder(f"{path} holds one item only")
    return {".id": nas.router.create(path, values).id}


async def _remove_item(lab: Lab, names: list[str], request: Request) -> Any:
    table = lab.router(names[0]).router.table(request.query_params.get("path", ""))
    item = table.by_id(request.query_params.get("id", ""))
    if item is None:
        raise Unknown("no such item")
    table.remove(item)
    return {}


async def _subscribers(lab: Lab, _: list[str], request: Request) -> Any:
    online, router = request.query_params.get("online"), request.query_params.get("router")
    return [
        views.subscriber(one)
        for one in lab.subscribers.values()
        if online in (None, "true" if one.state == "online" else "false") and router in (None, one.nas.router.name)
    ]


async def _add_subscribers(lab: Lab, _: list[str], request: Request) -> Any:
    body = await _body(request)
    orders = [SubscriberOrder.read(one) for one in (body if isinstance(body, list) else [body])]
    for order in orders:
        lab.router(order.router)
    made = [views.subscriber(lab.add_subscriber(order)) for order in orders]
    return made if isinstance(body, list) else made[0]


async def _subscriber(lab: Lab, names: list[str], _: Request) -> Any:
    return views.subscriber(lab.subscriber(names[0]))


async def _remove_subscriber(lab: Lab, names: list[str], _: Request) -> Any:
    lab.remove_subscriber(names[0])
    return {}


async def _dial(lab: Lab, names: list[str], _: Request) -> Any:
    one = lab.subscriber(names[0])
    one.switch_on()
    return views.subscriber(one)


async def _hang_up(lab: Lab, names: list[str], _: Request) -> Any:
    one = lab.subscriber(names[0])
    one.hang_up()
    return views.subscriber(one)


async def _redial(lab: Lab, names: list[str], request: Request) -> Any:
    one = lab.subscriber(names[0])
    order = Order(await _body(request))
    one.redial_seconds = order.take("seconds", float, None)
    order.end()
    return views.subscriber(one)


async def _load(lab: Lab, names: list[str], request: Request) -> Any:
    one = lab.subscriber(names[0])
    order = Order(await _body(request))
    up, down = order.take("up_bps", int), order.take("down_bps", int)
    order.end()
    one.set_load(up, down)
    return views.subscriber(one)


async def _password(lab: Lab, names: list[str], request: Request) -> Any:
    one = lab.subscriber(names[0])
    order = Order(await _body(request))
    password = order.take("password", str)
    order.end()
    one.caller.password = password
    return views.subscriber(one)


# Method, first part, number of parts, third part.
_HANDLERS: dict[tuple[str, str, int, str], Handler] = {
    ("GET", "", 0, ""): _summary,
    ("POST", "clock", 1, ""): _clock,
    ("GET", "routers", 1, ""): _routers,
    ("POST", "routers", 1, ""): _add_router,
    ("GET", "routers", 2, ""): _router,
    ("DELETE", "routers", 2, ""): _remove_router,
    ("POST", "routers", 3, "faults"): _set_faults,
    ("DELETE", "routers", 3, "faults"): _clear_faults,
    ("POST", "routers", 3, "reboot"): _reboot,
    ("GET", "routers", 3, "items"): _items,
    ("POST", "routers", 3, "items"): _add_item,
    ("DELETE", "routers", 3, "items"): _remove_item,
    ("GET", "subscribers", 1, ""): _subscribers,
    ("POST", "subscribers", 1, ""): _add_subscribers,
    ("GET", "subscribers", 2, ""): _subscriber,
    ("DELETE", "subscribers", 2, ""): _remove_subscriber,
    ("POST", "subscribers", 3, "dial"): _dial,
    ("POST", "subscribers", 3, "hangup"): _hang_up,
    ("POST", "subscribers", 3, "redial"): _redial,
    ("POST", "subscribers", 3, "load"): _load,
    ("POST", "subscribers", 3, "password"): _password,
}
