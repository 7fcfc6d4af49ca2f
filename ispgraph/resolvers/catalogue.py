"""Packages, zones and custom fields."""

from typing import Any

import strawberry

from ispgraph.domain import custom_fields, models, packages, tax_profiles, zones
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import SIGNED_IN, action, query
from ispgraph.resolvers.once import once, told
from ispgraph.schema import roots
from ispgraph.schema.catalogue import (
    CustomField,
    CustomFieldDefinitionInput,
    CustomFieldPayload,
    Package,
    PackageInput,
    PackagePayload,
    TaxProfile,
    TaxProfileInput,
    TaxProfilePayload,
    Zone,
    ZoneInput,
    ZonePayload,
)
from ispgraph.schema.compiler.reading import reading
from ispgraph.schema.context import Info


async def list_packages(
    info: Info, active_only: bool | None = True, connection_type: models.ConnectionType | None = None
) -> list[Package]:
    """Packages, cheapest first. Customers are shown those on offer."""
    on_offer = active_only or info.context.viewer_or_refuse().customer_id is not None
    found: list[Package] = reading(roots.PACKAGES, active_only=on_offer or None, connection_type=connection_type)
    return found


@once()
async def create_package(info: Info, input: PackageInput) -> PackagePayload:
    """Put a package on offer."""
    row: Any = await packages.create(info.context.session, _terms(input), by=info.context.viewer_or_refuse())
    return PackagePayload(package=row)


@once()
async def update_package(info: Info, package_id: strawberry.ID, input: PackageInput) -> PackagePayload:
    """Replace the terms of a package. The jobs tell the network of those who are on line with it."""
    row: Any
    jobs: Any
    row, jobs = await packages.update(
        info.context.session,
        typed_id("pkg", package_id, "packageId"),
        _terms(input),
        by=info.context.viewer_or_refuse(),
    )
    return PackagePayload(package=row, jobs=list(jobs))


async def list_tax_profiles(info: Info) -> list[TaxProfile]:
    """Tax profiles by name."""
    found: list[TaxProfile] = reading(roots.TAX_PROFILES)
    return found


@once()
async def save_tax_profile(info: Info, input: TaxProfileInput) -> TaxProfilePayload:
    """Make a tax profile, or change one; invoices already made keep their rates."""
    row: Any = await tax_profiles.save(
        info.context.session,
        optional_id("tax", input.id, "input", "id"),
        name=input.name,
        rate=input.rate,
        is_default=input.is_default,
        by=info.context.viewer_or_refuse(),
    )
    return TaxProfilePayload(tax_profile=row)


async def list_zones(info: Info) -> list[Zone]:
    """Zones by name."""
    found: list[Zone] = reading(roots.ZONES)
    return found


@once()
async def create_zone(info: Info, input: ZoneInput) -> ZonePayload:
    """Add a zone, on its own or within another."""
    row: Any = await zones.create(
        info.context.session,
        name=input.name,
        code=input.code,
        parent_id=optional_id("zon", input.parent_id, "input", "parentId"),
        by=info.context.viewer_or_refuse(),
    )
    return ZonePayload(zone=row)


async def list_custom_fields(info: Info) -> list[CustomField]:
    """The tenant's own questions, oldest first."""
    found: list[CustomField] = reading(roots.CUSTOM_FIELDS)
    return found


@once()
async def define_custom_field(info: Info, input: CustomFieldDefinitionInput) -> CustomFieldPayload:
    """Ask one more question of every customer."""
    row: Any = await custom_fields.define(
        info.context.session,
        key=input.key,
        label=input.label,
        kind=input.type,
        required=input.required,
        options=input.options,
        by=info.context.viewer_or_refuse(),
    )
    return CustomFieldPayload(field=row)


def _terms(given: PackageInput) -> packages.Terms:
    terms = told(given)
    fup = None if given.fup is None else packages.FairUse(**terms["fup"])
    tax_profile_id = optional_id("tax", given.tax_profile_id, "input", "taxProfileId")
    return packages.Terms(**{**terms, "fup": fup, "tax_profile_id": tax_profile_id})


@strawberry.type
class CatalogueQueries:
    packages: list[Package] = query(list_packages, SIGNED_IN)
    tax_profiles: list[TaxProfile] = query(list_tax_profiles, SIGNED_IN)
    zones: list[Zone] = query(list_zones, SIGNED_IN)
    custom_fields: list[CustomField] = query(list_custom_fields, SIGNED_IN)


@strawberry.type
class CatalogueMutations:
    package_create: PackagePayload = action(create_package, Permission.MANAGE_PACKAGES)
    package_update: PackagePayload = action(update_package, Permission.MANAGE_PACKAGES)
    tax_profile_save: TaxProfilePayload = action(save_tax_profile, Permission.MANAGE_SETTINGS)
    zone_create: ZonePayload = action(create_zone, Permission.MANAGE_ZONES)
    custom_field_define: CustomFieldPayload = action(define_custom_field, Permission.MANAGE_SETTINGS)
