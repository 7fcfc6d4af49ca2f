"""What customers may do and see: the one table of it.

Whoever has signed in as a customer, or as the admin of its portal, may use the root fields that stand here, and below
them the fields that are shown; everything else is FORBIDDEN, before anything is carried out. So are fields that nobody
has decided about. Which rows there are to see, `domain.customers` and `domain.visibility` say.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)

from ispgraph.schema.context import Info
from ispgraph.schema.errors import ApiError


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about the fields of a type. What is `blank` is null for customers, whatever is asked of it."""

    shown: frozenset[str]
    hidden: frozenset[str] = frozenset()
    blank: frozenset[str] = frozenset()


def _of(shown: str, hidden: str = "", blank: str = "") -> Decision:
    return Decision(frozenset(shown.split()), frozenset(hidden.split()), frozenset(blank.split()))


# Of the roots, only what is allowed is listed.
ROOTS: Mapping[str, frozenset[str]] = {
    "Query": frozenset({"viewer", "customer", "node", "nodes", "packages"}),
    "Mutation": frozenset(
        {
            *("tokenRenew", "signOut", "passwordChange", "preferencesUpdate"),
            *("ticketCreate", "ticketReply", "customerSendPaymentLink"),
        }
    ),
    "Subscription": frozenset({"liveUsage", "sessionChanged", "customerChanged"}),
}

_TYPES: Mapping[str, Decision] = {
    "Viewer": _of("tenant customer portalAdmin permissions", blank="operator actingOperator"),
    "Tenant": _of("id name currency timeZone"),
    "Node": _of("id"),
    "Payload": _of("errors"),
    "UserError": _of("code message field"),
    "Money": _of("amount currency"),
    "PageInfo": _of("hasNextPage hasPreviousPage startCursor endCursor"),
    "Customer": _of(
        """id accountNumber version name mobile email company status joinedAt updatedAt address
        balance amountDue wallet lastPaymentAt deviceCount service services billingProfile
        invoices payments ledger sessions usage usagePercentage liveSession usageChartUrl
        language smsOptOut emailOptOut messages paymentLinks gatewayPayments tickets hostingAccounts portal""",
        # Why somebody was suspended is written among operators; what the customer is to know is in the message of it.
        # What may be done to a customer, and why not, is said to who does it.
        hidden="""statusReason zone operator customFields timeline transfers jobs portalAccess allowedActions""",
    ),
    "Address": _of("street city state postalCode country"),
    "BillingProfile": _of(
        """billingCycle billingDay graceDays autoGenerate autoSuspend autoRenew paymentMethod
        contactName contactEmail contactMobile nextInvoiceOn nextSuspensionOn"""
    ),
    "Service": _of(
        """id status connectionType username ipAddress startedAt expiresAt suspendOn autoRenew package price
        macAddresses speedLimit timeLimit volumeLimit fup effectivePolicy packageChanges""",
        hidden="suspendRule router network allowedActions",
    ),
    "Package": _of(
        """id name description active connectionTypes downloadKbps uploadKbps price billingCycle validityDays taxProfile
        dailyRate allowPartialDay dataQuotaBytes timeQuotaSeconds bindMacOnFirstLogin fup""",
        hidden="customerCount",
    ),
    "TaxProfile": _of("id name rate", hidden="isDefault"),
    "FupPolicy": _of("thresholdBytes thresholdSeconds downloadKbps uploadKbps resetPeriod notifyAtPercent"),
    "SpeedLimit": _of("downloadKbps uploadKbps expiresAt"),
    "TimeLimit": _of("sessionSeconds dailySeconds weeklySeconds monthlySeconds windows"),
    "TimeWindow": _of("days from to"),
    "VolumeLimit": _of("dailyBytes monthlyBytes usedTodayBytes usedThisPeriodBytes rollover"),
    "FupState": _of("active activatedAt usedBytes thresholdBytes usedPercent resetsAt"),
    # The explanation names why a service is off line, in the words of operators.
    "EffectivePolicy": _of("downloadKbps uploadKbps source until", hidden="explanation"),
    "PackageChange": _of(
        "id status effectiveOn service fromPackage toPackage requestedAt appliedAt invoice",
        hidden="requestedBy reason message",
    ),
    "Invoice": _of(
        # Its notes stand on its paper.
        """id kind credits number status issuedOn dueOn periodStart periodEnd notes customer overdue lines subtotal tax
        total amountPaid amountDue payments pdfUrl""",
        hidden="dunning",
    ),
    "InvoiceLine": _of("description explanation quantity unitPrice amount tax taxRate taxIncluded"),
    "Payment": _of(
        """id number method status category reference receivedAt customer amount refunded refunds allocations
        receiptUrl""",
        hidden="notes collectedBy",
    ),
    "PaymentAllocation": _of("invoice amount"),
    "PaymentRefund": _of("amount at", hidden="reason by gatewayRefund"),
    "LedgerEntry": _of("id at debit credit balance invoice payment", hidden="account description"),
    "Session": _of(
        """id state connectionType startedAt updatedAt stoppedAt durationSeconds downloadBytes uploadBytes ipAddress
        macAddress""",
        hidden="acctSessionId nasAddress router terminateCause",
    ),
    "Usage": _of("downloadBytes uploadBytes totalBytes seconds quotaBytes usedPercent points"),
    "UsagePoint": _of("start downloadBytes uploadBytes"),
    "LiveUsage": _of("customerId at online session downloadBps uploadBps downloadBytes uploadBytes source"),
    "Message": _of(
        "id channel to language subject body status createdAt sentAt deliveredAt",
        hidden="event segments error attempts notBefore",
    ),
    "PaymentLink": _of("id amount customer invoice status expiresAt gateways url", hidden="openCount lastOpenedAt"),
    "GatewayPayment": _of(
        """id state gateway reference receipt amount received payerNote customer invoice link payment startedAt
        settledAt""",
        hidden="reason providerReference nextCheckAt",
    ),
    # A note among operators moves `version` and `updatedAt`.
    "Ticket": _of(
        """id number customer subject body category priority status createdAt firstRespondedAt resolvedAt closedAt
        replies""",
        hidden="""version updatedAt assignee createdBy firstResponseDueAt firstResponseOverdue firstResponseSeconds
        reopenCount resolutionSeconds""",
    ),
    "TicketReply": _of("author byCustomer body internal at"),
    "HostingAccount": _of(
        "id customer username status stats createdAt", hidden="server packageId externalId error heldForDebt updatedAt"
    ),
    "HostingStats": _of("domains databases emailAccounts certificates storageUsed accountAgeDays lastLogin readAt"),
    "Portal": _of(
        "id subdomain displayName subtitle theme active assets admin customer",
        hidden="""version status completedSteps nextStep progressPercent createdAt createdBy updatedAt lastModifiedBy
        expiresAt finishedAt log""",
    ),
    "PortalAsset": _of(
        "kind url width height contentType", hidden="status error attempts failures sizeBytes uploadedAt"
    ),
    "PortalAdmin": _of("name email acceptedAt", hidden="createdAt invitationSentAt invitationExpiresAt invitations"),
    "SignInPayload": _of("errors token expiresAt viewer challenge"),
    "PreferencesPayload": _of("errors customer"),
    "TicketPayload": _of("errors ticket"),
    "PaymentLinkPayload": _of("errors link messages"),
}
_PAGED = (
    *("Invoice", "Payment", "LedgerEntry", "Session", "Message", "PaymentLink", "GatewayPayment", "Ticket"),
    "PackageChange",
)
DECISIONS: Mapping[str, Decision] = {
    **_TYPES,
    **{f"{name}Connection": _of("edges nodes pageInfo totalCount") for name in _PAGED},
    **{f"{name}Edge": _of("cursor node") for name in _PAGED},
}
_NOTHING = Decision(frozenset())


