"""What lets operators in: second factors, passwords, API tokens, and signing in in the place of somebody below."""

from typing import Any

import strawberry

from ispgraph.domain import api_tokens, customer_passwords, operator_passwords, second_factors, sign_in
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id
from ispgraph.resolvers.authentication import caller, throttled
from ispgraph.resolvers.base import PUBLIC, SIGNED_IN, action, query
from ispgraph.resolvers.once import once
from ispgraph.resolvers.operators import signed_in_payload
from ispgraph.schema import roots
from ispgraph.schema.access import (
    ApiToken,
    ApiTokenInput,
    ApiTokenPayload,
    PasswordChangeInput,
    PasswordPayload,
    PasswordResetInput,
    PasswordResetRequestInput,
    SignIn,
    SignInConfirmInput,
    SignInEndPayload,
    TwoFactorBeginPayload,
    TwoFactorDisableInput,
    TwoFactorPayload,
)
from ispgraph.schema.compiler.reading import page_of, reading
from ispgraph.schema.context import Info
from ispgraph.schema.operators import OperatorPayload, SignInPayload
from ispgraph.schema.pages import Connection


async def list_tokens(info: Info, operator_id: strawberry.ID | None = None) -> list[ApiToken]:
    """The API tokens of the viewer that are in force, the latest first; or those of an operator below, with the
    permission MANAGE_OPERATORS."""
    wanted = optional_id("opr", operator_id, "operatorId") or info.context.viewer_or_refuse().operator_id
    found: list[ApiToken] = reading(roots.API_TOKENS, operator=wanted)
    return found


