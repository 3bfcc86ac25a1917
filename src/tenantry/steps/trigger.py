"""What tenantry's triggers share: a function that runs as the table's owner, which roles that owner trusts, and how it
is created.

A trigger function of tenantry's sees all rows, whichever role writes. So it checks itself what the writer may do: by
the rows, by the tenant that the session names, and by the role, but never by a setting alone, which any session may
change, even in the middle of a statement.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from psycopg import sql

from tenantry.model.name import JOURNAL_SCHEMA, Name, object_name, quoted
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.derivation import ByPath, Source
from tenantry.steps.introspection import body, exists, hand_over, is_partition, raw, trigger_definition
from tenantry.steps.naming import NAMES, NAMES_COLUMNS, Work, forget
from tenantry.steps.row_security import FLOOR, LEGACY, OPERATOR
from tenantry.steps.step import Before, Reach, Step

PINNED = "pg_catalog, pg_temp"
"""The search_path of tenantry's functions, except for the work that they trigger in functions of the user's."""
PINNED_AGAIN = sql.SQL("pg_catalog.set_config('search_path', {}, true)").format(sql.Literal(PINNED))

SECRET = Name(JOURNAL_SCHEMA, "secret")
"""A table with one random text that only the owners of tenantry's functions can read."""
ADOPTING = "tenantry.adopting"
"""The setting by which a trigger of tenantry's shows the triggers that its update fires that the update is tenantry's:
a token."""
_TOKEN = sql.SQL(
    "(SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to("
    "pg_catalog.concat(secret.value, pg_catalog.pg_current_xact_id()), 'UTF8')), 'hex') FROM {} AS secret)"
).format(SECRET.identifier)
"""The secret as used in this transaction, worthless in another one, if another role reads it."""
BEGIN_UPDATE = sql.SQL("PERFORM pg_catalog.set_config({}, {}, true);").format(sql.Literal(ADOPTING), _TOKEN)
END_UPDATE = sql.SQL("PERFORM pg_catalog.set_config({}, '', true), {};").format(sql.Literal(ADOPTING), PINNED_AGAIN)
DECLARE_OURS = sql.SQL("ours boolean;")
ASK_OURS = sql.SQL("""
  IF pg_catalog.current_setting({adopting}, true) <> '' THEN
    ours := pg_catalog.current_setting({adopting}, true) = {token};
  END IF;""").format(adopting=sql.Literal(ADOPTING), token=_TOKEN)
"""Sets the variable `ours` to whether the update that fires this trigger is tenantry's."""

_WRITER = sql.SQL(
    "CASE pg_catalog.current_setting('role') WHEN 'none' THEN session_user"
    " ELSE pg_catalog.current_setting('role')::name END"
)
"""The role of the session, whatever function's owner runs inside it."""
FILLING = "tenantry.filling"
"""The setting by which a fill makes the triggers restore every column but the tenant (hazard 5)."""
SWEEPING = "tenantry.sweeping"
"""The setting that tells a backfill, which derives all tables one after the other, from a fix of single rows."""
IN_FILL = sql.SQL(
    "pg_catalog.current_setting({0}, true) = 'on'"
    " AND ({1} = current_user OR pg_catalog.pg_has_role({1}, current_user, 'usage'))"
).format(sql.Literal(FILLING), _WRITER)
"""Whether a fill runs: only a session with the rights of the table's owner, as which the function runs, can set
this."""


def named(setting: str) -> sql.Composed:
    """The tenant that the session names, as text; NULL for none."""
    return sql.SQL("NULLIF(pg_catalog.current_setting({}, true), '')").format(sql.Literal(setting))


def sees_all(table: sql.Composable) -> sql.Composed:
    """Whether the session may see all rows of a table: tenantry's row-level security is not there yet, or lets its role
    through.

    The policies themselves tell to which roles they show all rows, so that what contract removes counts here, too.
    """
    return sql.SQL(
        "(SELECT r.rolsuper OR r.rolbypassrls"
        " OR NOT EXISTS (SELECT FROM pg_catalog.pg_policy p"
        " WHERE p.polrelid = {table} AND pg_catalog.starts_with(p.polname::text, {floor}))"
        " OR EXISTS (SELECT FROM pg_catalog.pg_policy p, pg_catalog.unnest(p.polroles) AS shown(role)"
        " WHERE p.polrelid = {table} AND p.polname IN ({operator}, {legacy})"
        " AND pg_catalog.pg_has_role(r.oid, shown.role, 'usage'))"
        " FROM pg_catalog.pg_roles r WHERE r.rolname = {writer}) IS TRUE"
    ).format(
        table=table, floor=sql.Literal(FLOOR), operator=sql.Literal(OPERATOR), legacy=sql.Literal(LEGACY),
        writer=_WRITER,
    )  # fmt: skip


