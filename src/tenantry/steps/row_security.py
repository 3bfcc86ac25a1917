"""Row-level security: enabled, forced, and with its policies, in one transaction for each table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.derivation import BySlug, equal, literal_key
from tenantry.steps.introspection import body, raw
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step
from tenantry.steps.tenant_setting import current_tenant, current_tenant_value

APPLICATION = "tenantry_application"
FLOOR = "tenantry_floor"
OPERATOR = "tenantry_operator"
LEGACY = "tenantry_legacy"
QUARANTINE = "tenantry_quarantine"
EVERY = (
    *(name + ending for name in (APPLICATION, FLOOR) for ending in ("", "_select", "_insert", "_update", "_delete")),
    f"{FLOOR}_member", OPERATOR, LEGACY, QUARANTINE,
)  # fmt: skip
"""The names of all policies that tenantry makes, of whichever sight."""


class Sight(StrEnum):
    """What a tenant may do with the rows of a table."""

    OWN = "own"
    """Its own rows, everything."""
    MIXED = "mixed"
    """Read rows without a tenant as well; write only its own."""
    READ = "read"
    """Read its own row: the tenant table."""
    LINK = "link"
    """Read its own rows, which determine what other rows are its own."""
    MEMBER = "member"
    """Read the rows that a link table assigns to it."""
    WRITING_MEMBER = "writing-member"
    """Change those rows, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipLink:
    """The table that assigns a row to tenants, each by `tenant`: its `columns` refer to `own_columns`."""

    table: Name
    columns: tuple[str, ...]
    own_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    tenant: str

    def of(self, row: sql.Composable) -> sql.Composed:
        """The links `member` of a row, as FROM and WHERE."""
        match = equal(row, self.own_columns, sql.Identifier("member"), self.columns, self.operators)
        return sql.SQL("FROM {} AS member WHERE {}").format(self.table.identifier, match)

    def leads_to(self, row: sql.Composable, key: sql.Composable) -> sql.Composed:
        """A condition: `row` belongs to the tenant with this key, by the links that the reader may see."""
        return sql.SQL("EXISTS (SELECT {} AND member.{} = {})").format(
            self.of(row), sql.Identifier(self.tenant), key
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One policy: for which roles and command, which rows it shows (USING), and which it accepts (WITH CHECK). No
    `roles` means PUBLIC."""

    command: str
    using: sql.Composable | None = None
    check: sql.Composable | None = None
    permissive: bool = True
    roles: tuple[str, ...] = ()

    @property
    def sql(self) -> sql.Composed:
        """The text after `CREATE POLICY name ON table`."""
        roles = sql.SQL(", ").join(map(sql.Identifier, self.roles)) if self.roles else sql.SQL("PUBLIC")
        parts = [
            sql.SQL("AS PERMISSIVE" if self.permissive else "AS RESTRICTIVE"),
            sql.SQL("FOR {} TO {}").format(raw(self.command), roles),
        ]
        if self.using is not None:
            parts.append(sql.SQL("USING ({})").format(self.using))
        if self.check is not None:
            parts.append(sql.SQL("WITH CHECK ({})").format(self.check))
        return sql.SQL(" ").join(parts)


EVERYTHING = sql.SQL("true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policies of one table, made from what each role may see."""

    column: str
    type: str
    setting: str
    sight: Sight
    role: str
    exempt: tuple[str, ...]
    """Roles to which the floor does not apply: operators and, until contract, legacy roles."""
    table: Name
    link: MembershipLink | None = None
    direct: bool = False
    """Without a subquery, for an engine that refuses subqueries in policies."""
    sentinel: str | None = None
    """The key, as text, of the sentinel tenant, to which rows of all tenants belong."""
    nulls: bool = True
    """Rows of a mixed table without a tenant are shown."""

    @property
    def _mine(self) -> sql.Composed:
        value = current_tenant_value if self.direct else current_tenant
        return sql.SQL("{} = {}").format(sql.Identifier(self.column), value(self.setting, self.type))

    @property
    def _own(self) -> sql.Composed:
        """A session that names the sentinel as its tenant has no rows of its own."""
        if self.sentinel is None:
            return self._mine
        return sql.SQL("{} AND {} <> {}").format(self._mine, sql.Identifier(self.column), self._everybody)

    @property
    def _everybody(self) -> sql.Composed:
        assert self.sentinel is not None
        return literal_key(self.sentinel, self.type)

    @property
    def _visible(self) -> sql.Composed:
        if self.sight is not Sight.MIXED:
            return self._own
        column = sql.Identifier(self.column)
        seen = [sql.SQL("{} IS NULL").format(column)] if self.nulls else []
        if self.sentinel is not None:
            seen.append(sql.SQL("{} = {}").format(column, self._everybody))
        return sql.SQL(" OR ").join([*seen, self._mine])

    @property
    def _member(self) -> sql.Composed:
        assert self.link is not None
        return self.link.leads_to(self.table.identifier, current_tenant(self.setting, self.type))

    def _members(self, *, floor: bool) -> dict[str, PolicyRule]:
        """The subquery of these policies names the link table, so whoever queries the table needs rights on that as
        well. So they are for the application role alone, and RESTRICTIVE, so that no policy of others can widen them;
        the floor does not filter the application for them."""
        if not floor:
            found = {"_select": PolicyRule(command="SELECT", using=EVERYTHING)}
            if self.sight is Sight.WRITING_MEMBER:
                found["_update"] = PolicyRule(command="UPDATE", using=EVERYTHING, check=EVERYTHING)
            return {ending: replace(rule, roles=(self.role,)) for ending, rule in found.items()}
        member = self._or_exempt(self._member)
        application = replace(self, exempt=(self.role, *self.exempt))._or_exempt(sql.SQL("false").format())
        return {
            "": PolicyRule(command="ALL", using=application, check=application, permissive=False),
            "_member": PolicyRule(command="ALL", using=member, check=member, permissive=False, roles=(self.role,)),
        }

    def _or_exempt(self, condition: sql.Composed) -> sql.Composed:
        """A scalar subquery for each role, evaluated once, so that the index condition stays usable. It refers to roles
        by OID: a role that was dropped or renamed exempts nobody, but its name alone would make every query fail."""
        usage = [
            sql.SQL("(SELECT pg_catalog.pg_has_role(pg_catalog.to_regrole({}), 'usage'))").format(
                sql.Literal(sql.Identifier(role).as_string(None))
            )
            for role in self.exempt
        ]
        return sql.SQL(" OR ").join([condition, *usage])

    def rules(self, *, floor: bool) -> dict[str, PolicyRule]:
        """The policies of the application, or of the floor, by the suffix of their name."""
        if self.link is not None:
            return self._members(floor=floor)
        own = self._or_exempt(self._own) if floor else self._own
        seen = self._or_exempt(self._visible) if floor else self._visible
        roles = () if floor else (self.role,)
        match self.sight:
            case Sight.READ | Sight.LINK if not floor:
                found = {"": PolicyRule(command="SELECT", using=seen)}
            case Sight.OWN | Sight.READ | Sight.LINK:
                found = {"": PolicyRule(command="ALL", using=own, check=own)}
            case Sight.MIXED:
                found = {
                    "_select": PolicyRule(command="SELECT", using=seen),
                    "_insert": PolicyRule(command="INSERT", check=own),
                    "_update": PolicyRule(command="UPDATE", using=own, check=own),
                    "_delete": PolicyRule(command="DELETE", using=own),
                }
        return {ending: replace(rule, permissive=not floor, roles=roles) for ending, rule in found.items()}


def policies_definition(table: Name, names: Sequence[str]) -> sql.Composed:
    """The definition of the policies with these names, if all of them exist and row-level security is enabled and
    forced."""
    return sql.SQL(
        "SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.polname, p.polpermissive, p.polcmd,"
        " (SELECT pg_catalog.array_agg(r.rolname ORDER BY r.rolname) FROM pg_catalog.pg_roles r"
        " WHERE r.oid = ANY (p.polroles)),"
        " pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)),"
        " E'\\n' ORDER BY p.polname)"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid"
        " WHERE c.oid = {} AND c.relrowsecurity AND c.relforcerowsecurity AND p.polname = ANY ({}::text[])"
        " HAVING pg_catalog.count(*) = {}"
    ).format(table.oid, sql.Literal(sorted(names)), sql.Literal(len(names)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSecurity(Step):
    """The policies of the application (PERMISSIVE, for which the indexes are made), the floor (RESTRICTIVE, for
    PUBLIC), and those of operators and legacy roles, which see all rows; then ENABLE and FORCE in the same transaction,
    so that an owner to whom they apply is never without its policy (hazard 13)."""

    kind: Literal["row_security"] = "row_security"
    column: str
    type: str
    setting: str
    sight: Sight
    role: str
    operators: tuple[str, ...]
    """Roles that own or maintain tables: exempt from the floor."""
    filtered: tuple[str, ...] = ()
    """Those operators to which row-level security applies, as they have no BYPASSRLS: they get a policy."""
    legacy: tuple[str, ...] = ()
    link: MembershipLink | None = None
    """For a table whose rows belong to tenants through another table."""
    quarantine: BySlug | None = None
    """The reserved tenant, whose rows the application cannot read even if it names that tenant as its own."""
    compared = True
    carries = True
    category = "row security"
    of_owned = True

    @property
    def key(self) -> str:
        return f"row_security:{self.table}"

    @property
    def title(self) -> str:
        return "enable and force row-level security"

    def renamed(self, names: StaticNames) -> RowSecurity:
        if self.link is None:
            return self
        link = self.link
        return replace(
            self,
            link=replace(
                link, table=names.table(link.table), columns=names.columns(link.table, link.columns),
                own_columns=names.columns(self.table, link.own_columns),
                tenant=names.column(link.table, link.tenant),
            ),
        )  # fmt: skip

    @property
    def locks(self) -> tuple[Lock, ...]:
        link = (Lock(self.link.table, LockMode.ACCESS_SHARE),) if self.link is not None else ()
        return (Lock(self.table, LockMode.ACCESS_EXCLUSIVE), *link)

    def rules(self) -> Policies:
        """The policies of the application and the floor."""
        return Policies(
            column=self.column, type=self.type, setting=self.setting, sight=self.sight, role=self.role,
            exempt=self.operators + self.legacy, table=self.table, link=self.link,
        )  # fmt: skip

    def _policies(self) -> dict[str, sql.Composable]:
        """Each policy's name, and its text after `CREATE POLICY name ON table`."""
        policies = self.rules()
        rules = {APPLICATION + ending: rule for ending, rule in policies.rules(floor=False).items()}
        rules |= {FLOOR + ending: rule for ending, rule in policies.rules(floor=True).items()}
        if self.filtered:
            rules[OPERATOR] = PolicyRule(command="ALL", using=EVERYTHING, check=EVERYTHING, roles=self.filtered)
        if self.legacy:
            rules[LEGACY] = PolicyRule(command="ALL", using=EVERYTHING, check=EVERYTHING, roles=self.legacy)
        return {name: rule.sql for name, rule in rules.items()}

    @property
    def application(self) -> str:
        return self.role

    @property
    def secures(self) -> RowSecurity:
        return self

    @property
    def policies(self) -> tuple[str, ...]:
        return self.names

    @property
    def names(self) -> tuple[str, ...]:
        """Of the policies."""
        return (*self._policies(), *((QUARANTINE,) if self.quarantine is not None else ()))

    def _barred(self, quarantine: BySlug) -> sql.Composed:
        """The policy that hides the quarantine tenant from the application. A subquery in a policy needs rights on its
        tables, so the key is looked up when the policy is created: hence the DO block."""
        policy = sql.SQL("CREATE POLICY {} ON {} AS RESTRICTIVE FOR ALL TO {} USING ({} IS DISTINCT FROM ").format(
            sql.Identifier(QUARANTINE), self.table.identifier, sql.Identifier(self.role), sql.Identifier(self.column)
        )
        again = sql.SQL(") WITH CHECK ({} IS DISTINCT FROM ").format(sql.Identifier(self.column))
        parts = [part.as_string(None).replace("%", "%%") for part in (policy, again)]
        template = sql.Literal("%1$L".join((*parts, ")")))
        key = quarantine.expression(sql.SQL("row"))
        return sql.SQL("DO {}").format(
            body(sql.SQL("BEGIN EXECUTE pg_catalog.format({}, {}); END").format(template, key))
        )

    @property
    def subject(self) -> str:
        return f"The row-level security of {self.table}"

    def definition(self) -> sql.Composable:
        return policies_definition(self.table, self.names)

    def record(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.jsonb_build_object('enabled', c.relrowsecurity, 'forced', c.relforcerowsecurity)"
            " FROM pg_catalog.pg_class c WHERE c.oid = {}"
        ).format(self.table.oid)

    def apply(self) -> tuple[Statement, ...]:
        table = self.table.identifier
        create: list[sql.Composable] = []
        for name, rule in self._policies().items():
            policy = sql.Identifier(name)
            create.append(sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(policy, table))
            create.append(sql.SQL("CREATE POLICY {} ON {} {}").format(policy, table, rule))
        if self.quarantine is not None:
            create.append(sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(sql.Identifier(QUARANTINE), table))
            create.append(self._barred(self.quarantine))
        return (*(Statement(sql=statement, locks=self.locks) for statement in create), *self.enabling)

    @property
    def enabling(self) -> tuple[Statement, ...]:
        """ENABLE and FORCE."""
        return tuple(
            Statement(
                sql=sql.SQL("ALTER TABLE {} {} ROW LEVEL SECURITY").format(self.table.identifier, sql.SQL(mode)),
                locks=self.locks,
            )
            for mode in ("ENABLE", "FORCE")
        )  # fmt: skip

    def revert(self, before: Before) -> tuple[Statement, ...]:
        table = self.table.identifier
        there = sql.SQL("SELECT {} IS NOT NULL").format(self.table.oid)
        away: list[sql.Composable] = []
        if not before.get("forced"):
            away.append(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(table))
        if not before.get("enabled"):
            away.append(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(table))
        away.extend(sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(sql.Identifier(name), table) for name in EVERY)
        return tuple(Statement(sql=statement, locks=self.locks, when=there) for statement in away)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropLegacyPolicies(Step):
    """In contract, legacy roles are no longer exempt: their policy is dropped, and the floor is made without them."""

    kind: Literal["legacy_sight"] = "legacy_sight"
    security: RowSecurity
    """The wanted row-level security from now on."""
    category = "row security"

    @property
    def key(self) -> str:
        return f"legacy_sight:{self.table}"

    @property
    def title(self) -> str:
        return "drop the policies by which legacy roles see all rows"

    @property
    def ends(self) -> tuple[str, ...]:
        return (self.security.key,)

    @property
    def subject(self) -> str:
        return f"The row-level security of {self.table}"

    @property
    def policies(self) -> tuple[str, ...]:
        return self.security.names

    @property
    def supersedes(self) -> bool:
        return True

    def definition(self) -> sql.Composable:
        legacy = sql.SQL("SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = {} AND p.polname = {}").format(
            self.table.oid, sql.Literal(LEGACY)
        )
        return sql.SQL("SELECT found.* FROM ({}) AS found WHERE NOT EXISTS ({})").format(
            self.security.definition(), legacy
        )

    def apply(self) -> tuple[Statement, ...]:
        # Policies of another sight, too: the spec may have changed since the row-level security that this step replaces
        # was made.
        others = [name for name in EVERY if name not in self.security.names]
        drops = (
            sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(sql.Identifier(name), self.table.identifier)
            for name in others
        )
        return (*self.security.apply(), *(Statement(sql=drop, locks=self.security.locks) for drop in drops))

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return ()


_KEY = sql.SQL("\0")
"""The placeholder for the quarantine tenant's key: a character that no name and no value can contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectPolicies(Step):
    """The policies in the form that Citus accepts: without subqueries, with the quarantine tenant excluded by the
    application's own policies, and without the floor. Citus makes RESTRICTIVE policies PERMISSIVE on its shards, where
    the floor, which exempts operators, would grant what it is to refuse."""

    kind: Literal["direct_policies"] = "direct_policies"
    security: RowSecurity
    """The row-level security until now."""
    legacy: bool = False
    """Whether contract has replaced it once, without the legacy roles."""
    sentinel: str | None = None
    """The key, as text, of the sentinel tenant, if there is one: no session can be that tenant."""
    nulls: bool = True
    """Whether rows without a tenant, in a mixed table, are shown to all tenants."""
    compared = True
    category = "row security"

    @property
    def key(self) -> str:
        return f"direct_policies:{self.table}"

    @property
    def title(self) -> str:
        return "make the policies without subqueries, and drop the floor, which Citus would make permissive"

    @property
    def ends(self) -> tuple[str, ...]:
        return (self.security.key, *((f"legacy_sight:{self.table}",) if self.legacy else ()))

    @property
    def supersedes(self) -> bool:
        return True

    @property
    def subject(self) -> str:
        return f"The policies of {self.table} for a distributed engine"

    def renamed(self, names: StaticNames) -> DirectPolicies:
        security = replace(self.security, column=names.column(self.table, self.security.column))
        return replace(self, security=security.renamed(names))

    @property
    def policies(self) -> tuple[str, ...]:
        return tuple(self._rules())

    def definition(self) -> sql.Composable:
        there = sql.SQL("SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = {} AND p.polname = ANY ({}::text[])")
        others = [name for name in EVERY if name not in self.policies]
        return sql.SQL("SELECT found.* FROM ({}) AS found WHERE NOT EXISTS ({})").format(
            policies_definition(self.table, self.policies),
            there.format(self.table.oid, sql.Literal(others)),
        )  # fmt: skip

    def _rules(self) -> dict[str, PolicyRule]:
        """First that of operators: on the tenant table, the key of the quarantine tenant is read under it."""
        policies = replace(self.security.rules(), direct=True, sentinel=self.sentinel, nulls=self.nulls)
        found = dict[str, PolicyRule]()
        if self.security.filtered:
            found[OPERATOR] = PolicyRule(
                command="ALL", using=EVERYTHING, check=EVERYTHING, roles=self.security.filtered
            )
        return found | {APPLICATION + end: self._barring(rule) for end, rule in policies.rules(floor=False).items()}

    def _barring(self, rule: PolicyRule) -> PolicyRule:
        """With the quarantine tenant excluded."""
        return replace(rule, using=self._barred(rule.using), check=self._barred(rule.check))

    def _barred(self, condition: sql.Composable | None) -> sql.Composable | None:
        if condition is None or self.security.quarantine is None:
            return condition
        column = sql.Identifier(self.security.column)
        return sql.SQL("({}) AND {} IS DISTINCT FROM {}").format(condition, column, _KEY)

    def apply(self) -> tuple[Statement, ...]:
        table = self.table.identifier
        statements: list[sql.Composable] = [
            sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(sql.Identifier(name), table) for name in EVERY
        ]
        for name, rule in self._rules().items():
            create = sql.SQL("CREATE POLICY {} ON {} {}").format(sql.Identifier(name), table, rule.sql)
            statements.append(self._with_key(create))
        policies = (Statement(sql=statement, locks=self.security.locks) for statement in statements)
        return (*policies, *self.security.enabling)

    def _with_key(self, create: sql.Composed) -> sql.Composable:
        """A policy with a subquery needs rights on its tables, so the quarantine tenant's key is looked up when it is
        created."""
        quarantine, text = self.security.quarantine, create.as_string(None)
        if quarantine is None or "\0" not in text:
            return create
        template = sql.Literal(text.replace("%", "%%").replace("\0", "%1$L"))
        key = quarantine.expression(sql.SQL("row"))
        missing = sql.Literal(f"the quarantine tenant {quarantine.slug!r} was not found")
        return sql.SQL("DO {}").format(
            body(
                sql.SQL(
                    "BEGIN IF {} IS NULL THEN RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = {}; END IF;"
                    " EXECUTE pg_catalog.format({}, {}); END"
                ).format(key, missing, template, key)
            )
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        """The row-level security is removed with the step that created it."""
        return ()
