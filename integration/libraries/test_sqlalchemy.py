"""SQLAlchemy over each driver, synchronous and asynchronous: exactly one span per statement, the driver's."""

from __future__ import annotations

import asyncio

import pytest
from tests.instrumentations.recorder import instrumented

sqlalchemy = pytest.importorskip("sqlalchemy")
orm = pytest.importorskip("sqlalchemy.orm")
async_engines = pytest.importorskip("sqlalchemy.ext.asyncio")

CREATE = "create table apm_items (id int primary key, name varchar(20))"
DROP = "drop table if exists apm_items"

DRIVERS = {
    "postgresql+psycopg2": ("psycopg2", "postgresql"),
    "postgresql+psycopg": ("psycopg", "postgresql"),
    "mysql+pymysql": ("pymysql", "mariadb"),
    "sqlite": ("sqlite3", "sqlite"),
}
ASYNC_DRIVERS = {
    "postgresql+asyncpg": (("asyncpg",), "postgresql"),
    "postgresql+psycopg": (("psycopg",), "postgresql"),
    "sqlite+aiosqlite": (("aiosqlite", "sqlite3", "threading"), "sqlite"),
}


def url(request, driver, tmp_path):
    """Where a driver's database is; only the server that is asked for is started."""
    dialect, _, module = driver.partition("+")
    pytest.importorskip(module or "sqlite3")
    try:
        sqlalchemy.engine.make_url(f"{driver}://").get_dialect()
    except sqlalchemy.exc.NoSuchModuleError as error:
        pytest.skip(str(error))
    if dialect == "postgresql":
        return request.getfixturevalue("postgres").url.replace("postgresql", driver)
    if dialect == "mysql":
        return f"{driver}://root@127.0.0.1:{request.getfixturevalue('mariadb').port}/shop"
    return f"{driver}:///{tmp_path}/test.db"


@pytest.mark.parametrize("driver", DRIVERS)
def test_one_span_per_statement(request, driver, tmp_path):
    where = url(request, driver, tmp_path)
    file, subtype = DRIVERS[driver]
    base = orm.declarative_base()

    class Item(base):
        __tablename__ = "apm_items"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        name = sqlalchemy.Column(sqlalchemy.String(20))

    with instrumented(file) as recorder:
        engine = sqlalchemy.create_engine(where)
        with engine.begin() as connection:  # what a first connection asks the server is asked here
            connection.execute(sqlalchemy.text(DROP))
            connection.execute(sqlalchemy.text(CREATE))
        with recorder.running(), orm.Session(engine) as session:
            session.add(Item(id=1, name="a"))
            session.commit()
            assert [item.name for item in session.query(Item).order_by(Item.id)] == ["a"]
            session.execute(sqlalchemy.text("update apm_items set name = 'c'"))
            session.execute(sqlalchemy.text("insert into apm_items values (:id, 'x')"), [{"id": 2}, {"id": 3}])
            session.execute(sqlalchemy.delete(Item).where(Item.id == 1))
            session.commit()
            with pytest.raises(sqlalchemy.exc.DBAPIError):
                session.execute(sqlalchemy.text("select * from nowhere"))
            session.rollback()
            rows = session.connection().execution_options(stream_results=True)
            assert len(rows.execute(sqlalchemy.text("select id from apm_items")).fetchall()) == 2
        engine.dispose()
    assert recorder.tree() == "\n".join(
        [
            "test [test] success",
            f"  INSERT INTO apm_items [db/{subtype}/query] success",
            f"  SELECT FROM apm_items [db/{subtype}/query] success",
            f"  UPDATE apm_items [db/{subtype}/query] success",
            f"  INSERT INTO apm_items [db/{subtype}/query] success",
            f"  DELETE FROM apm_items [db/{subtype}/query] success",
            f"  SELECT FROM nowhere [db/{subtype}/query] failure",
            f"  SELECT FROM apm_items [db/{subtype}/query] success",
        ]
    )


@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
def test_one_span_per_statement_of_an_asynchronous_engine(request, driver, tmp_path):
    pytest.importorskip("greenlet")
    where = url(request, driver, tmp_path)
    files, subtype = ASYNC_DRIVERS[driver]

    async def main(recorder):
        text = sqlalchemy.text
        engine = async_engines.create_async_engine(where)
        async with engine.begin() as connection:
            await connection.execute(text(DROP))
            await connection.execute(text(CREATE))
        with recorder.running():
            async with engine.begin() as connection:
                await connection.execute(text("insert into apm_items values (:id, 'x')"), [{"id": 1}, {"id": 2}])
                rows = await connection.execute(text("select id from apm_items where id = :id"), {"id": 1})
                assert rows.scalar() == 1
                await connection.execute(text("update apm_items set name = 'q'"))
            async with engine.connect() as connection:
                with pytest.raises(sqlalchemy.exc.DBAPIError):
                    await connection.execute(text("select * from nowhere"))
                await connection.rollback()
                found = await connection.stream(text("select id from apm_items"))
                assert len([row async for row in found]) == 2
            async with async_engines.AsyncSession(engine) as session:
                await session.execute(text("delete from apm_items"))
                await session.commit()
        await engine.dispose()

    with instrumented(*files) as recorder:
        asyncio.run(main(recorder))
    assert recorder.tree() == "\n".join(
        [
            "test [test] success",
            f"  INSERT INTO apm_items [db/{subtype}/query] success",
            f"  SELECT FROM apm_items [db/{subtype}/query] success",
            f"  UPDATE apm_items [db/{subtype}/query] success",
            f"  SELECT FROM nowhere [db/{subtype}/query] failure",
            f"  SELECT FROM apm_items [db/{subtype}/query] success",
            f"  DELETE FROM apm_items [db/{subtype}/query] success",
        ]
    )


@pytest.mark.parametrize("driver", ["postgresql+psycopg2", "mysql+pymysql"])
def test_a_server_that_is_down(driver):
    pytest.importorskip(driver.partition("+")[2])
    with instrumented(DRIVERS[driver][0]) as recorder:
        engine = sqlalchemy.create_engine(f"{driver}://me:secret@127.0.0.1:1/shop")
        with recorder.running(), pytest.raises(sqlalchemy.exc.OperationalError):
            engine.connect()
    assert [span["outcome"] for span in recorder.spans] == ["failure"]
    assert "secret" not in repr(recorder.spans)