async def list_sign_ins(
    info: Info,
    operator_id: strawberry.ID | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[SignIn]:
    """Who has signed in as the viewer, from where, and in whose place, the latest first; or as an operator below, with
    the permission MANAGE_OPERATORS."""
    wanted = optional_id("opr", operator_id, "operatorId") or info.context.viewer_or_refuse().operator_id
    found: Connection[SignIn] = page_of(
        roots.SIGN_INS, {"operator": wanted}, first=first, after=after, last=last, before=before
    )
    return found


async def confirm_sign_in(info: Info, input: SignInConfirmInput) -> SignInPayload:
    """The second step of signing in: a code of the second factor, within five minutes."""
    context = info.context
    with throttled():
        found = await sign_in.confirm(
            context.database,
            context.redis,
            context.settings,
            challenge=input.challenge,
            code=input.code,
            caller=caller(context),
        )
    context.viewer = found.viewer
    return signed_in_payload(found)


async def sign_in_as(info: Info, operator_id: strawberry.ID, idempotency_key: str | None = None) -> SignInPayload:
    """Sign in in the place of an operator below the viewer, for half an hour at most.

    What is done so can be done by both of them; it stands in the record with both names, and the operator is told of
    it. Passwords, second factors and API tokens cannot be changed. A repetition with the same key is answered with
    another token of the same sign-in.
    """
    context = info.context
    found = await sign_in.in_place_of(
        context.session,
        context.settings,
        operator_id,
        idempotency_key=idempotency_key,
        caller=caller(context),
        by=context.viewer_or_refuse(),
    )
    return signed_in_payload(found)


@once()
async def end_sign_in(info: Info, sign_in_id: strawberry.ID) -> SignInEndPayload:
    """End a sign-in of the viewer, or somebody's in the viewer's place; with the permission MANAGE_OPERATORS one of an
    operator below."""
    row: Any = await sign_in.end_other(info.context.session, sign_in_id, by=info.context.viewer_or_refuse())
    return SignInEndPayload(sign_in=row)


async def change_password(info: Info, input: PasswordChangeInput) -> SignInPayload:
    """Set another password. All other sign-ins of the viewer end; this one goes on with the new token. A repetition
    with the same key is answered with a token of the sign-in that asks."""
    context, by = info.context, info.context.viewer_or_refuse()
    changing = operator_passwords.change if by.customer_id is None else customer_passwords.change
    with throttled():
        changed = await changing(
            context.database,
            context.redis,
            context.settings,
            current=input.current_password,
            new=input.new_password,
            idempotency_key=input.idempotency_key,
            caller=caller(context),
            by=by,
        )
    return signed_in_payload(changed)


async def request_reset(info: Info, input: PasswordResetRequestInput) -> PasswordPayload:
    """Have a code sent by e-mail with which a forgotten password can be set anew within an hour. The answer is the same
    whether anybody has this address."""
    context = info.context
    with throttled():
        await operator_passwords.request(
            context.database,
            context.redis,
            context.settings,
            email=input.email,
            tenant=input.tenant,
            caller=caller(context),
        )
    return PasswordPayload(done=True)


async def reset_password(info: Info, input: PasswordResetInput) -> PasswordPayload:
    """Set a password by the code that was sent, to an operator or a customer. All sign-ins end; a second factor
    stays."""
    await customer_passwords.reset(info.context.database, code=input.code, new=input.new_password)
    return PasswordPayload(done=True)


async def begin_factor(info: Info, password: str, idempotency_key: str | None = None) -> TwoFactorBeginPayload:
    """A secret for one-time passwords (TOTP). It counts when `twoFactorConfirm` has seen a code of it. A repetition
    with the same key is answered with the same secret until then, and without one afterwards."""
    context = info.context
    with throttled():
        begun = await second_factors.begin(
            context.database,
            context.redis,
            context.settings,
            password=password,
            idempotency_key=idempotency_key,
            caller=caller(context),
            by=context.viewer_or_refuse(),
        )
    return TwoFactorBeginPayload(secret=begun.secret, uri=begun.uri)


async def confirm_factor(info: Info, code: str, idempotency_key: str | None = None) -> TwoFactorPayload:
    """Prove that the device knows the secret: from now on a code is asked at each sign-in. A repetition with the same
    key is answered without the recovery codes."""
    context = info.context
    with throttled():
        codes = await second_factors.confirm(
            context.database,
            context.redis,
            context.settings,
            code=code,
            idempotency_key=idempotency_key,
            caller=caller(context),
            by=context.viewer_or_refuse(),
        )
    return TwoFactorPayload(recovery_codes=None if codes is None else list(codes), enabled=True)


async def disable_factor(info: Info, input: TwoFactorDisableInput) -> TwoFactorPayload:
    """Do without a second factor from now on."""
    context = info.context
    with throttled():
        await second_factors.disable(
            context.database,
            context.redis,
            context.settings,
            password=input.password,
            code=input.code,
            idempotency_key=input.idempotency_key,
            caller=caller(context),
            by=context.viewer_or_refuse(),
        )
    return TwoFactorPayload(enabled=False)


@once()
async def remove_factor(info: Info, operator_id: strawberry.ID) -> OperatorPayload:
    """Take the second factor from an operator below the viewer who has lost the device. All of that one's sign-ins
    end."""
    row: Any = await second_factors.remove(info.context.session, operator_id, by=info.context.viewer_or_refuse())
    return OperatorPayload(operator=row)


@once()
async def create_token(info: Info, input: ApiTokenInput) -> ApiTokenPayload:
    """An API token for the viewer. The same `idempotencyKey` again answers with the same row and without the token,
    which is kept nowhere: if the first answer was lost, revoke it and make another."""
    session, by = info.context.session, info.context.viewer_or_refuse()
    made = await api_tokens.create(session, input.name, input.permissions, input.expires_at, by=by)
    row: Any = made.row
    return ApiTokenPayload(token=made.token, api_token=row)


@once()
async def revoke_token(info: Info, token_id: strawberry.ID) -> ApiTokenPayload:
    """End an API token of the viewer at once; with the permission MANAGE_OPERATORS one of an operator below."""
    row: Any = await api_tokens.revoke(info.context.session, token_id, by=info.context.viewer_or_refuse())
    return ApiTokenPayload(api_token=row)


@strawberry.type
class AccessQueries:
    api_tokens = query(list_tokens, SIGNED_IN)
    sign_ins = query(list_sign_ins, SIGNED_IN)


@strawberry.type
class AccessMutations:
    sign_in_confirm = action(confirm_sign_in, PUBLIC, transaction=False)
    sign_in_as = action(sign_in_as, Permission.MANAGE_OPERATORS)
    sign_in_end = action(end_sign_in, SIGNED_IN)
    password_change = action(change_password, SIGNED_IN, transaction=False)
    password_reset_request = action(request_reset, PUBLIC, transaction=False)
    password_reset = action(reset_password, PUBLIC, transaction=False)
    two_factor_begin = action(begin_factor, SIGNED_IN, transaction=False)
    two_factor_confirm = action(confirm_factor, SIGNED_IN, transaction=False)
    two_factor_disable = action(disable_factor, SIGNED_IN, transaction=False)
    operator_remove_second_factor = action(remove_factor, Permission.MANAGE_OPERATORS)
    api_token_create = action(create_token, SIGNED_IN)
    api_token_revoke = action(revoke_token, SIGNED_IN)
