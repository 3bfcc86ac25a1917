"""The spec: what tenantry.toml says. Read with pydantic; names are resolved against a schema in planning."""

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


def _like(pattern: str, words: str) -> AfterValidator:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"this must be {words}")
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
    """A piece of TOML in which every key stands."""


class Orphans(StrEnum):
    """What becomes of rows that no path brings to a tenant."""

    FAIL = "fail"
    DEFAULT = "default"
    QUARANTINE = "quarantine"
    SHARED = "shared"


class TenantRowPart(Part):
    """[[tenant.rows]]: a tenant that is added in expand where the tenant table lacks it, so that assign can name it."""

    slug: Slug
    """Its slug."""
    name: str | None = Field(default=None, min_length=1)
    """What people call it; the slug unless given."""
    example: ClassVar[str] = """
        [[tenant.rows]]
        slug = "north"
        name = "North Trading"

        [[tenant.rows]]
        slug = "south"
    """


class TenantPart(Part):
    """[tenant]: the table with one row per tenant, and the column that will name it everywhere."""

    table: str
    """The tenant table, named as in SQL."""
    key: str = "id"
    """Its column that names a tenant everywhere: unique, and a uuid, an integer or text."""
    slug: str = "slug"
    """Its column by which people name a tenant."""
    column: str = "tenant_id"
    """The tenant column that owned tables get."""
    setting: Setting = "app.tenant_id"
    """The setting by which an application says in a transaction whom it serves."""
    default: str | None = None
    """The slug of the tenant for rows that no path reaches; it is made where there is none."""
    quarantine: str = "quarantine"
    """The slug of the tenant for rows of tables with orphans = "quarantine"; no application can choose it."""
    create: bool = False
    """Make the tenant table, with a uuid key, slug, name and status, where there is none."""
    csv: str | None = None
    """A file of tenants, as in rows: the columns slug and, where wanted, name; its path is relative to the spec."""
    rows: tuple[TenantRowPart, ...] = ()
    """Tenants that are added in expand where the table lacks them."""
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
    """[application]: the role that serves tenants, and the roles that keep their sight until contract."""

    role: str = "tenantry_app"
    """The role that serves tenants; it is made where there is none."""
    legacy_roles: tuple[str, ...] = ()
    """Roles that see all rows until contract."""
    api_keys: bool = False
    """Keep API keys, which `tenantry keys` makes and the application looks up to know whose a request is."""
    example: ClassVar[str] = """
        [application]
        role         = "shop_web"
        legacy_roles = ["shop_old"]
        api_keys     = true
    """


class OperatorPart(Part):
    """[operator]: the role that migrates and maintains; the owner of the tables unless set."""

    role: str | None = None
    """The role that migrates and maintains; unset, the owner of most owned tables."""
    example: ClassVar[str] = """
        [operator]
        role = "shop_owner"
    """


class LimitsPart(Part):
    """[limits]: what validate and verify call unreasonable."""

    largest_share: float = Field(default=0.9, gt=0, le=1)
    """The share of a table's rows that one tenant may have."""
    policy_cost: float = Field(default=1.5, gt=0)
    """How many times the time of a query without policies it may take under them."""
    unused_index_days: int = Field(default=30, ge=0)
    """After how many days without use an index is named."""
    example: ClassVar[str] = """
        [limits]
        largest_share     = 0.5
        policy_cost       = 2.0
        unused_index_days = 90
    """


class LocksPart(Part):
    """[locks]: seconds that a statement may wait for a lock, and that all its tries together may take."""

    timeout: float = Field(default=2.0, gt=0)
    """Seconds that a statement may wait for a lock, with writers behind it."""
    budget: float = Field(default=600.0, gt=0)
    """Seconds that all its tries together may take."""
    example: ClassVar[str] = """
        [locks]
        timeout = 0.5
        budget  = 3600
    """


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


