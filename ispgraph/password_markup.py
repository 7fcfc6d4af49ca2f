"""The pages on which people set a password as HTML: in the style of the payment page, without a script."""

from collections.abc import Mapping, Sequence
from html import escape

from ispgraph.domain import passwords
from ispgraph.page_markup import Page, page


def password_page(code: str | None, problems: Sequence[str] = ()) -> Page:
    """A form for a new password. Without a `code` it asks for that as well."""
    asked = (
        f'<input type="hidden" name="code" value="{escape(code)}">'
        if code is not None
        else f'<label for="code">{_SAY["code"]}</label><input id="code" name="code" autocomplete="one-time-code" '
        'autocapitalize="off" spellcheck="false" maxlength="200" required>'
    )
    return _whole(_SAY["set"], f"<p>{_SAY['set_more']}</p>{_form(asked, problems)}")


def invitation_page(title: str, lines: Sequence[str], problems: Sequence[str] = ()) -> Page:
    """Whom an invitation is for, and a form that accepts it by a password."""
    told = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return _whole(title, f"{told}<p>{_SAY['accept_more']}</p>{_form('', problems)}")


def done_page(title: str) -> Page:
    """The password is set."""
    return _whole(title, f"<p>{_SAY['done_more']}</p>")


def gone_page() -> Page:
    """There is no such invitation: the same for whatever is wrong."""
    return _whole(_SAY["gone"], f"<p>{_SAY['gone_more']}</p>")


def busy_page() -> Page:
    """Too much was tried from there."""
    return _whole(_SAY["busy"], f"<p>{_SAY['busy_more']}</p>")


def _form(first: str, problems: Sequence[str]) -> str:
    alert = "".join(f'<p role="alert">{escape(each)}</p>' for each in problems)
    fields = "".join(
        f'<label for="{name}">{_SAY[name]}</label><input id="{name}" name="{name}" type="password" '
        f'autocomplete="new-password" minlength="{passwords.MINIMUM}" maxlength="{passwords.MAXIMUM}" required>'
        for name in ("password", "again")
    )
    return (
        f'{alert}<form method="post" action="">{first}{fields}'
        f"<p><small>{_SAY['hint']}</small></p><button>{_SAY['set']}</button></form>"
    )


def _whole(title: str, body: str) -> Page:
    return page(_SAY, title, None, f'<section class="card"><h1>{escape(title)}</h1>{body}</section>')


DIFFERENT = "The two passwords are not the same."
WRONG_CODE = "This code is wrong, was used, or is over. Ask for another one."
_SAY: Mapping[str, str] = {
    "lang": "en",
    "set": "Set your password",
    "set_more": "With it you sign in to your account. It is not the password of your internet connection.",
    "accept_more": "Accept by choosing a password, with which you will sign in.",
    "code": "The code that was sent to you",
    "password": "New password",
    "again": "The same once more",
    "hint": f"At least {passwords.MINIMUM} characters.",
    "done_more": "You can sign in with it now. Wherever you were signed in before, you are not any more.",
    "gone": "There is no such invitation",
    "gone_more": "It was accepted, is over, or another one was sent. Ask whoever sent it for another one.",
    "busy": "Please wait a little",
    "busy_more": "Too much was tried from here. Please try again in ten minutes.",
}
