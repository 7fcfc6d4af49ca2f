"""A double of SSLCommerz, version 4: the hosted page, the IPN, the validation API and refunds."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ispgraph import clock
from ispgraph.adapters.payments.doubles import Double, Report, form_of, page

_NEEDED = (
    *("total_amount", "currency", "tran_id", "success_url", "fail_url", "cancel_url", "cus_name", "cus_email"),
    *("cus_add1", "cus_city", "cus_country", "cus_phone", "shipping_method", "product_name", "product_category"),
    "product_profile",
)
_LENGTHS = {"tran_id": 30, "cus_name": 50, "cus_email": 50, "cus_phone": 20, "product_name": 255, "ipn_url": 255}
_RATES = {"BDT": Decimal(1), "USD": Decimal(120), "EUR": Decimal(130)}


@dataclass
class Sale:
    """One session of the hosted page."""

    form: dict[str, str]
    session: str
    status: str = "PENDING"
    val_id: str = ""
    bank_tran_id: str = ""
    amount: Decimal = Decimal(0)
    """In the currency that was asked for."""
    validated: bool = False
    risky: bool = False
    refunded: Decimal = Decimal(0)
    verdict: str = ""
    """What the validation API says in place of VALID and VALIDATED."""


@dataclass
class SSLCommerzDouble(Double):
    """One store."""

    store_id: str = "double001"
    password: str = field(default="double001@ssl", repr=False)

    def __post_init__(self) -> None:
        self.sales: dict[str, Sale] = {}
        """By tran_id."""
        self.refunds: dict[str, dict[str, str]] = {}
        """By refund_trans_id."""
        self.refunding = "processing"
        """What is said of refunds later: processing, refunded or cancelled."""
        super().__post_init__()

    def routes(self) -> list[Route]:
        """As securepay.sslcommerz.com has them."""
        return [
            self.route("/gwprocess/v4/api.php", "create", self._create),
            self.route("/validator/api/merchantTransIDvalidationAPI.php", "transactions", self._transactions, "GET"),
            self.route("/validator/api/validationserverAPI.php", "validate", self._validate, "GET"),
            self.route("/EasyCheckOut/{session}", "page", self._page, "GET"),
            self.route("/EasyCheckOut/{session}", "choice", self._choice),
        ]

    async def pay(self, tran_id: str, amount: str | None = None, *, risky: bool = False) -> None:
        """As if the payer had paid, of another amount perhaps."""
        sale = self.sales[tran_id]
        sale.status, sale.risky = "VALID", risky
        sale.val_id = clock.now().strftime("%y%m%d%H%M%S") + secrets.token_urlsafe(8)
        sale.bank_tran_id = clock.now().strftime("%y%m%d%H%M%S") + secrets.token_hex(6)
        sale.amount = Decimal(amount or sale.form["total_amount"])
        await self._ipn(sale)

    async def end(self, tran_id: str, status: str) -> None:
        """As if it had come to nothing: FAILED, CANCELLED, UNATTEMPTED or EXPIRED."""
        self.sales[tran_id].status = status
        await self._ipn(self.sales[tran_id])

    def signed(self, report: Report, *, aged: float, secret: str | None) -> tuple[dict[str, str], bytes]:
        """With verify_key and verify_sign. There is no time in the signature, so that `aged` means nothing."""
        fields = {name: str(value) for name, value in report.said.items()}
        hidden = fields | {"store_passwd": hashlib.md5((secret or self.password).encode()).hexdigest()}  # noqa: S324
        text = "&".join(f"{name}={hidden[name]}" for name in sorted(hidden))
        sent = fields | {
            "verify_key": ",".join(sorted(fields)),
            "verify_sign": hashlib.md5(text.encode()).hexdigest(),  # noqa: S324
            "error": "",
        }
        return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(sent).encode()

    def altered(self, report: Report, amount: str) -> Report:
        """`amount` with two decimals."""
        return replace(report, said={**report.said, "amount": amount, "currency_amount": amount})

    async def _create(self, request: Request) -> Response:
        form = await form_of(request)
        why = self._wrong(form)
        if why:
            return JSONResponse({"status": "FAILED", "failedreason": why, "sessionkey": "", "GatewayPageURL": ""})
        session = secrets.token_hex(16).upper()
        self.sales[form["tran_id"]] = Sale(form, session)
        url = f"{str(request.base_url).rstrip('/')}/EasyCheckOut/{session}"
        return JSONResponse(
            {"status": "SUCCESS", "failedreason": "", "sessionkey": session, "gw": {}, "GatewayPageURL": url}
        )

    def _wrong(self, form: dict[str, str]) -> str:
        if not self._login(form):
            return "Store Credential Error Or Store is De-active"
        for name in _NEEDED:
            if not form.get(name):
                return f"Required parameter {name} is missing"
        for name, length in _LENGTHS.items():
            if len(form.get(name, "")) > length:
                return f"{name} is longer than {length}"
        try:
            amount = Decimal(form["total_amount"])
        except InvalidOperation:
            return "Invalid Information: total_amount"
        if form["currency"] not in _RATES:
            return "Invalid currency"
        taka = amount * _RATES[form["currency"]]
        if not Decimal(10) <= taka <= Decimal(500_000) or -int(amount.as_tuple().exponent) > 2:
            return "Invalid Information: amount must be from 10.00 to 500000.00 BDT"
        used = self.sales.get(form["tran_id"])
        return "tran_id is used already" if used is not None and used.status == "VALID" else ""

    async def _transactions(self, request: Request) -> Response:
        query = request.query_params
        if not self._login(query):
            return JSONResponse({"APIConnect": "FAILED"})
        if "bank_tran_id" in query:
            return self._refund(query)
        if "refund_ref_id" in query:
            return self._refund_status(query["refund_ref_id"])
        sale = self.sales.get(query.get("tran_id", ""))
        tried = [self._told(sale)] if sale is not None and sale.status != "PENDING" else []
        return JSONResponse({"APIConnect": "DONE", "no_of_trans_found": len(tried), "element": tried})

    async def _validate(self, request: Request) -> Response:
        query = request.query_params
        if not self._login(query):
            return JSONResponse({"APIConnect": "FAILED"})
        found = [sale for sale in self.sales.values() if sale.val_id and sale.val_id == query.get("val_id")]
        if not found:
            return JSONResponse({"status": "INVALID_TRANSACTION", "APIConnect": "DONE"})
        sale = found[0]
        told = self._told(sale) | {
            "status": sale.verdict or ("VALIDATED" if sale.validated else "VALID"),
            "APIConnect": "DONE",
        }
        sale.validated = True
        return JSONResponse(told)

    def _refund(self, query: Mapping[str, str]) -> Response:
        key = query.get("refund_trans_id", "")
        if key in self.refunds:
            return JSONResponse({**self.refunds[key], "status": "processing"})
        answer = {"APIConnect": "DONE", "bank_tran_id": query["bank_tran_id"], "errorReason": "", "status": "failed"}
        found = [sale for sale in self.sales.values() if sale.bank_tran_id == query["bank_tran_id"]]
        amount = Decimal(query["refund_amount"])
        if not key or not found or not query.get("refund_remarks"):
            return JSONResponse({**answer, "errorReason": "Invalid bank_tran_id or a parameter is missing"})
        if amount + found[0].refunded > found[0].amount * _RATES[found[0].form["currency"]]:
            return JSONResponse({**answer, "errorReason": "Refund amount is greater than the transaction amount"})
        found[0].refunded += amount
        made = {"status": "success", "trans_id": found[0].form["tran_id"], "refund_ref_id": secrets.token_hex(6)}
        self.refunds[key] = answer | made
        return JSONResponse(self.refunds[key])

    def _refund_status(self, reference: str) -> Response:
        found = [one for one in self.refunds.values() if one["refund_ref_id"] == reference]
        if not found:
            return JSONResponse({"APIConnect": "INVALID_REQUEST", "errorReason": "Invalid refund_ref_id"})
        return JSONResponse({**found[0], "status": self.refunding, "refunded_on": None})

    async def _page(self, request: Request) -> Response:
        sale = self._sale(request)
        if sale is None or sale.status != "PENDING":
            return Response("This session is closed.", status_code=404)
        amount = f"{sale.form['total_amount']} {sale.form['currency']}"
        choices = {"pay": "Pay", "fail": "Let it fail", "cancel": "Cancel"}
        return page("SSLCommerz (double)", amount, request.url.path, choices)

    async def _choice(self, request: Request) -> Response:
        sale, form = self._sale(request), await form_of(request)
        if sale is None or sale.status != "PENDING":
            return Response("This session is closed.", status_code=404)
        if form["choice"] == "cancel":
            await self.end(sale.form["tran_id"], "CANCELLED")
            return RedirectResponse(sale.form["cancel_url"], 307)
        if form["choice"] == "fail":
            await self.end(sale.form["tran_id"], "FAILED")
            return self._back(sale, sale.form["fail_url"])
        await self.pay(sale.form["tran_id"], form.get("amount") or None)
        return self._back(sale, sale.form["success_url"])

    def _back(self, sale: Sale, url: str) -> Response:
        """The browser is sent back by a form, as they do."""
        _, body = self.signed(Report(url, self._told(sale), ""), aged=0, secret=None)
        fields = [pair.split("=", 1) for pair in body.decode().split("&")]
        inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields)
        return HTMLResponse(
            f'<form method="post" action="{url}">{inputs}<button>Back to the shop</button></form>'
            "<script>document.forms[0].submit()</script>"
        )

    def _sale(self, request: Request) -> Sale | None:
        return next((one for one in self.sales.values() if one.session == request.path_params["session"]), None)

    def _login(self, said: Mapping[str, str]) -> bool:
        return (said.get("store_id"), said.get("store_passwd")) == (self.store_id, self.password)

    def _told(self, sale: Sale) -> dict[str, str]:
        taka = sale.amount * _RATES[sale.form["currency"]]
        told = {
            "tran_id": sale.form["tran_id"],
            "val_id": sale.val_id,
            "amount": f"{taka:.2f}",
            "store_amount": f"{taka * Decimal('0.975'):.2f}",
            "currency": "BDT",
            "bank_tran_id": sale.bank_tran_id,
            "card_type": "BKASH-BKash",
            "status": sale.status,
            "tran_date": clock.now().astimezone(ZoneInfo("Asia/Dhaka")).strftime("%Y-%m-%d %H:%M:%S"),
            "currency_type": sale.form["currency"],
            "currency_amount": f"{sale.amount:.2f}",
            "currency_rate": f"{_RATES[sale.form['currency']]:.4f}",
            "store_id": self.store_id,
            "value_a": sale.form.get("value_a", ""),
            "risk_level": "1" if sale.risky else "0",
            "risk_title": "Foreign card" if sale.risky else "Safe",
        }
        return {name: value for name, value in told.items() if value or name in ("value_a",)}

    async def _ipn(self, sale: Sale) -> None:
        url = sale.form.get("ipn_url")
        if url:
            await self.tell(Report(url, self._told(sale), sale.form["tran_id"]))
