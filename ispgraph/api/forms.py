"""Forms that pages without a script send off, and from where."""

from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from ispgraph.api.body import up_to

_BODY_BYTES = 16 * 1024


def address_of(request: Request) -> str | None:
    """From where a request comes."""
    return request.client.host if request.client else None


async def form_of(request: Request) -> dict[str, str] | None:
    """What was sent off; None when it is too long, or no form."""
    try:
        body = await up_to(request, _BODY_BYTES)
        return None if body is None else dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
    except (ClientDisconnect, ValueError):
        return None
