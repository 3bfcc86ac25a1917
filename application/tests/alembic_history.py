"""A folder of Alembic's revisions, with an env.py as docs/application.md has it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config

from sqlalchemy_shop import url

ENVIRONMENT = """
import {module}
from alembic import context
from sqlalchemy import NullPool, create_engine
from tenantry_app import check_operator
from tenantry_app.alembic import TenantFilter

engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=NullPool)
with engine.connect() as connection:
    check_operator(connection)
    context.configure(
        connection=connection, target_metadata={metadata}, include_object={filter}, compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()
"""


class History:
    """`metadata` is an expression that begins with its module's name."""

    def __init__(self, folder: Path, metadata: str, *, use_filter: bool) -> None:
        self._folder = folder
        command.init(self.config("host=nowhere user=nobody dbname=none"), str(folder / "migrations"))
        text = ENVIRONMENT.format(
            module=metadata.partition(".")[0],
            metadata=metadata,
            filter="TenantFilter(connection)" if use_filter else None,
        )
        (folder / "migrations" / "env.py").write_text(text)

    @property
    def versions(self) -> Path:
        return self._folder / "migrations" / "versions"

    def config(self, dsn: str) -> Config:
        made = Config(self._folder / "alembic.ini", stdout=StringIO())
        made.set_main_option("script_location", str(self._folder / "migrations"))
        made.set_main_option("sqlalchemy.url", url(dsn, "psycopg").render_as_string().replace("%", "%%"))
        return made