_SIZE = WithJsonSchema({"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, _TEXT]})


class BackupPart(Part):
    """[backup]: up to which size, such as "10GB", a backup is made without asking, and where dumps are put."""

    max_size: Annotated[int, BeforeValidator(_size), _SIZE] = Field(default=MAX_SIZE, gt=0)
    """Up to which size, such as "10GB", a backup is made without asking."""
    folder: str = "backups"
    """Where dumps are put."""
    example: ClassVar[str] = """
        [backup]
        max_size = "50GB"
        folder   = "/var/backups/shop"
    """


class HousekeepingPart(Part):
    """[housekeeping]: after how many days logs and reports are packed, what is packed is removed, and rows of the
    journal go; the newest `backups_kept` backups, and those younger than `backups` days, stay."""

    logs: int = Field(default=30, ge=0)
    """Days after which logs are packed."""
    reports: int = Field(default=30, ge=0)
    """Days after which reports are packed."""
    archives: int = Field(default=365, ge=0)
    """Days after which what is packed is removed."""
    backups: int = Field(default=30, ge=0)
    """Days for which a backup stays."""
    backups_kept: int = Field(default=3, ge=1)
    """The newest backups, which stay whatever their age."""
    journal: int = Field(default=365, ge=1)
    """Days for which the journal keeps its rows."""
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
    """Where ownership is not in the foreign keys: exactly one way."""

    csv: str | None = None
    """A file with the columns of the primary key and `tenant`, a slug or a key; its path is relative to the spec."""
    column: str | None = None
    """A column that holds a slug or a key."""
    sql: str | None = None
    """An expression over the row that gives a slug or a key."""
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
    """[[table]]: how one table's rows find their tenant."""

    name: str
    """The table, named as in SQL; without a schema, in the first of `schemas`."""
    paths: tuple[Path_, ...] = ()
    """The ways to the tenant: foreign-key columns, hop by hop, to an owned table or the tenant table; a hop of two
    columns is a list. Of several, the first that ends in a tenant gives it, and all that do must agree."""
    children: tuple[str, ...] = ()
    """Foreign keys of children, as table.column, whose rows tell the owner; all of them must agree."""
    assign: Assign | None = None
    """How rows find their tenant where no foreign key says so: csv, column, sql or tenant."""
    shared: bool | Literal["write"] = False
    """true: all tenants read the table, and none may write it. "write": all tenants read and write it."""
    membership: str | None = None
    """The link table, an owned one, that says which tenants a row belongs to: each of them reads it. The operator makes
    rows and links, and takes them away."""
    writable: bool = False
    """With membership: a tenant may also change the rows that belong to it, for all others to which they belong."""
    orphans: Orphans = Orphans.FAIL
    """What becomes of rows that find no tenant: "fail", "default", "quarantine", or "shared": all tenants read them."""
    unique: tuple[str, ...] = ()
    """Unique constraints and indexes that hold within a tenant from contract on; others stay global."""
    column: str | None = None
    """Another name for the tenant column of this table."""
    undecided: str | None = None
    """Why nobody has decided yet; migrate waits until the line is gone."""
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
        ways = (bool(self.paths) or bool(self.children)) + (self.assign is not None) + bool(self.shared)
        if self.membership is not None and (
            ways or self.unique or self.column is not None or self.orphans is not Orphans.FAIL
        ):
            raise ValueError(
                "a table with membership has no paths, children, assign, shared, orphans, unique or column"
            )
        if self.writable and self.membership is None:
            raise ValueError("writable needs membership: every tenant may write the rows of an owned table anyway")
        if self.undecided is None and ways == 0 and self.membership is None:
            raise ValueError("is empty: set paths, children, assign, membership, or shared = true")
        if self.shared and (ways > 1 or self.unique or self.orphans is not Orphans.FAIL):
            raise ValueError("a shared table has no paths, children, assign, orphans or unique")
        if self.assign is not None and (self.paths or self.children):
            raise ValueError("set paths and children, or assign, not both")
        return self


class ReferencePart(Part):
    """[[reference]]: a foreign key that the database does not know, or, with `crosses`, one along which a row may refer
    to another tenant's row; columns as `table.column`. `to` may be left out where the database knows the key."""

    model_config = ConfigDict(populate_by_name=True)

    child: str = Field(alias="from")
    """The column that refers, as table.column."""
    parent: str | None = Field(default=None, alias="to")
    """The column that it refers to, where the database does not know the key."""
    crosses: bool = False
    """Rows may refer to another tenant's row: the key tells no tenant and is held by none of our constraints. The
    application of the row's tenant sees nothing of the row that it refers to."""
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
    """[[rule]]: a business rule, as what breaks it: a condition over the row `t`, or a query of the offending rows."""

    name: RuleName
    """What findings of it are called."""
    table: str
    """The table that it is about."""
    violates: str | None = None
    """A condition over the row `t` that is true of rows that break the rule."""
    query: str | None = None
    """A query of the rows that break the rule."""
    severity: Literal["error", "warning", "info"] = "error"
    """How bad it is."""
    remedy: str = ""
    """What to do, in a sentence."""
    fix: str | None = None
    """Assignments that correct a row; `verify --fix-issues` makes them."""
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
    """[[accept]]: a finding that somebody has looked at and that stays; without `table` those of all tables."""

    check: str
    """The finding's name, as validate and verify write it."""
    table: str | None = None
    """The table that it is about."""
    reason: str = Field(min_length=1)
    """Why it stays, as reports show it."""
    example: ClassVar[str] = """
        [[accept]]
        check  = "reference-cycle"
        table  = "partners"
        reason = "a partner may be its own head office"
    """


class LedgerPart(Part):
    """[[ledger]]: a ledger and the balances that follow it; `hot_keys` is the number of slots among which the writers
    of a key are spread, 0 for one row a key."""

    table: str
    """The ledger: one row a movement."""
    balance: str
    """What readers query: one row a key."""
    key: tuple[str, ...] = Field(min_length=1)
    """The columns of the ledger by which it is summed."""
    quantity: str = "quantity"
    """The column that is summed."""
    threshold: float = Field(default=0.01, ge=0)
    """Differences up to this one are corrected by reconcile, larger ones go to review."""
    total_limit: float = Field(default=0.1, ge=0)
    """How much of a key may be corrected in all without review."""
    non_negative: bool = False
    """Refuse movements that would bring a balance below zero."""
    hot_keys: int = Field(default=0, ge=0, le=1000)
    """The slots among which the writers of a key are spread; 0 for one row a key."""
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
    """The whole of tenantry.toml."""

    version: Literal[1] = 1
    """Of the format."""
    schemas: tuple[str, ...] = Field(default=("public",), min_length=1)
    """The schemas that the spec is about; tables without a schema are in the first."""
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
