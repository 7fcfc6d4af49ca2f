"""The settings of a tenant."""

from datetime import date, time
from decimal import Decimal
from typing import Any

import strawberry

from ispgraph.domain import letterheads, locales, models
from ispgraph.domain.models import Suspension
from ispgraph.schema.base import Payload
from ispgraph.schema.context import Info


@strawberry.type(description="The picture on a letterhead, as it was drawn anew from what was sent.")
class Logo:
    media_type: str = strawberry.field(description="image/png or image/jpeg.")
    width: int = strawberry.field(description="In pixels.")
    height: int = strawberry.field(description="In pixels.")


@strawberry.type(description="What stands on invoices and receipts. They are made when they are looked at.")
class Letterhead:
    legal_name: str | None = strawberry.field(description="Without it the tenant's name stands there.")
    address: str | None = strawberry.field(description="In lines.")
    phone: str | None
    email: str | None
    tax_number: str | None
    footer: str | None = strawberry.field(description="In lines, at the foot of every page.")

    @strawberry.field
    async def logo(root: strawberry.Parent[models.Tenant], info: Info) -> Logo | None:
        async with info.context.read() as session:
            found: Any = await letterheads.logo(session, root)
        return found


@strawberry.type(
    description="What happens to invoices that are not paid. Days are those of the tenant's calendar. An invoice is "
    "overdue from the day after its due day; a service is suspended on the first day that is no holiday after the days "
    "of grace."
)
class DunningSettings:
    remind_days_before: list[int] = strawberry.field(description="Before the due day.")
    remind_days_after: list[int] = strawberry.field(description="After the due day.")
    grace_days: int = strawberry.field(
        description="For whom the billing profile says nothing else. Holidays are not counted."
    )
    holidays: list[date] = strawberry.field(description="On which nobody is suspended for an invoice.")
    at: time = strawberry.field(description="When reminders go out and services are suspended.")


@strawberry.type(description="How customers are written to.")
class MessageSettings:
    language: str = strawberry.field(description="For customers who have none of their own, such as en or bn.")
    sms_enabled: bool = strawberry.field(description="Whether SMS are sent at all.")
    quiet_from: time | None = strawberry.field(
        description="From then on, by the tenant's clock, SMS that are not urgent wait; null: there are no quiet hours."
    )
    quiet_until: time | None = strawberry.field(description="Until then; on the next day when that is not later.")


@strawberry.type(description="What a tenant decides for itself.")
class TenantSettings:
    email_required: bool = strawberry.field(description="Whether a customer needs an e-mail address.")
    pending_until_paid: bool = strawberry.field(
        description="Whether a new customer who has paid nothing is PENDING, and cannot get on line."
    )
    tax_rate: Decimal = strawberry.field(
        description="Per cent, for packages without a tax profile where no profile is the default one."
    )
    tax_inclusive: bool = strawberry.field(
        description="Whether prices have the tax in them; otherwise it comes on top."
    )
    invoice_due_days: int
    account_prefix: str = strawberry.field(description="Stands before the digits of new account numbers.")
    suspension: Suspension = strawberry.field(
        description="What the network does with those who are suspended or whose time is over. Who violated the terms "
        "is refused either way."
    )
    walled_address_list: str = strawberry.field(
        description="The address list of the routers in which those in the walled garden stand."
    )
    walled_pool: str | None = strawberry.field(
        description="The pool of the routers from which they get their addresses; null: from the usual one."
    )
    walled_kbps: int = strawberry.field(description="What they can use in each direction, in kbit/s.")
    page_color: str | None = strawberry.field(
        description="Of buttons and links on the pages on which customers pay and redeem vouchers, as #rrggbb; null: "
        "the product's own. What is written on it is black or white, and links are as dark or light as can be read."
    )
    hosting_follows_invoices: bool = strawberry.field(
        description="Whether hosting accounts are suspended for as long as a service of their customer is because of "
        "debts. Accounts that are suspended so stay it until then, also when this is turned off."
    )
    usage_detail_days: int = strawberry.field(
        description="For how many days usage is known by the hour; 0: for ever. By the day it is, whatever this says."
    )

    @strawberry.field(description="In whose way invoices and receipts write amounts, always with the digits 0 to 9.")
    def locale(root: strawberry.Parent[models.Tenant]) -> str:
        return locales.of(root.locale, root.country)

    @strawberry.field
    def letterhead(root: strawberry.Parent[models.Tenant]) -> Letterhead:
        shown: Any = root
        return shown

    @strawberry.field
    def dunning(root: strawberry.Parent[models.Tenant]) -> DunningSettings:
        return DunningSettings(
            remind_days_before=root.dunning_before,
            remind_days_after=root.dunning_after,
            grace_days=root.dunning_grace_days,
            holidays=root.dunning_holidays,
            at=root.dunning_at,
        )

    @strawberry.field
    def messages(root: strawberry.Parent[models.Tenant]) -> MessageSettings:
        return MessageSettings(
            language=root.message_language,
            sms_enabled=root.sms_enabled,
            quiet_from=root.quiet_from,
            quiet_until=root.quiet_until,
        )


