"""make example: the service on a server of its own, with three organisations; prints what to ask it.

    python run.py [--folder .example] [--port 8000]

What is made stays in the folder: the next start is quick. Removing the folder removes all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from prepare import prepare  # noqa: E402

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
    parser.add_argument("--folder", type=Path, default=Path(".example"))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    os.umask(0o077)
    options.folder.mkdir(parents=True, exist_ok=True)
    known = options.folder / "example.json"
    with served(f"embedded:{options.folder / 'server'}?dbname=enterprise") as dsn:
        if not known.exists():
            print("Loading, migrating and stocking an inventory of three organisations …", flush=True)
            made = prepare(dsn)
            known.with_suffix(".part").write_text(json.dumps(made))
            known.with_suffix(".part").rename(known)
        made = json.loads(known.read_text())
        print(f"\nThe keys are in {known}. Ask, for example:\n")
        for command, answer in lines(made, f"http://{options.host}:{options.port}"):
            print(f"  {command}\n  #-> {answer}")
        print(f"\nAll of it: http://{options.host}:{options.port}/docs\n", flush=True)
        serve(dsn, made, options.host, options.port)


def serve(dsn: str, made: dict[str, Any], host: str, port: int) -> None:
    """Run the service as the application's role, while the server is ours."""
    import uvicorn
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    user = conninfo_to_dict(made["dsn"])["user"]
    os.environ["DATABASE_URL"] = make_conninfo(dsn, user=user)
    uvicorn.run("app:app", app_dir=str(HERE), host=host, port=port, log_level="warning", proxy_headers=False)


if __name__ == "__main__":
    main()
