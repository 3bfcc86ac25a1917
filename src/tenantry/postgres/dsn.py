"""Connection strings: parsed without revealing their secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from tenantry.errors import UsageError, nearest
from tenantry.postgres.embedded import is_embedded

SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
MASK = "****"
SHORT = 4
"""Secrets, and parts of them, with fewer characters occur in other words by accident."""


def masked(dsn: str) -> str:
    """`dsn` without its secrets; one that cannot be parsed is not shown at all."""
    if is_embedded(dsn):
        return dsn
    try:
        options = conninfo_to_dict(dsn)
    except psycopg.Error:
        return MASK
    return make_conninfo("", **{key: MASK if key in SECRETS else value for key, value in options.items()})


def connection_options(conninfo: str) -> dict[str, Any]:
    """The options of a connection string by their names. Raises UsageError if it cannot be parsed."""
    try:
        return dict(conninfo_to_dict(conninfo))
    except psycopg.Error as error:
        reason = _malformed(str(error).strip())
    # Outside the handler: the driver's error contains parts of the DSN, also of the password.
    raise UsageError(
        f"The connection string cannot be read: {reason}",
        remedy="write postgresql://user:password@host:port/database, with %40 for an @ in the password",
    )


def without_secrets(text: str, hidden: Iterable[str]) -> str:
    """`text` with a mask for each of these secrets; a short one is masked only as a word of its own, since masks inside
    other words would reveal it."""
    for secret in hidden:
        text = (
            re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
            if len(secret) < SHORT
            else text.replace(secret, MASK)
        )
    return text


def masked_value(value: Any, hidden: Iterable[str]) -> Any:
    """A JSON value with the secrets in its texts masked."""
    match value:
        case str():
            return without_secrets(value, hidden)
        case dict():
            return {name: masked_value(item, hidden) for name, item in value.items()}
        case list():
            return [masked_value(item, hidden) for item in value]
        case _:
            return value


def secrets(dsn: str) -> tuple[str, ...]:
    """The secrets in `dsn`, longest first, in every form in which they occur; also of one that cannot be parsed."""
    found = set(re.findall(r"(?s)://[^:@/]*:(.+)@", dsn))
    # libpq splits a password that contains a character of its syntax, and quotes the parts.
    found.update(piece for secret in tuple(found) for piece in re.split(r"[/?#@\[\]]", secret))
    found.update(re.findall(r"(?i)(?:password|secret|key)=('[^']*'|[^\s&']+)", dsn))
    try:
        options = conninfo_to_dict(dsn)
    except psycopg.Error:
        options = {}
    found.update(str(options[name]) for name in SECRETS if options.get(name))
    # As they occur in a URL, in quotes, and in a traceback.
    for secret in tuple(found):
        quoted = secret.replace("\\", "\\\\").replace("'", "\\'")
        found |= {quote(secret), quote(secret, safe=""), quote_plus(secret), quoted, repr(secret)[1:-1]}
    return tuple(sorted(filter(None, found), key=len, reverse=True))


def _malformed(message: str) -> str:
    """libpq's reason without what it quotes; for an unknown option with the nearest valid one."""
    quoted = re.search(r'(?:option|parameter:) "(\w+)"$', message)
    known = [option.keyword.decode() for option in Conninfo.get_defaults()]
    # What is quoted is a part of the string, whatever characters and line ends are in it.
    reason = re.sub(r'(?s)^(missing "=" after |[^"]*)".*"', r'\1"…"', message)
    return reason + (nearest(quoted.group(1), known) if quoted else "")
