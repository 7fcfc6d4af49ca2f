"""The pages of a payment link as HTML: one column, no script, nothing from elsewhere. Every text goes through `escape`,
and every text is in one of the tables at the end."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ispgraph.domain import page_colors
from ispgraph.domain.models import GatewayPaymentState
from ispgraph.domain.payment_page import Bill, Choice, House, Progress

_STYLE = """
:root{color-scheme:light dark;--ink:#16202c;--soft:#4b5a6b;--line:#c9d1da;--paper:#fff;--wash:#f2f5f8;--act:#0b5cad;
--on:#fff;--link:#0b5cad}
@media(prefers-color-scheme:dark){:root{--ink:#f1f4f7;--soft:#b4c0cc;--line:#44505d;--paper:#161b22;--wash:#0d1117;
--act:#79b8ff;--on:#161b22;--link:#79b8ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--wash);color:var(--ink);font:1.0625rem/1.5 system-ui,sans-serif}
main{max-width:32rem;margin:0 auto;padding:1.25rem 1rem 3rem}
header img{max-width:12rem;max-height:4rem}
header p{margin:.25rem 0 1rem;font-weight:600}
.card{background:var(--paper);border:1px solid var(--line);border-radius:.75rem;padding:1rem;margin:0 0 1rem}
h1{font-size:1.25rem;margin:0 0 .5rem}h2{font-size:1.0625rem;margin:0 0 .5rem}
p{margin:.25rem 0 .75rem;overflow-wrap:anywhere}
.due{font-size:2rem;font-weight:700;margin:.25rem 0;line-height:1.2}
dl{display:grid;grid-template-columns:1fr auto;gap:.35rem 1rem;margin:.75rem 0 0}
dt{color:var(--soft);overflow-wrap:anywhere}dd{margin:0;text-align:end;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
form{margin:0 0 .75rem}
label{display:block;margin:0 0 .25rem}
input,textarea{width:100%;font:inherit;color:inherit;background:var(--paper);border:1px solid var(--soft);
border-radius:.5rem;padding:.65rem;margin:0 0 .75rem}
button,.button{display:block;width:100%;min-height:3rem;font:inherit;font-weight:600;text-align:center;
text-decoration:none;background:var(--act);color:var(--on);border:0;border-radius:.5rem;padding:.7rem;cursor:pointer}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
small,footer{color:var(--soft);font-size:.9375rem}
[role=alert]{border-inline-start:.3rem solid #b3261e;padding-inline-start:.75rem}
"""

_S = GatewayPaymentState


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and by what a browser knows its style: the only one that it may have."""

    html: str
    style_hash: str


def pay_page(bill: Bill, choices: Sequence[Choice], form: str, problem: str | None = None) -> Page:
    """What is owed, and how it can be paid. `form` proves that the form is ours."""
    say = words(bill.house.locale)
    ways = "".join(_choice(say, choice, form) for choice in choices) or f"<p>{escape(say['no_way'])}</p>"
    by = f"<p>{escape(say['due_on'].format(day=bill.due_on))}</p>" if bill.due_on else ""
    alert = f'<p role="alert">{escape(say[problem])}</p>' if problem else ""
    return page(
        say,
        f"{say['pay']} {bill.due}",
        bill.house,
        f'<section class="card"><h1>{escape(bill.title)}</h1><p class="due">{escape(bill.due)}</p>{by}'
        f"<p>{escape(bill.who)}</p>{_pairs(bill.lines)}</section>"
        f'<section class="card"><h2>{escape(say["how"])}</h2>{alert}{ways}</section>'
        f"<footer><p>{escape(say['until'].format(day=bill.until))}</p></footer>",
    )


def nothing_page(bill: Bill) -> Page:
    """Nothing is to be paid."""
    say = words(bill.house.locale)
    body = f'<section class="card"><h1>{escape(say["nothing"])}</h1><p>{escape(bill.who)}</p></section>'
    return page(say, say["nothing"], bill.house, body)


def progress_page(
    progress: Progress, form: str, *, refresh: int | None, back: str, receipt: str | None, problem: str | None = None
) -> Page:
    """How an attempt stands. The page asks for itself again after `refresh` seconds; `back` is where one can pay."""
    say = words(progress.house.locale)
    if progress.state is _S.PAID:
        body, title = _paid(say, progress, receipt), say["paid"]
    elif progress.account and progress.state is _S.PENDING:
        body, title = _transfer(say, progress, form, problem), say["transfer"]
    elif progress.state in (_S.STARTED, _S.PENDING, _S.IN_DOUBT):
        told = progress.instructions or say["wait_more"]
        body = (
            f'<section class="card" aria-live="polite"><h1>{escape(say["wait"])}</h1>'
            f"<p>{escape(told)}</p>{_pairs(_facts(say, progress))}</section>"
            f'<p><a href="">{escape(say["again"])}</a></p>'
            f'<p><a href="{escape(back)}">{escape(say["try_again"])}</a></p>'
        )
        title = say["wait"]
    else:
        title = say["not_paid"]
        body = (
            f'<section class="card"><h1>{escape(say["not_paid"])}</h1><p>{escape(say[progress.state.value])}</p>'
            f"{_pairs(_facts(say, progress))}</section>"
            f'<a class="button" href="{escape(back)}">{escape(say["try_again"])}</a>'
        )
    return page(say, title, progress.house, body, refresh)


def gone_page() -> Page:
    """There is no such page: the same for whatever is wrong."""
    say = words("en")
    body = f'<section class="card"><h1>{escape(say["gone"])}</h1><p>{escape(say["gone_more"])}</p></section>'
    return page(say, say["gone"], None, body)


def words(locale: str) -> Mapping[str, str]:
    """The texts in the language of a locale, or in English."""
    return _TEXTS.get(locale.replace("_", "-").partition("-")[0].lower(), _TEXTS["en"])


def _choice(say: Mapping[str, str], choice: Choice, form: str) -> str:
    phone = ""
    if choice.by_phone:
        name = f"mobile-{choice.id.hex}"
        phone = (
            f'<label for="{name}">{escape(say["mobile"])}</label><input id="{name}" name="mobile" type="tel" '
            f'autocomplete="tel" inputmode="tel" maxlength="30" aria-describedby="{name}-hint">'
            f'<p><small id="{name}-hint">{escape(say["mobile_hint"])}</small></p>'
        )
    return (
        f'<form method="post" action=""><input type="hidden" name="form" value="{escape(form)}">'
        f'<input type="hidden" name="gateway" value="{choice.id.hex}">{phone}'
        f"<button>{escape(say['pay_with'].format(gateway=choice.name))}</button></form>"
    )


def _paid(say: Mapping[str, str], progress: Progress, receipt: str | None) -> str:
    link = f'<a class="button" href="{escape(receipt)}">{escape(say["receipt"])}</a>' if receipt else ""
    facts = [(say["number"], progress.number or ""), (say["with"], progress.gateway)]
    facts.append((say["reference"], progress.reference))
    return (
        f'<section class="card"><h1>{escape(say["paid"])}</h1><p class="due">{escape(progress.received or "")}</p>'
        f"<p>{escape(say['thanks'])}</p>{_pairs(facts)}</section>{link}"
    )


def _transfer(say: Mapping[str, str], progress: Progress, form: str, problem: str | None) -> str:
    alert = f'<p role="alert">{escape(say[problem])}</p>' if problem else ""
    told = f"<p>{escape(say['noted'].format(note=progress.said))}</p>" if progress.said else ""
    return (
        f'<section class="card"><h1>{escape(say["transfer"])}</h1><p class="due">{escape(progress.amount)}</p>'
        f"<p>{escape(say['transfer_more'])}</p>"
        f"{_pairs([(say['reference'], progress.reference), *progress.account])}</section>"
        f'<section class="card">{alert}{told}<form method="post" action="">'
        f'<input type="hidden" name="form" value="{escape(form)}">'
        f'<label for="note">{escape(say["note"])}</label>'
        f'<textarea id="note" name="note" rows="2" maxlength="200" required></textarea>'
        f"<button>{escape(say['have_paid'])}</button></form></section>"
    )


def _facts(say: Mapping[str, str], progress: Progress) -> list[tuple[str, str]]:
    return [
        (say["amount"], progress.amount),
        (say["with"], progress.gateway),
        (say["reference"], progress.reference),
    ]


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in pairs)
    return f"<dl>{rows}</dl>" if rows else ""


def page(say: Mapping[str, str], title: str, house: House | None, body: str, refresh: int | None = None) -> Page:
    """A whole page; `title` is escaped here, `body` is HTML. `say` has the language."""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    top = foot = ""
    if house is not None:
        picture = ""
        if house.logo is not None:
            kind, data = house.logo
            picture = f'<img alt="" src="data:{escape(kind)};base64,{base64.b64encode(data).decode()}">'
        top = f"<header>{picture}<p>{escape(house.name)}</p></header>"
        foot = f"<footer>{'<br>'.join(escape(line) for line in house.lines)}</footer>"
    style = _STYLE if house is None or house.color is None else _STYLE + _colored(house.color)
    return Page(
        f'<!doctype html><html lang="{say["lang"]}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="robots" content="noindex">{again}<title>{escape(title)}</title><style>{style}</style></head>'
        f"<body><main>{top}{body}{foot}</main></body></html>",
        base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def _colored(color: str) -> str:
    """What stands after the style of a page in a colour."""
    shades = page_colors.palette(color)
    light, dark = (
        f":root{{--act:{each.fill};--on:{each.on_fill};--link:{each.link}}}" for each in (shades.light, shades.dark)
    )
    # A button can be told from the page also where its colour is nearly that of the page.
    return f"{light}@media(prefers-color-scheme:dark){{{dark}}}button,.button{{border:1px solid var(--link)}}\n"


_ENGLISH = {
    "lang": "en",
    "pay": "Pay",
    "how": "How would you like to pay?",
    "no_way": "There is no way to pay here at the moment. Please call us.",
    "due_on": "Due on {day}",
    "until": "This page is there until {day}.",
    "pay_with": "Pay with {gateway}",
    "mobile": "Mobile number that pays",
    "mobile_hint": "Left empty: the number that we know.",
    "bad_mobile": "This is not a mobile number.",
    "old_form": "This page was open for too long. Please choose again.",
    "too_often": "That was tried several times in a row. Please wait ten minutes.",
    "failed": "The payment could not be started. Nothing was charged; please try again, or another way.",
    "nothing": "Nothing is to be paid",
    "paid": "Paid. Thank you!",
    "thanks": "Your payment has arrived.",
    "receipt": "Receipt (PDF)",
    "number": "Receipt number",
    "with": "With",
    "reference": "Reference",
    "amount": "Amount",
    "wait": "Waiting for your payment",
    "wait_more": "We are asking whether it has arrived. This page looks again by itself; you may also close it.",
    "again": "Look again",
    "not_paid": "Not paid",
    "FAILED": "The payment did not succeed. Nothing was taken by us.",
    "CANCELLED": "The payment was cancelled.",
    "EXPIRED": "The time for this payment is over. Should money have left your account, it will still be credited.",
    "try_again": "Pay another way",
    "transfer": "Bank transfer",
    "transfer_more": "Please transfer this amount, and write the reference with it.",
    "note": "When and from which account did you pay?",
    "have_paid": "I have paid",
    "bad_note": "Please tell us in a few words.",
    "noted": "You told us: {note}. We will look, and confirm it.",
    "gone": "This page is not there",
    "gone_more": "The address is wrong, or its time is over. Please ask for a new one.",
}
_TEXTS: Mapping[str, Mapping[str, str]] = {"en": _ENGLISH}
