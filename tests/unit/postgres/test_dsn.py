from __future__ import annotations

import traceback

import pytest

from tenantry.errors import UsageError
from tenantry.postgres.connect import Target, resolve_target
from tenantry.postgres.dsn import connection_options, masked, without_secrets

SECRET = "hunter2"


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://me:{SECRET}@host:5433/shop?sslpassword={SECRET}",
        f"host=host user=me password={SECRET} dbname=shop",
        f"host=host user=me password='{SECRET}",
        f"postgres//me:{SECRET}@host",
    ],
)
def test_secrets_are_masked(dsn: str) -> None:
    """No password is shown, not even that of a DSN which cannot be read; nor by the repr of a target."""
    assert SECRET not in masked(dsn) + str(Target(dsn)) + repr(Target(dsn))


def test_what_is_no_secret_is_shown() -> None:
    """The place is what a message needs."""
    assert masked(f"postgresql://me:{SECRET}@host:5433/shop") == (
        "user=me password=**** dbname=shop host=host port=5433"
    )
    assert masked("embedded:./data") == "embedded:./data"


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        (f"postgres//me:{SECRET}@host", "missing"),
        (f"host=a password=x {SECRET}", 'missing "=" after "…"'),
        (f'host=a "={SECRET}', 'invalid connection option "…"'),
        (f'host=a {SECRET}"', 'missing "=" after "…"'),
        (f"postgresql://me:{SECRET} x@host/shop", "unexpected spaces"),
        (f"postgresql://me:{SECRET}%00@host", "forbidden value"),
        (f"postgresql://me:%zz{SECRET}\n{SECRET}@host", 'invalid percent-encoded token: "…"'),
        (f"hots=a password={SECRET}", 'did you mean "host"'),
        (f"postgresql://me:{SECRET}@host/shop?ssl_mode=require", 'did you mean "sslmode"'),
        ("shop", 'missing "=" after "…" in'),
    ],
)
def test_malformed_dsn(dsn: str, says: str) -> None:
    """It is wrong usage, says what is wrong, and nothing of the password, in the traceback neither."""
    with pytest.raises(UsageError, match=says) as caught:
        connection_options(dsn)
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.remedy
    assert SECRET not in shown.replace(dsn, "")
    assert caught.value.__context__ is None


def test_secrets_in_other_text() -> None:
    """What the server says back is masked too."""
    assert without_secrets(f"no such user {SECRET}", [SECRET]) == "no such user ****"


def test_order_of_targets() -> None:
    """--dsn comes before DATABASE_URL, and that before the PG* variables, which libpq reads."""
    environment = {"DATABASE_URL": "postgresql+asyncpg://host/url"}
    with resolve_target("dbname=named", environment=environment) as target:
        assert target.conninfo == "dbname=named"
    with resolve_target(None, environment=environment) as target:
        assert target.conninfo == "postgresql://host/url"
    with resolve_target(None, environment={}) as target:
        assert target.conninfo == ""


def test_a_short_password_is_not_told_by_its_masks() -> None:
    """ "port" with a mask in it would say that the password is p."""
    said = without_secrets('Check host and port; password "p" of p@host', ["p"])
    assert said == 'Check host and port; password "****" of ****@host'
