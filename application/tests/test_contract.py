"""What the application's side shares with tenantry is as docs/contract.md says, and needs nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from servers import Database
from tenantry.model import api_key
from tenantry.steps.tenant_setting import current_tenant
from tenantry_app import Tenant, keys, tenants
from tenantry_app.setting import Setting

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]


def test_the_stated_values() -> None:
    text = (ROOT / "docs" / "contract.md").read_text()
    values = dict(re.findall(r"^\| ([^|]+?) \| [^|]*?`([^`]+)` \|", text, re.MULTILINE))
    assert values["the setting"] == Setting().name
    assert values["a tenant that is served"] == Tenant("a").status == tenants.ACTIVE


@pytest.mark.parametrize(
    ("type", "key"),
    [
        ("uuid", UUID("00000000-0000-0000-0000-00000000abcd")), ("smallint", -7), ("integer", 2**31 - 1),
        ("bigint", 2**63 - 1), ("text", " a\\'é "), ("character varying", "a"), ("character varying", "x" * 300),
    ],
)  # fmt: skip
def test_the_text_of_a_key_is_what_policies_read(type: str, key: UUID | int | str, shop: Database) -> None:
    """The expression is that of the policies; its value is the key, for each type that a key can have."""
    value = Tenant(key).key  # type: ignore[arg-type]
    with shop.connect() as connection:
        assert connection.execute("SELECT NULLIF(current_setting('app.tenant_id', true), '')").fetchone() == (None,)
        connection.execute(Setting().set_local(value))
        query = psycopg.sql.SQL("SELECT {} = %s::{}").format(
            current_tenant("app.tenant_id", type), psycopg.sql.SQL(type)
        )
        assert connection.execute(query, [key]).fetchone() == (True,)
        connection.execute(Setting().select(""))
        assert connection.execute(
            psycopg.sql.SQL("SELECT {}").format(current_tenant("app.tenant_id", type))
        ).fetchone() == (None,)


def test_the_core_imports_nothing_but_python() -> None:
    """Nor does importing one integration import another one's framework."""
    code = "import sys; before = set(sys.modules); import tenantry_app; print(*(set(sys.modules) - before))"
    path = str(ROOT / "application" / "src")
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    packages = {name.split(".")[0] for name in done.stdout.split()}
    assert packages - {"tenantry_app"} <= set(sys.stdlib_module_names)


def test_the_form_of_keys() -> None:
    """A key that tenantry makes is one to the application, of which each says the same."""
    for _ in range(50):
        key = api_key.new_key()
        assert keys.lookup_part(key) == api_key.lookup_part(key) == key[3:11]
        assert keys.hashed(key) == api_key.hashed(key)
        assert keys.lookup_part(key[:-1] + ("a" if key[-1] != "a" else "b")) is None
    assert keys.PREFIX == api_key.PREFIX
    assert len({api_key.new_key() for _ in range(50)}) == 50
