"""The gates before a publish and before a snapshot: what each SQL file measures, and what a failed gate leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from semconv.errors import GateFailedError
from semconv.settings.gates import GateSettings
from semconv_warehouse.gates.gate import Finding, Guard
from semconv_warehouse.gates.quality import ServedLists, served_lists
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.gated import EVERYONE, done, forced, make_gated, refused, semconv, write_lists

FEW = EVERYONE[:5]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_gated(tmp_path / "project")


def measured(gate: str, statements: str, **values: object) -> tuple[float | None, str]:
    """Run the SQL file of a gate on tables that ``statements`` create."""
    with duckdb.connect() as connection:
        connection.execute(statements)
        settings = GateSettings(max_days_without_events=1)
        (finding,) = Guard(settings).measure(connection, [gate], values)
        return finding.measured, finding.found


_LISTS = """
ATTACH ':memory:' AS candidate; ATTACH ':memory:' AS served;
CREATE TABLE served.recommendation AS SELECT 'u' || u AS user_id, 'i' || ((u + r) % 8) AS item_id FROM range(4) a(u), range(3) b(r);
CREATE TABLE candidate.recommendation AS {};
"""


@pytest.mark.parametrize(
    ("candidate", "users", "items", "length"),
    [
        ("FROM served.recommendation", 1.0, 1.0, 1.0),
        ("FROM served.recommendation WHERE user_id IN ('u0', 'u1', 'u2')", 0.75, 5 / 6, 1.0),
        ("SELECT user_id, 'i1' AS item_id FROM served.recommendation", 1.0, 1 / 6, 1.0),
        (
            "SELECT 'new ' || user_id AS user_id, 'other ' || item_id AS item_id FROM served.recommendation",
            0.0,
            1.0,
            1.0,
        ),
        ("SELECT user_id, item_id || r AS item_id FROM served.recommendation, range(2) c(r)", 1.0, 2.0, 2.0),
        ("SELECT user_id, min(item_id) AS item_id FROM served.recommendation GROUP BY ALL", 1.0, 2 / 3, 1 / 3),
        ("FROM served.recommendation LIMIT 0", 0.0, 0.0, 0.0),
    ],
)
def test_what_new_lists_lack_is_counted(candidate: str, users: float, items: float, length: float) -> None:
    assert measured("min_length", _LISTS.format(candidate), top_k=20)[0] == pytest.approx(length)
    assert measured("min_users", _LISTS.format(candidate))[0] == users
    assert measured("min_items", _LISTS.format(candidate))[0] == pytest.approx(items)


def test_nothing_served_measures_nothing() -> None:
    empty = _LISTS.format("SELECT 'u' AS user_id, 'i' AS item_id") + "DELETE FROM served.recommendation"
    assert measured("min_users", empty)[0] is None
    assert measured("min_items", empty)[0] is None
    assert measured("min_length", empty, top_k=20)[0] is None


@pytest.mark.parametrize(
    ("top_k", "share", "says"), [(3, 2 / 3, "the served lists have 3.0"), (2, 1.0, "recommend.top_k is 2.0")]
)
def test_lists_may_be_as_short_as_the_setting_says(top_k: int, share: float, says: str) -> None:
    shorter = _LISTS.format("SELECT * FROM served.recommendation QUALIFY row_number() OVER (PARTITION BY user_id) <= 2")
    found, text = measured("min_length", shorter, top_k=top_k)
    assert found == pytest.approx(share)
    assert text == f"the new lists have 2.0 items on average, {says}"


@pytest.mark.parametrize(
    ("snapshot", "share"),
    [(["a", "b", "c", "d"], 0.0), (["a", "a", "new"], 0.75), (["d", "gone"], 0.75), (["gone"], 1.0)],
)
def test_a_snapshot_is_measured_on_available_items(snapshot: list[str], share: float) -> None:
    items = "CREATE TABLE item AS SELECT * FROM (VALUES ('a', true), ('b', true), ('c', true), ('d', true), ('gone', false)) v(item_id, is_available);"
    rows = ", ".join(f"('{name}')" for name in snapshot)
    found = measured("max_removed", f"{items} CREATE TABLE snapshot_item AS SELECT * FROM (VALUES {rows}) v(item_id)")
    assert found == (share, f"the snapshot would remove {share * 4:.0f} of 4 available items")


@pytest.mark.parametrize(
    ("times", "days"),
    [
        (["2026-03-01 12:00"], 0.0),
        (["2026-02-27 00:00", "2026-02-20 12:00"], 2.5),
        (["2026-03-02 06:00"], -0.75),  # a shop to the east that writes its local time
        (["2026-02-27 12:00", "2036-01-01 00:00"], 2.0),  # a wrong time in the future hides nothing
        (["2036-01-01 00:00"], None),
        ([], None),
    ],
)
def test_the_age_of_the_newest_event(times: list[str], days: float | None) -> None:
    rows = "".join(f"INSERT INTO interaction VALUES ('{time}');" for time in times)
    table = "CREATE TABLE interaction (event_time TIMESTAMP); INSERT INTO interaction VALUES (NULL);"
    now = datetime(2026, 3, 1, 12)  # noqa: DTZ001
    assert measured("max_days_without_events", table + rows, now=now)[0] == days


@pytest.mark.parametrize(
    ("gate", "number", "limit", "is_failed"),
    [
        ("min_users", 0.9, 0.9, False),
        ("min_users", 0.89, 0.9, True),
        ("max_removed", 0.3, 0.3, False),
        ("max_removed", 0.31, 0.3, True),
        ("max_days_without_events", 1.5, 1, True),
        ("above_popularity", -0.01, 1, True),
        ("above_popularity", 0.0, 1, False),
        ("min_items", None, 0.5, False),
    ],
)
def test_a_gate_fails_beyond_its_limit(gate: str, number: float | None, limit: float, is_failed: bool) -> None:
    assert Finding(gate, number, limit, "").is_failed is is_failed


def test_every_failed_gate_has_a_line_and_an_overridden_one_is_said() -> None:
    findings = [
        Finding("min_users", 0.025, 0.9, "50 of 2,000 users"),
        Finding("min_items", 0.6, 0.5, ""),
        Finding("max_days_without_events", 3.25, 1, "the newest"),
    ]
    with pytest.raises(GateFailedError) as failure:
        Guard().require(findings, "nothing was published")
    assert failure.value.exit_code == 1
    assert failure.value.lines == (
        "gate min_users: 50 of 2,000 users, that is 2.5%; gates.min_users allows at least 90.0%; nothing was published; --force overrides this gate",
        "gate max_days_without_events: the newest, that is 3.2 days; gates.max_days_without_events allows at most 1 day; nothing was published; --force overrides this gate",
    )
    said: list[str] = []
    assert len(Guard(is_forced=True, say=said.append).require(findings, "")) == len(said) == 2
    assert said[0].startswith("overridden by --force: gate min_users")


def test_a_load_of_few_users_is_not_published(root: Path, tmp_path: Path) -> None:
    done(root, "recommend", "load", write_lists(tmp_path / "few.parquet", FEW, shift=1))
    lines = refused(root, "publish")
    assert "5 of 80 users with served lists have a new list" in lines[0]
    publication = done(root, "publish", "--force")
    assert (publication["generation"], publication["is_new"]) == (2, True)
    assert "min_users" in publication["forced"]
    assert "min_users" in forced(root)[2]
    assert "min_users" in semconv(root, "generations").stdout
    assert done(root, "sql", "SELECT count(DISTINCT user_id) AS n FROM recommendation") == [{"n": 5}]
    assert done(root, "check")  # the forced generation passes all checks


def test_a_merged_load_keeps_the_lists_of_the_other_users(root: Path, tmp_path: Path) -> None:
    lists = "SELECT user_id, rank, item_id FROM recommendation ORDER BY ALL"
    before = done(root, "sql", lists, "--limit", "0")
    done(root, "recommend", "load", "--merge", write_lists(tmp_path / "few.parquet", FEW, shift=9))
    publication = done(root, "publish")
    assert (publication["generation"], publication["forced"]) == (2, [])
    after = done(root, "sql", lists, "--limit", "0")
    assert [row for row in after if row["user_id"] not in FEW] == [row for row in before if row["user_id"] not in FEW]
    assert [row for row in after if row["user_id"] in FEW] != [row for row in before if row["user_id"] in FEW]
    # The same file once more, on other lists: it is merged into the lists that are served now.
    done(root, "recommend", "load", write_lists(tmp_path / "all.parquet", shift=3))
    done(root, "publish")
    done(root, "recommend", "load", "--merge", tmp_path / "few.parquet")
    assert done(root, "publish")["generation"] == 4
    merged = done(root, "sql", lists, "--limit", "0")
    assert [row for row in merged if row["user_id"] in FEW] == [row for row in after if row["user_id"] in FEW]
    assert [row for row in merged if row["user_id"] not in FEW] != [row for row in after if row["user_id"] not in FEW]
    assert done(root, "publish")["is_new"] is False


def test_lists_for_some_users_are_published_over_the_lists_of_the_others(root: Path, tmp_path: Path) -> None:
    project = Project.open(root)
    first = project.workspace.need("recommend")
    assert served_lists(project.store) == ServedLists(1, first, first.run_id)
    for number, shift in enumerate((9, 11), 2):
        merged = done(root, "recommend", "load", "--merge", write_lists(tmp_path / "few.parquet", FEW, shift=shift))
        (root / "semconv.toml").write_text(case.WITH_ALL_GATES)
        result = semconv(root, "publish")
        assert result.exit_code == 0
        assert f"the lists of {merged['run_id']} are external, so no lists without the held-out items" in result.stderr
        assert served_lists(Project.open(root).store) == ServedLists(number, first, merged["run_id"])
    assert "gate" not in semconv(root, "publish").stderr  # these lists are served already
    done(root, "publish", "--rollback")  # to generation 2, whose other users have the lists of generation 1
    assert served_lists(Project.open(root).store).run == first


def test_lists_that_are_cut_short_are_not_published(root: Path, tmp_path: Path) -> None:
    done(root, "recommend", "load", write_lists(tmp_path / "short.parquet", length=3))
    (line,) = refused(root, "publish")
    assert "gate min_length: the new lists have 3.0 items on average, the served lists have 5.0, that is 60.0%" in line
    assert done(root, "publish", "--force")["forced"] == ["min_length"]
    done(root, "recommend", "load", write_lists(tmp_path / "longer.parquet", length=4))
    assert done(root, "publish")["forced"] == []


def test_lists_of_eight_items_are_not_published(root: Path, tmp_path: Path) -> None:
    done(root, "recommend", "load", write_lists(tmp_path / "eight.parquet", items=8))
    (line,) = refused(root, "publish")
    assert "the new lists have 8 different items, the served lists have 60" in line
    assert semconv(root, "--set", "gates.min_items=0.1", "publish").exit_code == 0
    assert forced(root) == {}
    done(root, "publish", "--rollback")
    refused(root, "publish")  # also the generation that was published with another limit
    assert done(root, "publish", "--force")["forced"] == ["min_items"]
    assert forced(root) == {3: ["min_items"]}
    done(root, "publish", "--rollback")
    assert (
        semconv(root, "publish", "--rollback").exit_code == 4
    )  # generation 2 was left, so nothing was served before 1
    assert done(root, "publish", "--force")["generation"] == 3  # its record has the gate already


def test_a_snapshot_of_few_items_is_not_stored(root: Path, tmp_path: Path) -> None:
    few = case.write_lines(tmp_path / "few.jsonl", [{**case.item(number), "title": "new"} for number in range(12)])
    (line,) = refused(root, "ingest", "items", few, "--snapshot")
    assert "the snapshot would remove 48 of 60 available items, that is 80.0%" in line
    assert "no item was changed" in line
    assert semconv(root, "ingest", "items", few, "--force").exit_code == 2
    assert done(root, "ingest", "items", few, "--snapshot", "--force")["removed"] == 48
    assert done(root, "ingest", "items", few, "--snapshot")["removed"] == 0  # what is removed already does not count
    done(root, "recommend", "load", write_lists(tmp_path / "left.parquet", items=12))
    refused(root, "publish")
    publication = done(root, "publish", "--force")
    assert sorted(publication["forced"]) == ["max_removed", "min_items"]
    done(root, "recommend", "load", write_lists(tmp_path / "next.parquet", items=12, shift=1))
    assert done(root, "publish")["forced"] == []  # recorded once, in the first generation after the snapshot


def test_old_events_are_not_published(root: Path) -> None:
    project, now = Project.open(root), datetime.now(UTC)
    without = semconv(root, "--set", "gates.max_days_without_events=1", "publish")
    assert without.exit_code == 0
    assert "no interaction has a time in the past, so the gate could not be measured" in without.stderr
    with project.store.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE interaction SET event_time = '{now:%Y-%m-%d %H:%M}'::TIMESTAMP - INTERVAL 36 HOUR"
        )
    (line,) = refused(root, "--set", "gates.max_days_without_events=1", "publish")
    assert "that is 1.5 days; gates.max_days_without_events allows at most 1 day" in line
    refused(root, "--set", "gates.max_days_without_events=1", "run")
    assert done(root, "--set", "gates.max_days_without_events=1", "publish", "--force")["generation"] == 2
    assert forced(root) == {2: ["max_days_without_events"]}
    assert semconv(root, "--set", "gates.max_days_without_events=2", "publish").exit_code == 0


def test_a_rollback_passes_no_gate(root: Path) -> None:
    assert semconv(root, "publish", "--rollback", "--force").exit_code == 2