def knows_no_tenants(table: sql.Composable, setting: str) -> sql.Composed:
    """Whether the session is that of an old application or of the operator: it names no tenant, and may see all rows of
    the table with this OID."""
    return sql.SQL("({} IS NULL AND {})").format(named(setting), sees_all(table))


def function_name(table: Name, purpose: str, *parts: str) -> Name:
    """The name of the function of a trigger on the table. The further parts tell it from others of the same purpose."""
    return Name(JOURNAL_SCHEMA, object_name(purpose, table.schema, table.name, *parts))


def make_function(function: Name, owner: str, code: sql.Composable, settings: str) -> tuple[Statement, ...]:
    """Create a trigger function that runs as `owner` with a pinned search_path, and that no other role can call or use
    in a trigger on its own table, whatever default privileges grant."""
    create = sql.SQL(
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        " SET search_path = {} {} AS {}"
    ).format(function.identifier, raw(PINNED), raw(settings), body(code))
    shut = shut_function(f"{function.identifier.as_string(None)}()")
    given = hand_over(sql.SQL("FUNCTION {}()").format(function.identifier), owner)
    return Statement(sql=create), shut, *given


def shut_function(signature: str) -> Statement:
    """Revoke EXECUTE on a function from all but its owner, whatever default privileges have granted."""
    block = sql.SQL(
        "DECLARE role oid; BEGIN FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_proc p,"
        " pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS e"
        " WHERE p.oid = pg_catalog.to_regprocedure({0}) AND e.grantee <> p.proowner LOOP"
        " EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', {0},"
        " CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END); END LOOP; END"
    ).format(sql.Literal(signature))
    return Statement(sql=sql.SQL("DO {}").format(body(block)))


def create_function(function: Name, owner: str, work: Work) -> tuple[Statement, ...]:
    """The function of a trigger, and what it needs: the schema, the secret, and the OIDs of what it names.

    It runs with row_security on, whatever the session has set: a session that may bypass row-level security can turn
    the setting off, and then the owner, who may not, would get an error in place of the rows that its policy shows it
    (hazard 13).
    """
    read = sql.SQL("GRANT SELECT ON {} TO {}").format(SECRET.identifier, sql.Identifier(owner))
    text, known = work.compose()
    create, *rest = make_function(function, owner, text, "SET row_security = on")
    return (
        _MAKE_SECRET,
        *names_table(owner),
        Statement(sql=read, when=_foreign(owner)),
        create,
        *work.remember(function, known),
        *rest,
    )


def _private_table(table: Name, columns: str, then: sql.Composable) -> Statement:
    """A table that only the owners of tenantry's functions read, with its contents; nothing if it exists already."""
    block = sql.SQL(
        "DECLARE role oid; BEGIN IF {oid} IS NULL THEN CREATE TABLE {table} ({columns});"
        " FOR role IN SELECT DISTINCT e.grantee FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) AS e"
        " WHERE c.oid = {oid} AND e.grantee <> c.relowner LOOP"
        " EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s CASCADE', {text},"
        " CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END); END LOOP;{then} END IF; END"
    ).format(
        oid=table.oid, table=table.identifier, columns=raw(columns), text=sql.Literal(table.identifier.as_string(None)),
        then=then,
    )  # fmt: skip
    return Statement(sql=sql.SQL("DO {}").format(body(block)), when=sql.SQL("SELECT {} IS NULL").format(table.oid))


_MAKE_SECRET = _private_table(
    SECRET, "value text NOT NULL",
    sql.SQL(
        " INSERT INTO {} VALUES (pg_catalog.concat(pg_catalog.gen_random_uuid(), pg_catalog.gen_random_uuid()));"
    ).format(SECRET.identifier),
)  # fmt: skip
_MAKE_NAMES = _private_table(
    NAMES, f"{NAMES_COLUMNS}, PRIMARY KEY (made, number), UNIQUE (own, trigger, number)", sql.SQL("")
)


def names_table(owner: str) -> tuple[Statement, ...]:
    """Create the table of what tenantry's functions name, and let the owner of one read it."""
    use = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(JOURNAL_SCHEMA), sql.Identifier(owner))
    read = sql.SQL("GRANT SELECT ON {} TO {}").format(NAMES.identifier, sql.Identifier(owner))
    return _MAKE_NAMES, Statement(sql=use, when=_foreign(owner)), Statement(sql=read, when=_foreign(owner))


def _foreign(owner: str) -> sql.Composed:
    return sql.SQL("SELECT current_user <> {}").format(sql.Literal(owner))


