"""Publishing the lists of very many users, and readers during publishes.

A publish makes a whole generation file: lists ordered by user and rank, items, histories and everything else, with all
checks. One peer is a bare ``CREATE TABLE AS`` of the same lists from Arrow in memory, without order and checks. The other
is SQLAlchemy's executemany with a part of the lists. First it is checked that both sides hold the same rows. Each side runs
in its own process, so that its peak memory is its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import sqlalchemy as sa

from benchmarks.measured import Measured, fingerprint
from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.serving.case import Case, make_project, write_parts
from benchmarks.serving.readers import readers_beside_publishes
from benchmarks.timing import Seconds, in_own_process, peak_memory_bytes, timed
from semconv.data.list_rows import LIST_SCHEMA
from semconv_warehouse.features.export import export_features, feature_file
from semconv_warehouse.project import Project

PACKAGES = ["duckdb", "pyarrow", "sqlalchemy", "duckdb_engine"]
ARROW = Comparison("publish", "CREATE TABLE AS from Arrow", PACKAGES)
EXECUTEMANY = Comparison("publish", "SQLAlchemy executemany", PACKAGES)
ALONE = Comparison("publish", "", PACKAGES)
USERS = {"small": (1_000, 10_000), "full": (50, 500, 5_000, 50_000, 500_000, 2_500_000)}
INSERTED = {"small": 5_000, "full": 200_000}  # rows of executemany; its rate does not depend on their number
ONLINE_USERS = 50_000  # for more users the online store is not filled


def run(size: Size) -> list[Row]:
    """Measure rates, memory and bytes for each user, for several numbers of users; then readers."""
    rows = []
    for users in USERS[size]:
        with tempfile.TemporaryDirectory() as folder:
            in_own_process(prepare, Path(folder), Case(users))
            rows += measure(Path(folder), Case(users), INSERTED[size])
    return rows + readers_beside_publishes(size)


def measure(folder: Path, case: Case, inserted: int) -> list[Row]:
    """Measure one number of users, after ``prepare``."""
    load, ours = in_own_process(load_parts, folder), in_own_process(publish, folder)
    arrow = in_own_process(create_from_arrow, folder)
    many = in_own_process(execute_many, folder, min(inserted, case.rows))
    if ours.fingerprint != arrow.fingerprint:
        raise SystemExit(f"not the same rows: {ours.fingerprint} published, {arrow.fingerprint} from Arrow")
    name = f"{case.rows:,} rows of {case.users:,} users"
    scale = case.rows / many.fingerprint[0]  # executemany inserted fewer rows
    many_seconds = Seconds(many.seconds.wall * scale, many.seconds.processor * scale)
    rows = [
        *ARROW.rates(name, "publish", "rows/s", case.rows, ours.seconds, arrow.seconds),
        *EXECUTEMANY.rates(name, "publish", "rows/s", case.rows, ours.seconds, many_seconds),
        *ALONE.rates(name, "load of parts in no order", "rows/s", case.rows, load.seconds),
        ARROW.row(name, "peak memory of publish", "bytes", ours=float(ours.peak), peer=float(arrow.peak)),
        ALONE.row(name, "peak memory of load", "bytes", ours=float(load.peak)),
    ]
    sizes = in_own_process(bytes_of_copies, folder, case)
    return rows + [
        ALONE.row(name, f"bytes a user: {copy}", "bytes", ours=size / case.users) for copy, size in sizes.items()
    ]


def prepare(folder: Path, case: Case) -> None:
    """Make a project without lists, and the external lists as parts."""
    make_project(folder / "project", case)
    write_parts(folder / "parts", case)


def load_parts(folder: Path) -> Measured:
    """Measure ``semconv recommend load``."""
    project = Project.open(folder / "project")
    seconds, _ = timed(lambda: project.recommend_load(parts(folder)), repeats=1)
    return Measured(seconds, peak_memory_bytes(), ())


def publish(folder: Path) -> Measured:
    """Measure ``semconv publish``."""
    project = Project.open(folder / "project")
    seconds, _ = timed(project.publish, repeats=1)
    peak = peak_memory_bytes()
    return Measured(seconds, peak, fingerprint(project.layout.serving, "recommendation", LIST_SCHEMA.names))


def create_from_arrow(folder: Path) -> Measured:
    """Measure a bare ``CREATE TABLE AS``, written to the disk."""
    file, held = folder / "arrow.duckdb", pq.read_table(parts(folder))

    def create() -> None:
        with duckdb.connect(str(file)) as connection:
            connection.register("held", held)
            connection.execute("CREATE TABLE rows AS SELECT * FROM held")
            connection.execute("CHECKPOINT")

    seconds, _ = timed(create, repeats=1)
    measured = Measured(seconds, peak_memory_bytes(), fingerprint(file, "rows", LIST_SCHEMA.names))
    file.unlink()
    return measured


def execute_many(folder: Path, count: int) -> Measured:
    """Measure SQLAlchemy's executemany of ``count`` rows in one transaction."""
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

    seconds, _ = timed(insert, repeats=1)
    engine.dispose()
    file.unlink()
    return Measured(seconds, peak_memory_bytes(), (count,))


def bytes_of_copies(folder: Path, case: Case) -> dict[str, int]:
    """Return the bytes of every copy of the lists that a project keeps."""
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


def parts(folder: Path) -> list[Path]:
    """Return the files of the external lists."""
    return sorted((folder / "parts").glob("*.parquet"))


if __name__ == "__main__":
    command(run, __doc__)
