"""The page of a hotspot: visitors redeem vouchers there and sign in, without a script. Public and throttled."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ispgraph.api.body import up_to
from ispgraph.db import Database
from ispgraph.domain import captive, hotspot_login, page_colors, throttle, values
from ispgraph.domain.billing import papers
from ispgraph.domain.captive import Admitted, Portal, Try
from ispgraph.domain.errors import DomainError
from ispgraph.domain.hotspot import Login
from ispgraph.domain.sign_in import SLUG
from ispgraph.settings import Settings

_PAGE = Template(Path(__file__).with_name("captive.html").read_text(encoding="utf-8"))
_LONGEST = 8_192
# What the router says, which goes from page to page.
_TOLD = ("mac", "ip", "link-login-only", "link-orig", "chap-id", "chap-challenge")
_TYPED = ("code", "mobile", "username", "password", "device", "act")
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_BUSY = "Vouchers cannot be redeemed at this moment. Please try again in a minute."


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is wrong, where on the page, and how that is told to programs."""

    message: str
    field: str
    status: int = 400
    retry_after: int | None = None


def routes(database: Database, redis: Redis, settings: Settings) -> list[Route]:
    """The route below /hotspot."""

    async def page(request: Request) -> Response:
        slug = request.path_params["slug"]
        found = await captive.portal(database, slug) if SLUG.fullmatch(slug) else None
        if found is None:
            return _answer("Not found", "<h1>There is no hotspot here.</h1>", 404)
        given = await _given(request)
        if given is None:
            return _answer(found.tenant.name, "<h1>This was too much.</h1>", 413, found)
        if request.method != "POST" or "act" not in given:
            return _entrance(found, given)
        if given["act"] == "sign-in":
            return _sign_in(found, given)
        return await redeem(found, given, request.client.host if request.client else None)

    async def redeem(found: Portal, given: Mapping[str, str], address: str | None) -> Response:
        wanted = Try(
            code=given.get("code", ""),
            mobile=given.get("mobile", ""),
            username=given.get("username", "").strip(),
            password=given.get("password", ""),
            mac=_device(given) if "device" in given else None,
        )
        try:
            admitted = await captive.redeem(database, redis, settings.network_key, found.tenant, wanted, address)
        except DomainError as error:
            fault = error.faults[0]
            return _entrance(found, given, _Problem(fault.message, (fault.field or ("code",))[0]))
        except throttle.Throttled as error:
            message = f"Too many tries. Please wait {error.retry_after} seconds."
            return _entrance(found, given, _Problem(message, "code", 429, error.retry_after))
        except RedisError:
            return _entrance(found, given, _Problem(_BUSY, "code", 503, 60))
        return _admitted(found, given, admitted)

    return [Route("/hotspot/{slug}", page, methods=["GET", "POST"])]


async def _given(request: Request) -> Mapping[str, str] | None:
    """What came along, the address of the page first; None for more than a form of ours can hold."""
    body = await up_to(request, _LONGEST)
    if body is None:
        return None
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=40) + parse_qsl(
            body.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=40
        )
    except ValueError:
        return None
    return {name: value for name, value in pairs if name in _TOLD or name in _TYPED}


def _device(given: Mapping[str, str]) -> str | None:
    try:
        return values.mac(given.get("mac", ""))
    except values.Unfit:
        return None


# -- pages


def _entrance(found: Portal, given: Mapping[str, str], problem: _Problem | None = None) -> Response:
    """Where a code is typed."""
    told = f'<p role="alert" id="problem" class="problem">{escape(problem.message)}</p>' if problem else ""
    wrong = problem.field if problem else ""
    device = ""
    if _device(given) is not None:
        checked = " checked" if "device" in given else ""
        device = (
            f'<p class="choice"><input type="checkbox" id="device" name="device" value="1"{checked}>'
            '<label for="device">Let this device, and no other, on line without a password from now on</label></p>'
        )
    body = (
        f"<h1>{escape(found.tenant.name)}</h1>{told}"
        f'<form method="post"><h2>Redeem a voucher</h2>{_carried(given)}'
        + _input("code", "Code of the voucher", given.get("code", ""), wrong, 'autocapitalize="characters" required')
        + _input(
            "mobile", "Your mobile number", given.get("mobile", ""), wrong, 'type="tel" autocomplete="tel"',
            "For a new account. Leave it empty when you have one.",
        )
        + f"<details{' open' if given.get('username') else ''}><summary>I have an account already</summary>"
        + _input("username", "Username", given.get("username", ""), wrong, 'autocomplete="username"')
        + _input("password", "Password", "", wrong, 'type="password" autocomplete="current-password"')
        + "</details>"
        + device
        + '<button name="act" value="redeem">Redeem</button></form>'
        + _sign_in_form(given)
    )  # fmt: skip
    title = f"{'Error: ' if problem else ''}{found.tenant.name}"
    answer = _answer(title, body, problem.status if problem else 200, found, own_forms=True)
    if problem is not None and problem.retry_after is not None:
        answer.headers["Retry-After"] = str(problem.retry_after)
    return answer