def drop_trigger(table: Name, trigger: str, function: Name, tree: tuple[Name, ...]) -> tuple[Statement, ...]:
    """Drop a trigger and its function, either of which may be gone already. A partition that was detached since keeps
    the trigger that it has, and the function with it."""
    # By an index: pg_trigger has none on the function, and each foreign key has four triggers.
    unused = sql.SQL(
        "NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass"
        " AND d.refobjid = pg_catalog.to_regprocedure({})::pg_catalog.oid"
        " AND d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass)"
    ).format(sql.Literal(f"{function.identifier.as_string(None)}()"))
    gone = Statement(
        sql=sql.SQL("DROP FUNCTION IF EXISTS {}()").format(function.identifier),
        when=sql.SQL("SELECT {}").format(unused),
    )
    forgotten = forget(table, trigger)
    return (
        *drop_triggers(table, trigger, tree),
        # Before the function is dropped: as long as it is used, it needs the recorded names.
        replace(forgotten, when=sql.SQL("{} AND {}").format(forgotten.when, unused)),
        gone,
    )


def drop_triggers(table: Name, trigger: str, tree: tuple[Name, ...]) -> tuple[Statement, ...]:
    """Drop a trigger, and the separate ones of partitions."""
    locks = tuple(Lock(name, LockMode.ACCESS_EXCLUSIVE) for name in (table, *tree))
    return tuple(
        Statement(
            sql=sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(name), relation.identifier),
            locks=locks if relation == table else (Lock(relation, LockMode.ACCESS_EXCLUSIVE),),
            when=exists(
                sql.SQL("SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = {} AND t.tgname = {}").format(
                    relation.oid, sql.Literal(name)
                )
            ),
        )
        for relation, name in ((table, trigger), *((part, alone(trigger)) for part in tree))
    )


def alone(trigger: str) -> str:
    """The separate trigger of a partition, for when it is detached: then it loses that of the partitioned table."""
    return f"{trigger}_alone"


READ = ("SELECT",)
# Locking a row also needs the privilege to change it.
CHANGE = ("SELECT", "UPDATE")


def each(role: str, table: Name, privileges: tuple[str, ...]) -> Iterator[Reach]:
    """The role needs each of these privileges there."""
    for privilege in privileges:
        yield role, table, privilege


def privileges_to_read(role: str, sources: Iterable[Source]) -> Iterator[Reach]:
    """The role reads the tables along the paths."""
    for source in sources:
        if isinstance(source, ByPath):
            # A path that ends in the row's own column does not read the last table.
            for hop in source.hops if source.column is not None else source.hops[:-1]:
                yield from each(role, hop.parent, READ)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTrigger(Step):
    """A row trigger: ENABLE ALWAYS on the table and on each partition of `tree`; its function runs as `owner`."""

    owner: str
    tree: tuple[Name, ...] = ()

    compared = True
    constraint: ClassVar[bool] = False
    """A constraint trigger, which can be deferred."""

    @property
    @abstractmethod
    def trigger(self) -> str:
        """Its name."""

    @property
    @abstractmethod
    def function(self) -> Name: ...

    @property
    @abstractmethod
    def event(self) -> sql.Composable:
        """When it fires: the text of CREATE TRIGGER between its name and ON."""

    @property
    def manner(self) -> sql.Composable:
        """The text between the table's name and EXECUTE."""
        return sql.SQL("FOR EACH ROW")

    @abstractmethod
    def reaches(self) -> Iterator[Reach]: ...

    @abstractmethod
    def work(self) -> Work:
        """What its function does."""

    @property
    def subject(self) -> str:
        return f"The trigger {quoted(self.trigger)} on {self.table} with its function {self.function}"

    @property
    def trigger_function(self) -> Name:
        return self.function

    def definition(self) -> sql.Composable:
        return trigger_definition(self.table, self.trigger)

    def apply(self) -> tuple[Statement, ...]:
        relations, name = (self.table, *self.tree), sql.Identifier(self.trigger)
        create = sql.SQL("CREATE {} {} {} ON {} {} EXECUTE FUNCTION {}()").format(
            sql.SQL("CONSTRAINT TRIGGER" if self.constraint else "TRIGGER"), name, self.event, self.table.identifier,
            self.manner, self.function.identifier,
        )  # fmt: skip
        # A partition's copy of a trigger has to be enabled separately; one that was detached has none.
        always = tuple(
            Statement(
                sql=sql.SQL("ALTER TABLE ONLY {} ENABLE ALWAYS TRIGGER {}").format(relation.identifier, name),
                locks=(Lock(relation, LockMode.SHARE_ROW_EXCLUSIVE),),
                when=None
                if relation == self.table
                else sql.SQL("SELECT {}").format(is_partition(relation, self.table)),
            )
            for relation in relations
        )
        return (
            *create_function(self.function, self.owner, self.work()),
            *drop_triggers(self.table, self.trigger, self.tree),
            Statement(sql=create, locks=tuple(Lock(relation, LockMode.SHARE_ROW_EXCLUSIVE) for relation in relations)),
            *always,
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return drop_trigger(self.table, self.trigger, self.function, self.tree)
