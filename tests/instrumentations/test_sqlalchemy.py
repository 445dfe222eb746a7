"""SQLAlchemy on sqlite3: one span per statement that it sends, none of its own."""

from __future__ import annotations

import pytest
from tests.instrumentations.recorder import instrumented

sqlalchemy = pytest.importorskip("sqlalchemy")
orm = pytest.importorskip("sqlalchemy.orm")


@pytest.fixture
def recorder():
    with instrumented("sqlite3") as recorder:
        yield recorder


@pytest.fixture(params=["SingletonThreadPool", "QueuePool", "NullPool"])
def engine(recorder, request, tmp_path):
    pool = getattr(sqlalchemy.pool, request.param)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/test.db", poolclass=pool)
    yield engine
    engine.dispose()


def test_the_orm(recorder, engine):
    base = orm.declarative_base()

    class Item(base):
        __tablename__ = "items"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        name = sqlalchemy.Column(sqlalchemy.String(20))

    base.metadata.create_all(engine)
    with recorder.running(), orm.Session(engine) as session:
        session.add(Item(name="a"))
        session.commit()
        assert [item.name for item in session.query(Item).order_by(Item.id)] == ["a"]
        session.execute(sqlalchemy.text("update items set name = 'c'"))
        session.execute(sqlalchemy.delete(Item).where(Item.id == 1))
        session.rollback()
        with pytest.raises(sqlalchemy.exc.OperationalError):
            session.execute(sqlalchemy.text("select * from nowhere"))
        session.rollback()
    assert recorder.tree() == (
        "test [test] success\n"
        "  INSERT INTO items [db/sqlite/query] success\n"
        "  SELECT FROM items [db/sqlite/query] success\n"
        "  UPDATE items [db/sqlite/query] success\n"
        "  DELETE FROM items [db/sqlite/query] success\n"
        "  SELECT FROM nowhere [db/sqlite/query] failure"
    )
    assert recorder.spans[2]["context"]["db"]["rows_affected"] == 1


def test_reflection_and_raw_connections(recorder, engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("create table items (id integer primary key, name text unique)")
    with recorder.running():
        found = sqlalchemy.inspect(engine)
        assert [column["name"] for column in found.get_columns("items")] == ["id", "name"]
        raw = engine.raw_connection()
        raw.cursor().execute("select 1")
        raw.close()
    assert {span["name"] for span in recorder.spans} <= {"PRAGMA", "SELECT", "SELECT FROM sqlite_master"}
    assert recorder.spans[-1]["name"] == "SELECT"
