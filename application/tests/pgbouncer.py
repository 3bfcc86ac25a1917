"""PgBouncer in transaction mode, in front of a test's database."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from servers import wait_until

# Debian has it where the search path of users does not lead.
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")


@contextmanager
def pgbouncer(dsn: str, *, size: int = 1) -> Iterator[str]:
    """The DSN of the same database through a pool of `size` sessions, as long as the block lasts."""
    options = conninfo_to_dict(dsn)
    with tempfile.TemporaryDirectory(prefix="bouncer-") as name:
        folder = Path(name)
        owner = Path(str(options["host"])).stat()
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\nshop = host={options['host']} port={options.get('port') or 5432} dbname={options['dbname']}"
            f" user={options['user']}\n"
            f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {folder}\nlisten_port = 6432\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 100\nlogfile = {folder}/log\n"
            "ignore_startup_parameters = extra_float_digits,options\n"
        )
        for path in (folder, configuration):
            os.chown(path, owner.st_uid, owner.st_gid)
        # As the account of the server, whose socket is closed to others; root it refuses to be.
        identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        process = subprocess.Popen([PGBOUNCER, "-q", configuration], **identity)  # type: ignore[call-overload]
        through = make_conninfo(dsn, host=str(folder), port=6432, dbname="shop")
        try:
            wait_until((folder / ".s.PGSQL.6432").exists)
            yield through
        finally:
            process.terminate()
            process.wait()
