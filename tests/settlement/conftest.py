"""One embedded PostgreSQL for a worker's whole run, and a migrated database of its own for every test."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from engine.location import Location
from settlement.database import EmbeddedPostgres, binaries, dsn, wait_until_ready
from settlement.migrate import migrate
from settlement.postgres_user import choose_postgres_user
from settlement.store import Store
from tests.fakes import FakeEngine
from tests.settlement.exchange import Exchange, running

READY_S = 30.0
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the migrated database `lecong`, which is the template of all others."""
    location = Location(Path(tmp_path_factory.mktemp("settlement"))).create()
    server = EmbeddedPostgres(choose_postgres_user(location, binaries()))
    server.start()
    url = os.environ.pop("DATABASE_URL", None)
    address = dsn(location)
    try:
        asyncio.run(wait_until_ready(address, READY_S))
        asyncio.run(migrate(address))
        yield address
    finally:
        server.stop()
        if url is not None:
            os.environ["DATABASE_URL"] = url


@pytest.fixture
async def database(postgres: str) -> AsyncIterator[str]:
    """The address of a fresh, migrated, empty database."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(postgres.replace("/lecong?", "/postgres?"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE lecong")
        yield postgres.replace("/lecong?", f"/{name}?")
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """A writer on a fresh database."""
    store = Store(database)
    yield store
    await store.close()


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Settlement at work on a fresh database and a fake engine."""
    async with running(Exchange(database, FakeEngine())) as exchange:
        yield exchange
