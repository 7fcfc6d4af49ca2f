"""Who carries messages, and what has to be known of an account with each."""

from collections.abc import Mapping
from email.utils import parseaddr

from ispgraph.domain import http_gateway, values
from ispgraph.domain.gateway_providers import Provider, Setting
from ispgraph.domain.models.gateways import GatewayKind

_BASE_URL = Setting("base_url", "Address of the API", required=False, note="Left empty it is the provider's own.")
_REPORT_SECRET = Setting(
    "report_secret",
    "Secret of delivery reports",
    secret=True,
    required=False,
    note="Of your own making. Reports are believed when they come to the callback address followed by ?key= and this.",
)
_SENDER_NOTE = "A number or a name that the provider has approved."

_METHODS = ("GET", "POST", "PUT")
_PATH_NOTE = "As names and numbers with dots between them: data.0.id."


def _mail(settings: Mapping[str, str]) -> Mapping[str, str]:
    wrong = {}
    for name in ("sender", "reply_to"):
        if found := settings.get(name):
            try:
                values.email(parseaddr(found)[1])
            except values.Unfit:
                wrong[name] = "Write it as billing@isp.example, or as Name <billing@isp.example>."
    if bool(settings.get("username")) != bool(settings.get("password")):
        missing = "password" if settings.get("username") else "username"
        wrong[missing] = "A login is a user name and a password."
    return wrong


def _centre(settings: Mapping[str, str]) -> Mapping[str, str]:
    wrong = {}
    # Octets of the fields of SMPP, without the one that ends them.
    for name, longest in (("system_id", 15), ("password", 8), ("system_type", 12), ("sender", 20)):
        value = settings.get(name, "")
        if len(value) > longest or not value.isascii():
            wrong[name] = f"SMPP takes at most {longest} characters here, all of them ASCII."
    return wrong


