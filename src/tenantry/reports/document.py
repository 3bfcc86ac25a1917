"""Values as JSON: what --json prints and logs hold."""

from __future__ import annotations

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


def plain(value: Any) -> Any:
    """The value as what JSON has: names as SQL writes them, seconds as numbers, everything unknown as text."""
    match value:
        case None | bool() | int() | float() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return value.value
        case Name() | Path():
            return str(value)
        case Composable():
            return value.as_string(None)
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
            return float(value)
        case _ if is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return str(value)


def error_document(error: TenantryError) -> dict[str, Any]:
    """An error with all its details."""
    return {"message": error.message, "remedy": error.remedy, "details": list(error.details)}
