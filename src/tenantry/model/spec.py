"""The spec: the pydantic models of tenantry.toml. Names are resolved against a schema in planning."""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from tenantry.errors import UsageError
from tenantry.model.backup import MAX_SIZE
from tenantry.model.correction import corrections
from tenantry.model.size import parse_size
from tenantry.model.spec_errors import sentences

Hop = tuple[str, ...]
"""The foreign-key columns of one hop; most have one."""


def _hop(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _like(pattern: str, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"this must be {what}")
        return value

    return AfterValidator(check)


Setting = Annotated[
    str, _like(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+", "words with dots: app.tenant_id")
]


def is_slug(text: str) -> bool:
    """Whether a text can be the slug of a tenant."""
    return bool(text.strip()) and text == text.strip() and text.isprintable()


def _check_slug(value: str) -> str:
    if not is_slug(value):
        raise ValueError("this must be a short name without spaces at its ends")
    return value


Slug = Annotated[str, AfterValidator(_check_slug)]
RuleName = Annotated[str, _like(r"[a-z0-9]+(-[a-z0-9]+)*", "in lower case, its words joined by hyphens")]
_TEXT = {"type": "string"}
_HOP = WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]})
Path_ = tuple[Annotated[Hop, BeforeValidator(_hop), _HOP], ...]


class Part(BaseModel):
    """A table of the TOML file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    example: ClassVar[str]
    """TOML that sets every key of the section, for the documentation."""


class Orphans(StrEnum):
    """What happens to rows that no path leads to a tenant."""

    FAIL = "fail"
    DEFAULT = "default"
    QUARANTINE = "quarantine"
    SHARED = "shared"


class TenantRowPart(Part):
    """[[tenant.rows]]: a tenant that expand adds to the tenant table if it is missing, so that assign can name it."""

    slug: Slug
    """Its slug."""
    name: str | None = Field(default=None, min_length=1)
    """Its display name; by default the slug."""
    example: ClassVar[str] = """
        [[tenant.rows]]
        slug = "north"
        name = "North Trading"

        [[tenant.rows]]
        slug = "south"
    """


class TenantPart(Part):
    """[tenant]: the table with one row per tenant, and the column that every owned table gets."""

    table: str
    """The tenant table, named as in SQL."""
    key: str = "id"
    """The column of the tenant table that identifies a tenant: unique, and of type uuid, integer or text."""
    slug: str = "slug"
    """The column of the tenant table with the short name that commands and messages use for a tenant."""
    column: str = "tenant_id"
    """The name of the tenant column in owned tables."""
    setting: Setting = "app.tenant_id"
    """The setting (GUC) that the application sets to the tenant's key in each transaction."""
    default: str | None = None
    """The slug of the tenant for rows that no path reaches; it is created if it does not exist."""
    quarantine: str = "quarantine"
    """The slug of the tenant for the orphans of tables with orphans = "quarantine"; no application can choose it."""
    create: bool = False
    """Create the tenant table, with a uuid key, slug, name and status, if it does not exist."""
    csv: str | None = None
    """A CSV file of tenants to add, with the column slug and optionally name; its path is relative to the spec."""
    rows: tuple[TenantRowPart, ...] = ()
    """Tenants that expand adds if they are missing."""
    example: ClassVar[str] = """
        [tenant]
        table      = "organizations"
        key        = "id"
        slug       = "code"
        column     = "organization_id"
        setting    = "app.organization_id"
        default    = "head-office"
        quarantine = "quarantine"
        create     = true
        csv        = "organizations.csv"
        rows       = [{ slug = "north", name = "North Trading" }, { slug = "south" }]
    """

    @model_validator(mode="after")
    def _once(self) -> TenantPart:
        seen: set[str] = set()
        for row in self.rows:
            if row.slug in seen:
                raise ValueError(f"two of the rows have the slug {row.slug!r}")
            seen.add(row.slug)
        return self


class ApplicationPart(Part):
    """[application]: the role of the new application, and the roles that see all rows until contract."""

    role: str = "tenantry_app"
    """The role of the new application; it is created if it does not exist."""
    legacy_roles: tuple[str, ...] = ()
    """Roles of the old application, which see all rows until contract."""
    api_keys: bool = False
    """Create the table of API keys. `tenantry keys` creates keys, and the application finds the tenant of a request by
    them."""
    example: ClassVar[str] = """
        [application]
        role         = "shop_web"
        legacy_roles = ["shop_old"]
        api_keys     = true
    """