SMS = (
    Provider(
        slug="twilio",
        kind=GatewayKind.SMS,
        label="Twilio",
        settings=(
            Setting("account_sid", "Account SID", note="On the first page of the console: AC and 32 digits."),
            Setting("auth_token", "Auth token", secret=True, note="Beside it. It signs the delivery reports as well."),
            Setting("sender", "Sender", note="A number as +15005550006, an approved name, or a service: MG…"),
            _BASE_URL,
        ),
    ),
    Provider(
        slug="vonage",
        kind=GatewayKind.SMS,
        label="Vonage",
        settings=(
            Setting("api_key", "API key"),
            Setting("api_secret", "API secret", secret=True),
            Setting("sender", "Sender", note=_SENDER_NOTE),
            Setting(
                "signature_secret",
                "Signature secret",
                secret=True,
                required=False,
                note="From the API settings. With it reports are believed when they are signed.",
            ),
            Setting(
                "signature_method",
                "Signature method",
                required=False,
                default="sha256",
                choices=("md5hash", "md5", "sha1", "sha256", "sha512"),
                note="As the API settings have it; md5hash is theirs by default.",
            ),
            _REPORT_SECRET,
            _BASE_URL,
        ),
    ),
    Provider(
        slug="africas_talking",
        kind=GatewayKind.SMS,
        label="Africa's Talking",
        settings=(
            Setting("username", "User name of the app", note="In test mode: sandbox."),
            Setting("api_key", "API key", secret=True),
            Setting("sender", "Sender", required=False, note=_SENDER_NOTE),
            _REPORT_SECRET,
            _BASE_URL,
        ),
    ),
    Provider(
        slug="ssl_wireless",
        kind=GatewayKind.SMS,
        label="SSL Wireless",
        settings=(
            Setting("api_token", "API token", secret=True),
            Setting("sid", "SID", note="The sender, as it was approved."),
            _BASE_URL,
        ),
    ),
    Provider(
        slug="smpp",
        kind=GatewayKind.SMS,
        label="A message centre (SMPP 3.4)",
        settings=(
            Setting("host", "Host"),
            Setting("port", "Port", required=False, default="2775"),
            Setting("tls", "TLS", required=False, default="no", choices=("yes", "no")),
            Setting("system_id", "System id"),
            Setting("password", "Password", secret=True),
            Setting("system_type", "System type", required=False),
            Setting("sender", "Sender", note="A number as +8801…, a short number, or a name of at most 11 characters."),
            Setting(
                "message_ids",
                "Message numbers",
                required=False,
                default="same",
                choices=("same", "hexadecimal"),
                note="hexadecimal: the centre answers in hexadecimal, and names messages in receipts in decimal.",
            ),
        ),
        check=_centre,
    ),
    Provider(
        slug="http",
        kind=GatewayKind.SMS,
        label="Another gateway on HTTP",
        settings=(
            Setting(
                "url", "Address", note="It may have a query of its own; places such as {token} are filled in there."
            ),
            Setting("method", "Method", required=False, default="POST", choices=_METHODS),
            Setting("content", "What is sent", required=False, default="form", choices=("query", "form", "json")),
            Setting(
                "template",
                "Template",
                note="For query and form: api_key={token}&to={number}&text={body}. For json: an object with places "
                "inside of its texts. The places: " + ", ".join(http_gateway.PLACES) + ".",
            ),
            Setting("headers", "Headers", required=False, note="One a line: Authorization: Bearer {token}."),
            Setting("token", "Token", secret=True, required=False, note="What {token} stands for."),
            Setting("username", "User name", required=False),
            Setting("password", "Password", secret=True, required=False),
            Setting("basic_auth", "HTTP Basic", required=False, default="no", choices=("yes", "no")),
            Setting("sender", "Sender", required=False, note=_SENDER_NOTE),
            Setting("success_status", "Statuses of success", required=False, default="2xx", note="As 200,201 or 2xx."),
            Setting(
                "success_rule",
                "Rule of success",
                required=False,
                default="status",
                choices=("status", "json", "text", "regex"),
                note="Besides the status: a value in JSON, a text, or an expression in the first 500 characters.",
            ),
            Setting("success_path", "Where the value is", required=False, note=_PATH_NOTE),
            Setting("success_value", "What it has to be", required=False, note="Of several values: with | between."),
            Setting("reference_path", "Where its reference is", required=False, note=_PATH_NOTE),
            Setting("reference_pattern", "Or an expression", required=False, note="With one group: OK: ([0-9]+)"),
            Setting("error_path", "Where its reason is", required=False, note=_PATH_NOTE),
            _REPORT_SECRET,
            Setting("report_id", "Report: its reference", required=False, note="The name of the parameter."),
            Setting("report_reference", "Report: our reference", required=False, note="The name of the parameter."),
            Setting("report_status", "Report: the state", required=False, note="The name of the parameter."),
            Setting("report_delivered", "States of delivery", required=False, note="With commas between: DELIVRD,1"),
            Setting("report_failed", "States of failure", required=False, note="With commas between: UNDELIV,2"),
            Setting("report_reason", "Report: the reason", required=False, note="The name of the parameter."),
        ),
        check=http_gateway.check,
    ),
)

EMAIL = (
    Provider(
        slug="smtp",
        kind=GatewayKind.EMAIL,
        label="A mail server (SMTP)",
        settings=(
            Setting("host", "Host"),
            Setting("port", "Port", required=False, default="587", note="587 for STARTTLS, 465 for TLS."),
            Setting(
                "security",
                "Security",
                required=False,
                default="starttls",
                choices=("starttls", "tls", "none"),
                note="none is for servers in your own network only.",
            ),
            Setting("username", "User name", required=False),
            Setting("password", "Password", secret=True, required=False),
            Setting("sender", "Sender", note="As Name <billing@isp.example>."),
            Setting("reply_to", "Answers go to", required=False),
            Setting(
                "ca_certificate",
                "Certificate of the authority",
                required=False,
                note="PEM; where the server's own certificate is not signed by a public one.",
            ),
        ),
        check=_mail,
    ),
)
