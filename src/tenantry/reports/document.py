"""Values as JSON: the output of --json, and the contents of logs and reports."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from psycopg.sql import Composable

from tenantry.errors import TenantryError
from tenantry.model.name import Name

_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that terminals interpret and json does not escape."""


def to_json(value: Any, *, indent: int | None = None) -> str:
    """The value as JSON that is safe for a terminal: nothing in it moves the cursor or changes the direction of
    writing."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
    # Such characters occur in strings only, where JSON can write them as escapes.
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plain(value: Any) -> Any:
    """The value in the types of JSON: names as SQL writes them, durations as seconds, everything unknown as text."""
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int():
            return value
        case str():
            # Command-line arguments that are not UTF-8 contain surrogates, which cannot be written to a file.
            return str(value).encode("utf-8", "backslashreplace").decode()
        case float():
            return value if math.isfinite(value) else str(value)
        case Name() | Path():
            return plain(str(value))
        case bytes() | bytearray() | memoryview():
            return "\\x" + bytes(value).hex()
        case Composable():
            return plain(value.as_string(None))
        case TenantryError():
            return error_document(value)
        case Mapping():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case Set():
            return sorted(plain(item) for item in value)
        case list() | tuple():
            return [plain(item) for item in value]
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return plain(float(value))
        case _ if is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return plain(str(value))


def error_document(error: TenantryError) -> dict[str, Any]:
    """An error with all its details."""
    return {"message": error.message, "remedy": error.remedy, "details": list(error.details)}
