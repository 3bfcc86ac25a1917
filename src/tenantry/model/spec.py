"""The spec: what tenantry.toml says. Read with pydantic; names are resolved against a schema in planning."""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
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
            raise ValueError(f"this has to be {words}")
        return value

    return AfterValidator(check)


Setting = Annotated[
    str, _like(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+", "words with dots: app.tenant_id")
]
RuleName = Annotated[str, _like(r"[a-z0-9]+(-[a-z0-9]+)*", "in lower case, its words joined by hyphens")]
Path_ = tuple[Annotated[Hop, BeforeValidator(_hop)], ...]


class Part(BaseModel):
    """A table of the TOML file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Orphans(StrEnum):
    """What becomes of rows that no path brings to a tenant."""

    FAIL = "fail"
    DEFAULT = "default"
    QUARANTINE = "quarantine"
    SHARED = "shared"


class TenantPart(Part):
    """[tenant]: the table with one row per tenant, and the column that will name it everywhere."""

    table: str
    key: str = "id"
    slug: str = "slug"
    column: str = "tenant_id"
    setting: Setting = "app.tenant_id"
    default: str | None = None
    quarantine: str = "quarantine"
    create: bool = False


class ApplicationPart(Part):
    """[application]: the role that serves tenants, and the roles that keep their sight until contract."""

    role: str = "tenantry_app"
    legacy_roles: tuple[str, ...] = ()


class OperatorPart(Part):
    """[operator]: the role that migrates and maintains; the owner of the tables unless set."""

    role: str | None = None


class LimitsPart(Part):
    """[limits]: what validate and verify call unreasonable."""

    largest_share: float = Field(default=0.9, gt=0, le=1)
    policy_cost: float = Field(default=1.5, gt=0)
    unused_index_days: int = Field(default=30, ge=0)


class LocksPart(Part):
    """[locks]: seconds that a statement may wait for a lock, and that all its tries together may take."""

    timeout: float = Field(default=2.0, gt=0)
    budget: float = Field(default=600.0, gt=0)


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


class BackupPart(Part):
    """[backup]: up to which size, such as "10GB", a backup is made without asking, and where dumps are put."""

    max_size: Annotated[int, BeforeValidator(_size)] = Field(default=MAX_SIZE, gt=0)
    folder: str = "backups"


class HousekeepingPart(Part):
    """[housekeeping]: after how many days logs and reports are packed, what is packed is removed, and rows of the
    journal go; the newest `backups_kept` backups, and those younger than `backups` days, stay."""

    logs: int = Field(default=30, ge=0)
    reports: int = Field(default=30, ge=0)
    archives: int = Field(default=365, ge=0)
    backups: int = Field(default=30, ge=0)
    backups_kept: int = Field(default=3, ge=1)
    journal: int = Field(default=365, ge=1)


class Assign(Part):
    """Where ownership is not in the foreign keys: exactly one way."""

    csv: str | None = None
    column: str | None = None
    sql: str | None = None
    tenant: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Assign:
        if sum(value is not None for value in (self.csv, self.column, self.sql, self.tenant)) != 1:
            raise ValueError("give exactly one of csv, column, sql or tenant")
        return self


class TablePart(Part):
    """[[table]]: how one table's rows find their tenant."""

    name: str
    paths: tuple[Path_, ...] = ()
    children: tuple[str, ...] = ()
    assign: Assign | None = None
    shared: bool | Literal["write"] = False
    orphans: Orphans = Orphans.FAIL
    unique: tuple[str, ...] = ()
    column: str | None = None
    undecided: str | None = None

    @model_validator(mode="after")
    def _decided(self) -> TablePart:
        ways = (bool(self.paths) or bool(self.children)) + (self.assign is not None) + bool(self.shared)
        if self.undecided is None and ways == 0:
            raise ValueError("says nothing: give paths, children, assign, or shared = true")
        if self.shared and (ways > 1 or self.unique or self.orphans is not Orphans.FAIL):
            raise ValueError("a shared table has no paths, children, assign, orphans or unique")
        if self.assign is not None and (self.paths or self.children):
            raise ValueError("give paths and children, or assign, not both")
        return self


class ReferencePart(Part):
    """[[reference]]: a foreign key that the database does not know, or, with `crosses`, one along which a row may refer
    to another tenant's row; columns as `table.column`. `to` may be left out where the database knows the key."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    child: str = Field(alias="from")
    parent: str | None = Field(default=None, alias="to")
    crosses: bool = False

    @model_validator(mode="after")
    def _ends(self) -> ReferencePart:
        if self.parent is None and not self.crosses:
            raise ValueError("give to, the table.column that it refers to, or crosses = true for a key that is there")
        return self


class RulePart(Part):
    """[[rule]]: a business rule, as what breaks it: a condition over the row `t`, or a query of the offending rows."""

    name: RuleName
    table: str
    violates: str | None = None
    query: str | None = None
    severity: Literal["error", "warning", "info"] = "error"
    remedy: str = ""
    fix: str | None = None

    @model_validator(mode="after")
    def _one(self) -> RulePart:
        if (self.violates is None) == (self.query is None):
            raise ValueError("give violates, a condition over the row, or query, which selects the rows that break it")
        if self.fix is not None:
            if self.violates is None:
                raise ValueError("only a rule with violates can have a fix: each row is looked at again before it")
            corrections(self.fix)
        return self


class AcceptPart(Part):
    """[[accept]]: a finding that somebody has looked at and that stays; without `table` those of all tables."""

    check: str
    table: str | None = None
    reason: str = Field(min_length=1)


class LedgerPart(Part):
    """[[ledger]]: a ledger and the balances that follow it; `hot_keys` is the number of slots among which the writers
    of a key are spread, 0 for one row a key."""

    table: str
    balance: str
    key: tuple[str, ...] = Field(min_length=1)
    quantity: str = "quantity"
    threshold: float = Field(default=0.01, ge=0)
    total_limit: float = Field(default=0.1, ge=0)
    non_negative: bool = False
    hot_keys: int = Field(default=0, ge=0, le=1000)

    @model_validator(mode="after")
    def _exact(self) -> LedgerPart:
        if self.non_negative and self.hot_keys:
            raise ValueError("non_negative needs one row a key, so hot_keys has to be 0")
        return self


class Spec(Part):
    """The whole of tenantry.toml."""

    version: Literal[1] = 1
    schemas: tuple[str, ...] = Field(default=("public",), min_length=1)
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
                remedy="Run `tenantry discover --output tenantry.toml`, or name a spec with --config or --preset.",
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
                f"{source}: {details[0]}", details=details[1:], remedy="Correct it and run again."
            ) from error
        spec._path = path
        return spec