class OperatorPart(Part):
    """[operator]: the role that runs tenantry; by default the owner of the tables."""

    role: str | None = None
    """The role that runs tenantry; by default the owner of most owned tables."""
    example: ClassVar[str] = """
        [operator]
        role = "shop_owner"
    """


class LimitsPart(Part):
    """[limits]: thresholds of validate and verify."""

    largest_share: float = Field(default=0.9, gt=0, le=1)
    """The largest share of a table's rows that one tenant may have."""
    policy_cost: float = Field(default=1.5, gt=0)
    """The factor by which a query may take longer with policies than without them."""
    unused_index_days: int = Field(default=30, ge=0)
    """Days without use after which an index is reported."""
    example: ClassVar[str] = """
        [limits]
        largest_share     = 0.5
        policy_cost       = 2.0
        unused_index_days = 90
    """


class LocksPart(Part):
    """[locks]: time limits for lock waits."""

    timeout: float = Field(default=2.0, gt=0)
    """Seconds for which one attempt may wait for its locks; writers of the table queue behind it."""
    budget: float = Field(default=600.0, gt=0)
    """Seconds that all attempts of a statement together may take."""
    example: ClassVar[str] = """
        [locks]
        timeout = 0.5
        budget  = 3600
    """


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


_SIZE = WithJsonSchema({"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, _TEXT]})


class BackupPart(Part):
    """[backup]: the backups that commands create before they change something."""

    max_size: Annotated[int, BeforeValidator(_size), _SIZE] = Field(default=MAX_SIZE, gt=0)
    """The largest size of the tables that are copied where --backup is not given: bytes, or text such as "10GB"."""
    folder: str = "backups"
    """The folder for dumps, relative to the current folder."""
    example: ClassVar[str] = """
        [backup]
        max_size = "50GB"
        folder   = "/var/backups/shop"
    """


class HousekeepingPart(Part):
    """[housekeeping]: after how many days files are compressed or deleted; the newest `backups_kept` backups, and those
    younger than `backups` days, are kept."""

    logs: int = Field(default=30, ge=0)
    """Days after which logs are compressed."""
    reports: int = Field(default=30, ge=0)
    """Days after which reports are compressed."""
    archives: int = Field(default=365, ge=0)
    """Days after which compressed files are deleted."""
    backups: int = Field(default=30, ge=0)
    """Days after which a backup is deleted."""
    backups_kept: int = Field(default=3, ge=1)
    """The number of newest backups that are kept whatever their age."""
    journal: int = Field(default=365, ge=1)
    """Days after which runs and their events are deleted from the journal."""
    example: ClassVar[str] = """
        [housekeeping]
        logs         = 14
        reports      = 90
        archives     = 365
        backups      = 60
        backups_kept = 5
        journal      = 730
    """


class Assign(Part):
    """How rows get their tenant if no foreign key leads to one. Exactly one of these keys is given."""

    csv: str | None = None
    """A CSV file with the columns of the primary key and `tenant`, a slug or key; its path is relative to the spec."""
    column: str | None = None
    """A column of the table that contains a slug or key."""
    sql: str | None = None
    """An SQL expression over the row that gives a slug or key."""
    tenant: str | None = None
    """The slug of the tenant of all rows."""
    example: ClassVar[str] = """
        [[table]]
        name   = "branches"
        assign = { csv = "branches.csv" }

        [[table]]
        name   = "letters"
        assign = { column = "region_code" }

        [[table]]
        name   = "parcels"
        assign = { sql = "lower(split_part(number, '-', 1))" }

        [[table]]
        name   = "archive"
        assign = { tenant = "head-office" }
    """

    @model_validator(mode="after")
    def _one(self) -> Assign:
        if sum(value is not None for value in (self.csv, self.column, self.sql, self.tenant)) != 1:
            raise ValueError("give exactly one of csv, column, sql or tenant")
        return self


class TablePart(Part):
    """[[table]]: how the tenant of each row of a table is determined."""

    name: str
    """The table, named as in SQL; without a schema it is in the first of `schemas`."""
    paths: tuple[Path_, ...] = ()
    """Paths to the tenant. Each is a list of foreign-key columns, hop by hop, that ends at an owned table or the tenant
    table; a hop of two columns is a list of its own. The first path that leads to a tenant determines it, and all that
    lead to one must agree."""
    children: tuple[str, ...] = ()
    """Foreign keys of child tables, as table.column: a row has the tenant of its children, which must all agree."""
    assign: Assign | None = None
    """How rows get their tenant if no foreign key leads to it: csv, column, sql or tenant."""
    shared: bool | Literal["write"] = False
    """true: all tenants read the table and none may write it. "write": all tenants read and write it."""
    membership: str | None = None
    """The link table, an owned table, that names the tenants of a row; each of them reads it. Only the operator adds
    and deletes rows and links."""
    writable: bool = False
    """With membership: a tenant may also change its rows; the change applies to all tenants to which they belong."""
    orphans: Orphans = Orphans.FAIL
    """What happens to rows without a tenant: "fail" (the run is refused), "default" or "quarantine" (they get that
    tenant), "shared" (all tenants read them)."""
    unique: tuple[str, ...] = ()
    """Unique constraints and indexes that become per-tenant in contract; others stay global."""
    column: str | None = None
    """The name of this table's tenant column, if it differs from [tenant] column."""
    undecided: str | None = None
    """Why no decision was made for this table; migrate refuses to run until the line is replaced by one."""
    example: ClassVar[str] = """
        [[table]]
        name    = "sales.orders"
        paths   = [["customer_id"], ["branch_id", "region_id"]]
        orphans = "default"
        unique  = ["orders_number_key"]
        column  = "owner_id"

        [[table]]
        name     = "lots"
        children = ["movements.lot_id"]

        [[table]]
        name   = "letters"
        assign = { column = "region_code" }

        [[table]]
        name   = "units"
        shared = true

        [[table]]
        name       = "products"
        membership = "product_channels"
        writable   = true

        [[table]]
        name      = "notes"
        undecided = "nobody knows whose they are"
    """

    @model_validator(mode="after")
    def _decided(self) -> TablePart:
        sources = (bool(self.paths) or bool(self.children)) + (self.assign is not None) + bool(self.shared)
        if self.membership is not None and (
            sources or self.unique or self.column is not None or self.orphans is not Orphans.FAIL
        ):
            raise ValueError(
                "a table with membership has no paths, children, assign, shared, orphans, unique or column"
            )
        if self.writable and self.membership is None:
            raise ValueError("writable needs membership: every tenant may write the rows of an owned table anyway")
        if self.undecided is None and sources == 0 and self.membership is None:
            raise ValueError("is empty: set paths, children, assign, membership, or shared = true")
        if self.shared and (sources > 1 or self.unique or self.orphans is not Orphans.FAIL):
            raise ValueError("a shared table has no paths, children, assign, orphans or unique")
        if self.assign is not None and (self.paths or self.children):
            raise ValueError("set paths and children, or assign, not both")
        return self


class ReferencePart(Part):
    """[[reference]]: a reference without a foreign key in the database, or, with `crosses`, a foreign key by which a
    row may refer to another tenant's row. Columns are given as `table.column`."""

    model_config = ConfigDict(populate_by_name=True)

    child: str = Field(alias="from")
    """The referring column, as table.column."""
    parent: str | None = Field(default=None, alias="to")
    """The column that it refers to; required if the database has no foreign key for it."""
    crosses: bool = False
    """Rows may refer to another tenant's row: the key determines no tenant, and no constraint keeps it within one. The
    referring tenant does not see the row that it refers to."""
    example: ClassVar[str] = """
        [[reference]]
        from = "movements.item_code"
        to   = "items.code"

        [[reference]]
        from    = "invoices.entered_by"
        crosses = true
    """

    @model_validator(mode="after")
    def _ends(self) -> ReferencePart:
        if self.parent is None and not self.crosses:
            raise ValueError("set to, the table.column that it refers to; or crosses = true for a declared foreign key")
        return self


class RulePart(Part):
    """[[rule]]: a business rule, given by a condition on the rows that break it, or by a query that selects them."""

    name: RuleName
    """The name of the rule's findings."""
    table: str
    """The table that it applies to."""
    violates: str | None = None
    """A condition on the row `t` that is true for rows that break the rule."""
    query: str | None = None
    """A query that selects the rows that break the rule."""
    severity: Literal["error", "warning", "info"] = "error"
    """The severity of its findings: error, warning or info."""
    remedy: str = ""
    """What to do about a finding, as a sentence."""
    fix: str | None = None
    """Assignments that correct a row, for `verify --fix-issues`."""
    example: ClassVar[str] = """
        [[rule]]
        name     = "no-negative-stock"
        table    = "lots"
        violates = "quantity < 0"
        severity = "error"
        remedy   = "Count the lot again."
        fix      = "quantity = 0"

        [[rule]]
        name  = "one-open-period"
        table = "periods"
        query = "SELECT year FROM periods WHERE open GROUP BY year HAVING count(*) > 1"
    """

    @model_validator(mode="after")
    def _one(self) -> RulePart:
        if (self.violates is None) == (self.query is None):
            raise ValueError("set violates, a condition over the row, or query, which selects the rows that violate it")
        if self.fix is not None:
            if self.violates is None:
                raise ValueError("only a rule with violates can have a fix, which checks each row again before it")
            corrections(self.fix)
        return self


class AcceptPart(Part):
    """[[accept]]: a finding that is shown but does not change the exit status; without `table`, on all tables."""

    check: str
    """The name of the finding, as validate and verify print it."""
    table: str | None = None
    """The table that it applies to."""
    reason: str = Field(min_length=1)
    """Why it is accepted; reports show it."""
    example: ClassVar[str] = """
        [[accept]]
        check  = "reference-cycle"
        table  = "partners"
        reason = "a partner may be its own head office"
    """


class LedgerPart(Part):
    """[[ledger]]: a ledger and the balances that are kept of it."""

    table: str
    """The ledger table, with one row per movement."""
    balance: str
    """The view that readers query, with one row per key."""
    key: tuple[str, ...] = Field(min_length=1)
    """The columns of the ledger that form the key of a balance."""
    quantity: str = "quantity"
    """The column of the ledger whose values are added up."""
    threshold: float = Field(default=0.01, ge=0)
    """Smaller differences, in units of `quantity`, are corrected by reconcile; others go to review."""
    total_limit: float = Field(default=0.1, ge=0)
    """The largest sum of corrections of one key without a review, in units of `quantity`."""
    non_negative: bool = False
    """Refuse statements that would bring a balance below zero."""
    hot_keys: int = Field(default=0, ge=0, le=1000)
    """The number of rows among which the writers of a key are distributed; 0 for one row per key."""
    example: ClassVar[str] = """
        [[ledger]]
        table        = "movements"
        balance      = "balances"
        key          = ["organization_id", "item_id"]
        quantity     = "quantity"
        threshold    = 0.01
        total_limit  = 0.1
        non_negative = false
        hot_keys     = 8
    """

    @model_validator(mode="after")
    def _exact(self) -> LedgerPart:
        if self.non_negative and self.hot_keys:
            raise ValueError("non_negative needs one row for each key: set hot_keys = 0")
        return self


class Spec(Part):
    """The contents of tenantry.toml."""

    version: Literal[1] = 1
    """The version of the format."""
    schemas: tuple[str, ...] = Field(default=("public",), min_length=1)
    """The schemas of the spec; a table named without a schema is in the first one."""
    example: ClassVar[str] = """
        version = 1
        schemas = ["public", "sales"]
    """
    tenant: TenantPart
    application: ApplicationPart = ApplicationPart()
    operator: OperatorPart = OperatorPart()
    limits: LimitsPart = LimitsPart()
    locks: LocksPart = LocksPart()
    backup: BackupPart = BackupPart()
    housekeeping: HousekeepingPart = HousekeepingPart()
    table: tuple[TablePart, ...] = ()
    reference: tuple[ReferencePart, ...] = ()
    rule: tuple[RulePart, ...] = ()
    ledger: tuple[LedgerPart, ...] = ()
    accept: tuple[AcceptPart, ...] = ()
    _path: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _names(self) -> Spec:
        seen: set[str] = set()
        for rule in self.rule:
            if rule.name in seen:
                raise ValueError(f"two rules have the name {rule.name!r}")
            seen.add(rule.name)
        return self

    @property
    def path(self) -> Path | None:
        """The file that it was read from."""
        return self._path

    @classmethod
    def read(cls, path: Path) -> Spec:
        """Read a spec file. Raises UsageError that names the file, the key and the nearest valid name."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"cannot read the spec {path}: {error.strerror or error}",
                remedy="Run `tenantry discover --output tenantry.toml`, or give a spec with --config or --preset.",
            ) from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not UTF-8 text: {error}") from error
        return cls.parse(text, path=path)

    @classmethod
    def parse(cls, text: str, *, path: Path | None = None) -> Spec:
        """Read a spec from TOML text. Raises UsageError."""
        source = str(path or "the spec")
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{source} is not TOML: {error}") from error
        try:
            spec = cls.model_validate(document)
        except ValidationError as error:
            details = tuple(sentences(error, document, cls))
            raise UsageError(
                f"{source}: {details[0]}", details=details[1:], remedy="Correct the spec, and run the command again."
            ) from error
        spec._path = path
        return spec
