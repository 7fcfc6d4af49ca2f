"""A server that speaks S3's protocol as far as files are kept, and checks the signature of each request (version 4).

From what Amazon publishes; it shares no code with the adapter. Files are in its memory. Old signatures are let in: the
clock of a test may be anywhere.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?"
    r"Signature=([0-9a-f]{64})"
)
_MUST_SIGN = {"host", "x-amz-date", "x-amz-content-sha256"}


@dataclass
class StorageDouble:
    """To be run with `payments.doubles.serve(double.app)`. `fails` is what everything is answered with meanwhile."""

    access_key: str = "AKIAEXAMPLE"
    secret_key: str = "a secret of the double"  # noqa: S105
    region: str = "eu-central-1"
    bucket: str = "portals"
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Content type and body, by key."""
    log: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path and status of all requests."""
    fails: int | None = None

    def __post_init__(self) -> None:
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "PUT", "DELETE", "HEAD"])])

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        answer = Response(status_code=self.fails) if self.fails else self._judged(request, body)
        self.log.append((request.method, request.url.path, answer.status_code))
        return answer

    def _judged(self, request: Request, body: bytes) -> Response:
        problem = self._problem(request, body)
        if problem is not None:
            return _error(403, problem)
        bucket, _, key = request.path_params["path"].partition("/")
        if bucket != self.bucket:
            return _error(404, "NoSuchBucket")
        if request.method == "PUT":
            self.files[key] = (request.headers.get("content-type", ""), body)
            return Response(headers={"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'})
        if request.method == "DELETE":
            self.files.pop(key, None)
            return Response(status_code=204)
        if key not in self.files:
            return _error(404, "NoSuchKey")
        kind, kept = self.files[key]
        tag = hashlib.md5(kept, usedforsecurity=False).hexdigest()
        headers = {"ETag": f'"{tag}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Type": kind}
        return Response(kept, headers=headers)

    def _problem(self, request: Request, body: bytes) -> str | None:
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            return "AccessDenied"
        key, day, region, signed, signature = found.groups()
        names, stamp = signed.split(";"), request.headers.get("x-amz-date", "")
        if key != self.access_key:
            return "InvalidAccessKeyId"
        if region != self.region or not set(names) >= _MUST_SIGN or not stamp.startswith(day):
            return "AuthorizationHeaderMalformed"
        told = request.headers["x-amz-content-sha256"]
        if told not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return "XAmzContentSHA256Mismatch"
        query = sorted((quote(n, safe="-_.~"), quote(v, safe="-_.~")) for n, v in parse_qsl(request.url.query))
        canonical = "\n".join(
            (
                request.method,
                quote(request.url.path, safe="/-_.~"),
                "&".join(f"{name}={value}" for name, value in query),
                *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
                "",
                signed,
                told,
            )
        )
        scope = f"{day}/{region}/s3/aws4_request"
        to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        secret = f"AWS4{self.secret_key}".encode()
        for part in (day, region, "s3", "aws4_request"):
            secret = hmac.digest(secret, part.encode(), hashlib.sha256)
        ours = hmac.new(secret, to_sign.encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(ours, signature) else "SignatureDoesNotMatch"


def _error(status: int, code: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Response(body, status, media_type="application/xml")
