"""What discovery and planning ask and do grows with the number of tables, and not with its square."""

import cProfile
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tenantry.discovery.propose import propose
from tenantry.discovery.spec_file import spec_text
from tenantry.execution.existing import in_force
from tenantry.execution.preflight import preflight
from tenantry.model.plan import Phase
from tenantry.model.schema import ManagedObjects
from tenantry.model.spec import Spec
from tenantry.planning import make_plan
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.census import run_census

FEW, MANY = 75, 300
RATIO = MANY / FEW
FIRST = 10
"""So many tables refer to the tenant table."""


def large(tables: int) -> str:
    """Each table but the first few refers to two earlier ones."""
    return "\n".join(("CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);", *_tables(tables)))


def _tables(count: int) -> Iterator[str]:
    for number in range(1, count + 1):
        parents = ["tenants", "tenants"] if number <= FIRST else [f"t{number // 2}", f"t{number - FIRST}"]
        yield (
            f"CREATE TABLE t{number} (id integer PRIMARY KEY, one integer NOT NULL REFERENCES {parents[0]},"
            f" other integer REFERENCES {parents[1]}, code text UNIQUE);"
        )


class Counted(psycopg.Cursor[Any]):
    """Counts the statements that are sent."""

    sent = 0

    def execute(self, *arguments: Any, **options: Any) -> Any:
        Counted.sent += 1
        return super().execute(*arguments, **options)


@pytest.fixture
def sessions(new_database: Callable[..., Any]) -> Iterator[list[psycopg.Connection[Any]]]:
    """On a database of few tables, and on one of many."""
    opened = []
    for tables in (FEW, MANY):
        database = new_database()
        database.execute(large(tables))
        connection = database.connect(autocommit=True, cursor_factory=Counted)
        connection.execute("SET search_path = pg_catalog")
        opened.append(connection)
    yield opened
    for connection in opened:
        connection.close()


def counted(work: Callable[[], Any]) -> tuple[int, int, Any]:
    """The statements that `work` sends, the calls of functions that it makes, and its result."""
    profile, Counted.sent = cProfile.Profile(), 0
    result = profile.runcall(work)
    return Counted.sent, sum(entry.callcount for entry in profile.getstats()), result


def test_work_grows_with_the_tables(sessions: list[psycopg.Connection[Any]]) -> None:
    """Reading takes as many statements for 300 tables as for 75, the census and the survey four times as many; and
    the program itself is at each of them for about four times as long."""
    few, many = (list(stages(connection)) for connection in sessions)
    for (name, asked, done), (_, more_asked, more_done) in zip(few, many, strict=True):
        # The first tables, as many in both, are asked less often.
        grows = RATIO if name in ("discover", "survey") else 1
        assert more_asked <= asked * grows * (1.1 if name == "discover" else 1.05), name
        assert more_done <= done * RATIO * 1.4, name


def stages(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, int, int]]:
    asked, done, schema = counted(lambda: read_schema(connection, ("*",), managed=ManagedObjects()))
    yield "read", asked, done
    asked, done, proposal = counted(lambda: propose(schema, ask=lambda census: run_census(connection, census)))
    assert not proposal.undecided
    yield "discover", asked, done
    asked, done, spec = counted(lambda: Spec.parse(spec_text(proposal)))
    yield "write", asked, done
    asked, done, plan = counted(lambda: make_plan(spec, schema))
    assert len(plan.steps) > 15 * len(schema.tables)
    yield "plan", asked, done
    asked, done, found = counted(lambda: in_force(connection, plan.steps, {}))
    assert len(found) < len(plan.steps)
    yield "survey", asked, done
    asked, done, _ = counted(
        lambda: preflight(connection, schema=schema, plan=plan, until=Phase.CONTRACT, free_space=2**40)
    )
    yield "preflight", asked, done