def _sign_in_form(given: Mapping[str, str]) -> str:
    if not given.get("link-login-only"):
        return ""
    return (
        f'<form method="post"><h2>Sign in</h2>{_carried(given)}'
        '<p><label for="name">Username</label><input id="name" name="username" autocomplete="username" '
        'autocapitalize="none" required></p>'
        '<p><label for="pass">Password</label><input id="pass" name="password" type="password" '
        'autocomplete="current-password" required></p>'
        '<button name="act" value="sign-in">Sign in</button></form>'
    )


def _sign_in(found: Portal, given: Mapping[str, str]) -> Response:
    """The button that signs in with what was typed; whether that is right the router says."""
    login = Login(given.get("username", "").strip(), given.get("password", ""))
    body = f"<h1>{escape(found.tenant.name)}</h1>{_button(found, given, login)}"
    return _answer(found.tenant.name, body, 200, found)


def _admitted(found: Portal, given: Mapping[str, str], admitted: Admitted) -> Response:
    until = papers.writing(found.tenant).moment(admitted.until.astimezone(ZoneInfo(found.tenant.time_zone)))
    facts = [("Package", admitted.package), ("Until", until), ("Username", admitted.login.username)]
    if admitted.fresh:
        facts.append(("Password", admitted.login.password))
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(told)}</dd>" for name, told in facts)
    keep = "<p>Keep the username and the password: you need them to sign in again.</p>" if admitted.fresh else ""
    device = {
        True: "<p>This device gets on line without a password from now on, and no other does.</p>",
        False: "<p>This device could not be taken note of: sign in with the username and the password.</p>",
        None: "",
    }[admitted.device]
    body = (
        f'<h1>{escape(found.tenant.name)}</h1><p role="status">Your voucher was redeemed.</p><dl>{rows}</dl>{keep}'
        f"{device}{_button(found, given, admitted.login)}"
    )
    return _answer(f"Redeemed: {found.tenant.name}", body, 200, found)


def _button(found: Portal, given: Mapping[str, str], login: Login) -> str:
    link = given.get("link-login-only", "")
    if not hotspot_login.is_login(link, found.hosts):
        return "<p>To get on line, open any page while you are connected to the hotspot, and sign in there.</p>"
    form = hotspot_login.form(
        login.username,
        login.password,
        link_login=link,
        link_orig=given.get("link-orig", ""),
        chap_id=given.get("chap-id", ""),
        chap_challenge=given.get("chap-challenge", ""),
    )
    hidden = "".join(_hidden(name, value) for name, value in form.fields)
    return f'<form method="post" action="{escape(form.action)}">{hidden}<button>Go on line</button></form>'


def _carried(given: Mapping[str, str]) -> str:
    return "".join(_hidden(name, given[name]) for name in _TOLD if name in given)


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'


def _input(name: str, label: str, value: str, wrong: str, more: str, hint: str = "") -> str:
    described = [f"{name}-hint"] if hint else []
    described += ["problem"] if wrong == name else []
    about = f' aria-describedby="{" ".join(described)}"' if described else ""
    about += ' aria-invalid="true"' if wrong == name else ""
    told = f'<small id="{name}-hint">{escape(hint)}</small>' if hint else ""
    return (
        f'<p><label for="{name}">{escape(label)}</label>{told}'
        f'<input id="{name}" name="{name}" value="{escape(value)}" maxlength="100" {more}{about}></p>'
    )


def _answer(
    title: str, body: str, status: int, found: Portal | None = None, *, own_forms: bool = False
) -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    # The page with the button has no such rule: browsers hold it against where the router sends on to.
    forms = "form-action 'self'; " if own_forms else ""
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; {forms}base-uri 'none'; frame-ancestors 'none'"
    colors = "" if found is None or found.tenant.page_color is None else _colored(found.tenant.page_color)
    page = _PAGE.substitute(title=escape(title), body=body, nonce=nonce, colors=colors)
    return HTMLResponse(page, status, headers={**_HEADERS, "Content-Security-Policy": policy})


def _colored(color: str) -> str:
    """What stands after the style of a page in a colour."""
    shades = page_colors.palette(color)
    light, dark = (
        f":root {{ --accent: {each.fill}; --on-accent: {each.on_fill}; --mark: {each.link}; }}"
        for each in (shades.light, shades.dark)
    )
    # A button can be told from the page also where its colour is nearly that of the page.
    border = "button { border: 1px solid var(--mark); }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{border}\n"