@strawberry.input(description="What is left out stays as it is; null or empty takes it away.")
class LetterheadInput:
    legal_name: str | None = strawberry.field(default=strawberry.UNSET, description="At most 200 characters.")
    address: str | None = strawberry.field(
        default=strawberry.UNSET, description="At most 6 lines and 500 characters, without the name."
    )
    phone: str | None = strawberry.UNSET
    email: str | None = strawberry.UNSET
    tax_number: str | None = strawberry.field(default=strawberry.UNSET, description="At most 60 characters.")
    footer: str | None = strawberry.field(
        default=strawberry.UNSET, description="At most 6 lines and 500 characters, at the foot of every page."
    )
    logo: str | None = strawberry.field(
        default=strawberry.UNSET, description="A PNG or JPEG file of at most 150 kB, in base64 or as a data URL."
    )


@strawberry.input(description="What is left out stays as it is; an empty list says that there are none.")
class DunningSettingsInput:
    remind_days_before: list[int] | None = strawberry.field(default=None, description="At most 5, from 1 to 60.")
    remind_days_after: list[int] | None = strawberry.field(default=None, description="At most 5, from 1 to 60.")
    grace_days: int | None = strawberry.field(default=None, description="From 0 to 60.")
    holidays: list[date] | None = strawberry.field(default=None, description="At most 366.")
    at: time | None = strawberry.field(default=None, description="A time of day in the tenant's zone, to the minute.")


@strawberry.input(description="What is left out stays as it is.")
class MessageSettingsInput:
    language: str | None = strawberry.field(default=None, description="Such as en, bn or pt-BR.")
    sms_enabled: bool | None = None
    quiet_from: time | None = strawberry.field(
        default=strawberry.UNSET, description="To the minute. Null, with quietUntil: there are no quiet hours."
    )
    quiet_until: time | None = strawberry.UNSET


@strawberry.input(description="What is left out stays as it is.")
class TenantSettingsInput:
    email_required: bool | None = None
    pending_until_paid: bool | None = None
    tax_rate: Decimal | None = None
    tax_inclusive: bool | None = None
    invoice_due_days: int | None = None
    account_prefix: str | None = None
    suspension: Suspension | None = None
    walled_address_list: str | None = None
    walled_pool: str | None = strawberry.field(default=strawberry.UNSET, description="Null or empty: none.")
    walled_kbps: int | None = None
    hosting_follows_invoices: bool | None = None
    usage_detail_days: int | None = strawberry.field(
        default=None, description="62 to 3700, or 0: for ever. What was kept longer goes within a day, for good."
    )
    locale: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Such as en-IN, bn-BD or de. Null or empty: as most people of the tenant's country write.",
    )
    page_color: str | None = strawberry.field(
        default=strawberry.UNSET, description="As #rrggbb, such as #0b5cad; INVALID otherwise. Null or empty: none."
    )
    letterhead: LetterheadInput | None = None
    dunning: DunningSettingsInput | None = None
    messages: MessageSettingsInput | None = None
    idempotency_key: str | None = None


@strawberry.type
class TenantSettingsPayload(Payload):
    settings: TenantSettings | None = None
