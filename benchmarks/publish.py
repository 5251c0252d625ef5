"""Publishing lists of very many users, and readers beside it.

A publish makes a whole generation file: lists in order of user and rank, items, histories and the rest, everything checked.
Beside it stand a bare ``CREATE TABLE AS`` of the same lists from Arrow in memory, which orders and checks nothing, and SQLAlchemy's
executemany of a part of them. Both have the same rows at the end, which is checked first. Each side runs in a process of its
own, so that its peak memory is its own. Rates are of the processor too, which a busy machine disturbs less.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import sqlalchemy as sa

from benchmarks.publish_readers import readers_beside_publishes
from benchmarks.rows import Row, Size, Subject, apart, command, peak_memory_bytes, times_of
from benchmarks.serving_case import Case, make_project, write_parts
from semconv.data.list_rows import LIST_SCHEMA
from semconv_warehouse.features.export import export_features, feature_file
from semconv_warehouse.project import Project

PACKAGES = ["duckdb", "pyarrow", "sqlalchemy", "duckdb_engine"]
ARROW = Subject("publish", "CREATE TABLE AS from Arrow", PACKAGES)
EXECUTEMANY = Subject("publish", "SQLAlchemy executemany", PACKAGES)
ALONE = Subject("publish", "", PACKAGES)
USERS = {"small": (1_000, 10_000), "full": (50, 500, 5_000, 50_000, 500_000, 2_500_000)}
INSERTED = {"small": 5_000, "full": 200_000}  # rows of executemany, whose rate does not grow with them
ONLINE_USERS = 50_000  # up to so many users the online store is filled too

_FINGERPRINT = f"SELECT count(*), bit_xor(hash({', '.join(LIST_SCHEMA.names)})) FROM {{}}"


@dataclass(frozen=True)
class Done:
    """What one side took."""

    wall: float  # seconds
    processor: float
    peak: int  # bytes
    fingerprint: tuple[int, ...]  # of the rows, in any order


def run(size: Size) -> list[Row]:
    """Rates, memory and bytes a user for each number of users; readers last."""
    rows = []
    for users in USERS[size]:
        with tempfile.TemporaryDirectory() as folder:
            apart(prepare, Path(folder), Case(users))
            rows += measured(Path(folder), Case(users), INSERTED[size])
    return rows + readers_beside_publishes(size)


def measured(folder: Path, case: Case, inserted: int) -> list[Row]:
    """One number of users, whose project and parts are there."""
    load, ours = apart(load_parts, folder), apart(publish, folder)
    arrow, many = apart(create_from_arrow, folder), apart(execute_many, folder, min(inserted, case.rows))
    if ours.fingerprint != arrow.fingerprint:
        raise SystemExit(f"not the same rows: {ours.fingerprint} published, {arrow.fingerprint} from Arrow")
    name = f"{case.rows:,} rows of {case.users:,} users"
    many_rows = many.fingerprint[0]
    rows = []
    for clock in ("wall", "processor"):
        what = "publish" if clock == "wall" else "publish, of the processor"
        rate = case.rows / getattr(ours, clock)
        values = {"case": name, "metric": what, "unit": "rows/s", "ours": rate, "higher_is_better": True}
        rows.append(ARROW.row(peer=case.rows / getattr(arrow, clock), **values))
        rows.append(EXECUTEMANY.row(peer=many_rows / getattr(many, clock), **values))
    rows += [
        ALONE.row(name, "load of parts in no order", "rows/s", ours=case.rows / load.wall),
        ALONE.row(name, "load of parts in no order, of the processor", "rows/s", ours=case.rows / load.processor),
        ARROW.row(name, "peak memory of publish", "bytes", ours=float(ours.peak), peer=float(arrow.peak)),
        ALONE.row(name, "peak memory of load", "bytes", ours=float(load.peak)),
    ]
    sizes = apart(bytes_of_copies, folder, case)
    return rows + [
        ALONE.row(name, f"bytes a user: {copy}", "bytes", ours=size / case.users) for copy, size in sizes.items()
    ]


def prepare(folder: Path, case: Case) -> None:
    """A project without lists, and the lists as parts made elsewhere."""
    make_project(folder / "project", case)
    write_parts(folder / "parts", case)


def load_parts(folder: Path) -> Done:
    """``semconv recommend load``."""
    project = Project.open(folder / "project")
    seconds, _ = times_of(lambda: project.recommend_load(parts(folder)), repeats=1)
    return Done(seconds.wall, seconds.processor, peak_memory_bytes(), ())


def publish(folder: Path) -> Done:
    """``semconv publish``."""
    project = Project.open(folder / "project")
    seconds, _ = times_of(project.publish, repeats=1)
    peak = peak_memory_bytes()
    return Done(seconds.wall, seconds.processor, peak, fingerprint(project.layout.serving, "recommendation"))


def create_from_arrow(folder: Path) -> Done:
    """``CREATE TABLE AS`` and nothing else, down to the disk."""
    file, held = folder / "arrow.duckdb", pq.read_table(parts(folder))

    def create() -> None:
        with duckdb.connect(str(file)) as connection:
            connection.register("held", held)
            connection.execute("CREATE TABLE rows AS SELECT * FROM held")
            connection.execute("CHECKPOINT")

    seconds, _ = times_of(create, repeats=1)
    done = Done(seconds.wall, seconds.processor, peak_memory_bytes(), fingerprint(file, "rows"))
    file.unlink()
    return done


def execute_many(folder: Path, count: int) -> Done:
    """SQLAlchemy's way of inserting many rows, in one transaction."""
    file = folder / "many.duckdb"
    with duckdb.connect() as connection:
        held = connection.sql(
            "FROM read_parquet($parts) LIMIT $count", params={"parts": [str(p) for p in parts(folder)], "count": count}
        )
        values = held.to_arrow_table().to_pylist()
    engine = sa.create_engine(f"duckdb:///{file}")
    columns = [sa.Column(name, sa.String) for name in ("user_id", "item_id", "reason_item_id")]
    table = sa.Table(
        "rows", sa.MetaData(), *columns, sa.Column("rank", sa.Integer), sa.Column("score", sa.Double), sa.Column("sources", sa.ARRAY(sa.String))
    )  # fmt: skip
    table.create(engine)

    def insert() -> None:
        with engine.begin() as connection:
            connection.execute(table.insert(), values)

    seconds, _ = times_of(insert, repeats=1)
    engine.dispose()
    file.unlink()
    return Done(seconds.wall, seconds.processor, peak_memory_bytes(), (count,))


def bytes_of_copies(folder: Path, case: Case) -> dict[str, int]:
    """Bytes of every copy of the lists that a project keeps."""
    project = Project.open(folder / "project")
    layout = project.layout
    sizes = {"parts of the run": sum(path.stat().st_size for path in layout.runs.glob("*/part-*.parquet"))}
    sizes["generation file"] = layout.serving.stat().st_size
    if case.users <= ONLINE_USERS:
        project.features_materialize()
        sizes["Feast's online store, SQLite"] = (layout.data / "online_store.db").stat().st_size
    else:
        export_features(layout, project.store)
    sizes["Feast's Parquet"] = feature_file(layout, "user_top_k", 1).stat().st_size
    return sizes


def fingerprint(file: Path, table: str) -> tuple[int, ...]:
    """How many rows, and a hash of them in any order."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return tuple(connection.execute(_FINGERPRINT.format(table)).fetchall()[0])


def parts(folder: Path) -> list[Path]:
    """The lists, as they were made elsewhere."""
    return sorted((folder / "parts").glob("*.parquet"))


if __name__ == "__main__":
    command(run)
