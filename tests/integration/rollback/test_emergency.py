"""The emergency: the number of rows does not matter, since no row is read."""

from __future__ import annotations

import pytest

from rollback.conftest import Business
from servers import wait_until
from tenantry.errors import ExitStatus

pytestmark = pytest.mark.server

READ = """
SELECT sum(seq_tup_read + n_tup_ins + n_tup_upd + n_tup_del)::bigint
FROM pg_stat_user_tables WHERE schemaname <> 'tenantry' AND relname <> 'tenants'
"""


def touched(business: Business) -> int:
    """Rows that were read one after the other, or written, as sessions that have ended have told so far."""
    return business.database.rows(READ)[0][0]


def marked(business: Business, before: int) -> int:
    """The same, once a session that reads the users now has told, too: those before it have."""
    users = business.rows["usuarios"][0]
    business.database.rows("SELECT count(*) FROM usuarios")
    wait_until(lambda: touched(business) >= before + users)
    return touched(business) - users


def test_reads_no_row(business: Business) -> None:
    """--preserve-data --force touches definitions only, and makes no backup."""
    business.migrate()
    before = marked(business, touched(business)) + business.rows["usuarios"][0]
    result = business.rollback(preserve_data=True, force=True)
    assert result.exit_status is ExitStatus.DONE, result.findings
    assert marked(business, before) == before
    made = business.database.rows("SELECT count(*) FROM tenantry.backups WHERE id LIKE 'rollback%'")
    assert made == [(0,)]
