"""The schema is brought up once, whole, and by one at a time."""

import asyncio
import os

import asyncpg
import pytest

from settlement.migrate import MIGRATIONS, migrate
from settlement.store import DatabaseDown


@pytest.fixture
async def empty(postgres: str) -> str:
    """The address of a database without any table."""
    name = f"empty_{os.getpid()}_{os.urandom(4).hex()}"
    admin = await asyncpg.connect(postgres.replace("/lecong?", "/postgres?"))
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    return postgres.replace("/lecong?", f"/{name}?")


async def tables(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


async def test_an_empty_database_gets_the_whole_schema_and_again_is_no_change(empty: str) -> None:
    await migrate(empty)
    first = await tables(empty)
    await migrate(empty)

    assert {"money_entry", "goods_entry", "contract", "outbox", "settlement_cursor"} <= first
    assert await tables(empty) == first


async def test_two_at_once_migrate_once(empty: str) -> None:
    await asyncio.gather(migrate(empty), migrate(empty))

    assert "money_entry" in await tables(empty)


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(empty: str) -> None:
    connection = await asyncpg.connect(empty)
    await connection.execute("CREATE TABLE outbox ()")  # in the way of the second migration
    await connection.close()

    with pytest.raises(Exception, match="already exists"):
        await migrate(empty)

    assert await tables(empty) == {"outbox"}


async def test_a_database_that_is_not_there_is_named_so() -> None:
    with pytest.raises(DatabaseDown):
        await migrate("postgresql://nobody@/none?host=/nonexistent")


def test_every_migration_has_its_sql_beside_it() -> None:
    versions = MIGRATIONS / "versions"

    assert {path.stem for path in versions.glob("0*.py")} == {path.stem for path in versions.glob("*.sql")}
