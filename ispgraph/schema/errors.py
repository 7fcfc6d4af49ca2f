"""Top-level errors: every one carries `extensions.code`, and nothing internal passes.

What a person can cause inside an input is a `UserError` in the payload, not an error of this module.
"""

import secrets
import traceback
from collections.abc import Mapping
from socket import gaierror
from typing import Any, Literal

import redis.exceptions
import sqlalchemy.exc
import strawberry
import structlog
from graphql import GraphQLError, GraphQLInputObjectType
from strawberry.exceptions import MissingQueryError, StrawberryInputCoercionError
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionContext
from strawberry.types.execution import PreExecutionError

from ispgraph import traces
from ispgraph.domain.errors import DomainError

_log = structlog.get_logger("ispgraph.api")

# SQLSTATE classes and states after which the same request may well succeed: connection (08), resources (53), operator
# intervention (57, which holds the statement timeout), lock timeout, and conflicts that outlived the retries.
_PASSING_CLASSES = ("08", "53", "57")
_PASSING_STATES = ("55P03", "40001", "40P01")

_REQUEST_ERRORS = (
    StrawberryInputCoercionError,
    CannotGetOperationTypeError,
    InvalidOperationTypeError,
    MissingQueryError,
)

Code = Literal[
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "RATE_LIMITED",
    "COST_EXCEEDED",
    "BAD_REQUEST",
    "PERSISTED_QUERY_NOT_FOUND",
    "UNAVAILABLE",
    "INTERNAL",
]
"""The values of `extensions.code`."""


class ApiError(GraphQLError):
    """An error the client is meant to read: its message passes the mask.

    `details` are further members of `extensions`, such as the bound of a limit.
    """

    def __init__(self, code: Code, message: str, **details: Any) -> None:
        super().__init__(message, extensions={"code": code, **details})


class ApiSchema(strawberry.Schema):
    """A schema whose errors, wherever they arise, are classified and masked before anyone sees them.

    Strawberry hands every list of errors of a result to `process_errors`, in `execute` and for each frame of a stream.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # graphql-core then checks "exactly one key" itself. Strawberry's own rule fails with a KeyError on an undefined
        # variable, and on a fragment that stands before its operation.
        for kind in self._schema.type_map.values():
            definition = kind.extensions.get("strawberry-definition")
            if isinstance(kind, GraphQLInputObjectType) and definition is not None and definition.is_one_of:
                kind.is_one_of = True

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Replace the errors in place by what the client may see."""
        suggest = may_introspect(execution_context.context if execution_context else None)
        errors[:] = [present(error, suggest=suggest) for error in errors]

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        # Private, hence the narrow pin of the version. An extension that refuses a document while parsing it raises.
        # `execute` catches that; the streaming path does not, and would end the operation without a word.
        try:
            return await super()._prepare_operation_async(context, extensions_runner)
        except GraphQLError as error:
            context.pre_execution_errors = [error]
            return PreExecutionError(data=None, errors=[error])


def may_introspect(context: Any) -> bool:
    """Whether the schema may be read: by any operator who has signed in, by everybody where settings open it.

    `context` is what the API made for a request (it has `viewer` and `settings`); None is a caller inside the program.
    """
    if context is None or context.settings.introspection == "open":
        return True
    return context.viewer is not None and context.viewer.customer_id is None


def present(error: GraphQLError, *, suggest: bool = True) -> GraphQLError:
    """What the client gets to see of an error: itself with a code, or a mask with a trace id."""
    cause = _cause(error)
    if isinstance(cause, ApiError):
        return _copy(error, cause.message, cause.extensions)
    if isinstance(cause, DomainError):
        # From a field below the root, where there is no payload to carry it.
        field = cause.faults[0].field
        details = {"field": list(field)} if field else {}
        return _copy(error, cause.faults[0].message, {"code": "BAD_REQUEST", **details})
    if _is_request_error(error, cause):
        message = error.message if suggest else error.message.split(" Did you mean ")[0]
        return _copy(error, message, {"code": "BAD_REQUEST"})
    code, message = describe(cause)
    return _copy(error, message, {"code": code, "traceId": report(cause, code, path=error.path)})


def describe(cause: BaseException) -> tuple[Code, str]:
    """The code and message that stand for an exception that is not meant for the client."""
    if _is_passing(cause):
        return "UNAVAILABLE", "The service is not available just now; try again"
    return "INTERNAL", "Internal error"


def report(cause: BaseException, code: Code, **fields: Any) -> str:
    """Log an exception; return the trace id that is logged with it.

    The text of a database error quotes statement parameters and rows, so only its type and SQLSTATE are written.
    """
    under_way = traces.ids()
    trace_id = under_way[0] if under_way is not None else secrets.token_hex(8)
    quotes_data = isinstance(cause, sqlalchemy.exc.SQLAlchemyError)
    _log.error(
        "request_failed",
        trace_id=trace_id,
        code=code,
        error=type(cause).__name__,
        reason=_sqlstate(cause) if quotes_data else str(cause),
        frames="".join(traceback.format_tb(cause.__traceback__)),
        **fields,
    )
    return trace_id


def _cause(error: GraphQLError) -> BaseException:
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _is_request_error(error: GraphQLError, cause: BaseException) -> bool:
    """Whether GraphQL itself refused the document, its variables or its arguments.

    Before execution an error has no path. During it, graphql-core refuses an argument with the node of the argument,
    while a value that cannot be printed (our fault) comes without a node of its own.
    """
    if isinstance(cause, _REQUEST_ERRORS):
        return True
    return isinstance(cause, GraphQLError) and (error.path is None or bool(cause.nodes and cause is not error))


def _is_passing(cause: BaseException) -> bool:
    if isinstance(cause, sqlalchemy.exc.DBAPIError):
        state = _sqlstate(cause)
        return (
            isinstance(cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)
            or cause.connection_invalidated
            or state.startswith(_PASSING_CLASSES)
            or state in _PASSING_STATES
        )
    # A refused connection to several addresses is a bare OSError; its subclasses are mostly about files.
    return type(cause) is OSError or isinstance(
        cause,
        ConnectionError
        | TimeoutError
        | gaierror
        | sqlalchemy.exc.TimeoutError
        | redis.exceptions.ConnectionError
        | redis.exceptions.TimeoutError,
    )


def _sqlstate(cause: BaseException) -> str:
    return str(getattr(getattr(cause, "orig", None), "sqlstate", None) or "")


def _copy(error: GraphQLError, message: str, extensions: Mapping[str, Any] | None) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=dict(extensions or {}),
    )
