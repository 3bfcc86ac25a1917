"""make example: the service on a server of its own, with three organisations; prints what to ask it.

    python run.py [--folder FOLDER] [--port 8000]

What is made is removed at the end; in a folder that is named it stays, and the next start is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from prepare import prepare  # noqa: E402

from tenantry.errors import TenantryError  # noqa: E402
from tenantry.postgres.embedded import served  # noqa: E402


def lines(made: dict[str, Any], base: str) -> Iterator[tuple[str, str]]:
    """Each a command, and what it prints."""
    north, south, reader = made["keys"]["north"], made["keys"]["south"], made["reader"]
    status = "curl -s -o /dev/null -w '%{http_code}\\n'"
    yield f"curl -s {base}/health/live", '{"status":"live"}'
    yield f"{status} {base}/health/ready", "200"
    items, movements = f"{base}/api/items-enterprise", f"{base}/api/movements"
    yield f"{status} {items}", "401"
    yield f"{status} -H 'X-API-Key: {north}' {items}", "200"
    name = 'grep -o \'"name":"[a-z]* item 1"\''
    yield f"curl -s -H 'X-API-Key: {north}' '{items}?limit=1' | {name}", '"name":"north item 1"'
    yield f"curl -s -H 'Authorization: Bearer {south}' '{items}?limit=1' | {name}", '"name":"south item 1"'
    yield f"{status} -H 'X-API-Key: {north}' -H 'X-Org-Id: north' {base}/api/balances", "200"
    yield f"{status} -H 'X-API-Key: {north}' -H 'X-Org-Id: south' {base}/api/balances", "403"
    yield f"{status} -H 'X-Org-Id: north' {base}/api/balances", "401"
    yield f"{status} -X POST -H 'X-API-Key: {reader}' {movements}", "403"


def main() -> None:
    """Prepare where that was not done yet, print, and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    os.umask(0o077)
    try:
        with place(options.folder) as folder:
            run(folder, options.host, options.port)
    except TenantryError as error:
        sys.exit(f"{error}\n{error.remedy}")
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def place(named: Path | None) -> Iterator[Path]:
    """The folder of the server, which PostgreSQL can enter where it runs as another account than root."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    if named is not None:
        named.mkdir(mode, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            named.chmod(mode)
        yield named
        return
    folder = Path(tempfile.mkdtemp(prefix="tenantry-example-", dir="/tmp"))
    folder.chmod(mode)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, host: str, port: int) -> None:
    """Prepare, print, serve."""
    known = folder / "example.json"
    with served(f"embedded:{folder / 'server'}?dbname=enterprise") as dsn:
        if not known.exists():
            print("Loading, migrating and stocking an inventory of three organisations …", flush=True)
            made = prepare(dsn)
            known.with_suffix(".part").write_text(json.dumps(made))
            known.with_suffix(".part").rename(known)
        made = json.loads(known.read_text())
        print(f"\nThe keys are in {known}. Ask, for example:\n")
        for command, answer in lines(made, f"http://{host}:{port}"):
            print(f"  {command}\n  #-> {answer}")
        print(f"\nAll of it: http://{host}:{port}/docs\n", flush=True)
        serve(dsn, made, host, port)


def serve(dsn: str, made: dict[str, Any], host: str, port: int) -> None:
    """Run the service as the application's role, while the server is ours."""
    import uvicorn
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    user = conninfo_to_dict(made["dsn"])["user"]
    os.environ["DATABASE_URL"] = make_conninfo(dsn, user=user)
    uvicorn.run("app:app", app_dir=str(HERE), host=host, port=port, log_level="warning", proxy_headers=False)


if __name__ == "__main__":
    main()