def require(info: Info) -> None:
    """A customer may use the root field at hand, and see what is selected below it. Raises ApiError FORBIDDEN."""
    raw: Any = info._raw_info
    if raw.field_name not in ROOTS.get(raw.parent_type.name, ()):
        raise ApiError("FORBIDDEN", "Customers cannot use this.")
    require_below(info)


def require_below(info: Info) -> None:
    """As `require`, of a root field that everybody may use."""
    raw: Any = info._raw_info
    for node in raw.field_nodes:
        for refused in _refused(raw, get_named_type(raw.return_type), node.selection_set, set()):
            raise ApiError("FORBIDDEN", f"Customers cannot see {refused}.")


def _refused(raw: Any, kind: Any, selected: SelectionSetNode | None, seen: set[str]) -> Iterator[str]:
    decision = DECISIONS.get(kind.name, _NOTHING)
    for each in selected.selections if selected is not None else ():
        if not _included(raw, each):
            continue
        if isinstance(each, FieldNode):
            name = each.name.value
            if name == "__typename" or name in decision.blank:
                continue
            if name not in decision.shown:
                yield f"{kind.name}.{name}"
                continue
            yield from _refused(raw, get_named_type(kind.fields[name].type), each.selection_set, seen)
        elif isinstance(each, FragmentSpreadNode):
            if each.name.value not in seen:
                seen.add(each.name.value)
                fragment = raw.fragments[each.name.value]
                yield from _refused(raw, _condition(raw, fragment, kind), fragment.selection_set, seen)
        elif isinstance(each, InlineFragmentNode):
            yield from _refused(raw, _condition(raw, each, kind), each.selection_set, seen)


def _condition(raw: Any, fragment: Any, kind: Any) -> Any:
    return kind if fragment.type_condition is None else raw.schema.type_map[fragment.type_condition.name.value]


def _included(raw: Any, node: Any) -> bool:
    """What `@skip` and `@include` say, which need their argument."""
    said = {each.name.value: _truth(raw, each.arguments[0].value) for each in node.directives or ()}
    return not said.get("skip", False) and said.get("include", True)


def _truth(raw: Any, value: Any) -> bool:
    found = raw.variable_values.get(value.name.value) if isinstance(value, VariableNode) else value.value
    return bool(found)
