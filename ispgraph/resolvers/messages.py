"""Messages: what was sent, in whose words, SMS by hand, and credits."""

from typing import Any

import strawberry

from ispgraph.domain import models
from ispgraph.domain.messaging import credits, sms, templates
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import SIGNED_IN, action, query
from ispgraph.resolvers.once import once, told
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.messages import Message
from ispgraph.schema.messaging import (
    AddSmsCreditsInput,
    MessagePayload,
    MessagePreview,
    MessagePreviewInput,
    MessageTemplate,
    MessageTemplateInput,
    MessageTemplatePayload,
    MessageTemplateResetInput,
    SendSmsInput,
    SmsCreditEntry,
)
from ispgraph.schema.operators import OperatorPayload
from ispgraph.schema.pages import Connection


async def messages(
    info: Info,
    status: list[models.MessageStatus] | None = None,
    channel: models.MessageChannel | None = None,
    customer_id: strawberry.ID | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[Message]:
    """Messages to the viewer's customers and operators, newest first."""
    wanted = {"status": status, "channel": channel, "customer": optional_id("cus", customer_id, "customerId")}
    found: Connection[Message] = page_of(roots.MESSAGES, wanted, first=first, after=after, last=last, before=before)
    return found


async def list_templates(info: Info) -> list[MessageTemplate]:
    """What is said of each event on each channel, and the texts of your own."""
    async with info.context.read() as session:
        found: Any = list(await templates.every(session, info.context.viewer_or_refuse().tenant_id))
    return found


@once()
async def save_template(info: Info, input: MessageTemplateInput) -> MessageTemplatePayload:
    """Have these words used from now on, by customers of this language."""
    words = templates.New(**told(input))
    saved: Any = await templates.save(info.context.session, words, by=info.context.viewer_or_refuse())
    return MessageTemplatePayload(template=saved)


@once()
async def reset_template(info: Info, input: MessageTemplateResetInput) -> MessageTemplatePayload:
    """Take back words of your own."""
    left: Any = await templates.reset(
        info.context.session, input.key, input.channel, input.language, by=info.context.viewer_or_refuse()
    )
    return MessageTemplatePayload(template=left)


async def preview(info: Info, input: MessagePreviewInput) -> MessagePreview:
    """How a text would arrive at a customer; nothing is sent."""
    async with info.context.read() as session:
        found = await sms.preview(
            session,
            typed_id("cus", input.customer_id, "input", "customerId"),
            sms.Wish(input.body, input.template_key),
            input.channel,
            by=info.context.viewer_or_refuse(),
        )
    return MessagePreview(
        to=found.to,
        subject=found.subject,
        body=found.body,
        language=found.language,
        unknown_variables=list(found.unknown),
        segments=found.segments,
        encoding=found.encoding,
        credits=found.credits,
    )


async def send_sms(info: Info, input: SendSmsInput) -> MessagePayload:
    """Queue an SMS to a customer. A reseller's credits for it are reserved, and given back when it is not sent."""
    row: Any = await sms.send(
        info.context.session,
        typed_id("cus", input.customer_id, "input", "customerId"),
        sms.Wish(input.body, input.template_key),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return MessagePayload(message=row)


async def entries(
    info: Info,
    operator_id: strawberry.ID | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[SmsCreditEntry]:
    """The book of SMS credits of the operators below the viewer, newest first."""
    wanted = {"operator": optional_id("opr", operator_id, "operatorId")}
    page: Connection[SmsCreditEntry] = page_of(
        roots.SMS_CREDIT_ENTRIES, wanted, first=first, after=after, last=last, before=before
    )
    return page


async def add_credits(info: Info, input: AddSmsCreditsInput) -> OperatorPayload:
    """Give SMS credits to a reseller below the viewer, or take some back. A reseller gives of its own."""
    row: Any = await credits.add(
        info.context.session,
        typed_id("opr", input.operator_id, "input", "operatorId"),
        input.credits,
        note=input.note,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return OperatorPayload(operator=row)


@strawberry.type
class MessageQueries:
    messages = query(messages, Permission.VIEW_CUSTOMERS)
    message_templates = query(list_templates, Permission.SEND_SMS)
    message_preview = query(preview, Permission.SEND_SMS)
    sms_credit_entries = query(entries, SIGNED_IN)


@strawberry.type
class MessageMutations:
    customer_send_sms = action(send_sms, Permission.SEND_SMS)
    message_template_save = action(save_template, Permission.MANAGE_SETTINGS)
    message_template_reset = action(reset_template, Permission.MANAGE_SETTINGS)
    operator_add_sms_credits = action(add_credits, Permission.MANAGE_OPERATORS)
