"""Brings the database's schema to this version: alembic keeps the order, plain SQL files say what is done.

Law: all pending migrations run in one transaction, behind one lock; a failed one leaves the schema as it was.
"""

from pathlib import Path
from typing import Final

from alembic import command, op
from alembic.config import Config
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only

from settlement.store import connect

MIGRATIONS: Final = Path(__file__).with_name("migrations")
LOCK_NUMBER: Final = 0x1EC0  # one migration at a time, whoever starts it


async def migrate(dsn: str) -> None:
    """Run every pending migration on the database at `dsn`. Raises store.DatabaseDown."""
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect(dsn), poolclass=pool.NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def run_file(migration: str) -> None:
    """Run the .sql file beside the migration `migration` (its __file__), whole, in alembic's transaction."""
    sql = Path(migration).with_suffix(".sql").read_text(encoding="utf-8")
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute(sql))  # SQLAlchemy would prepare it, and only one statement can be prepared
