"""Tests of the output: tables, JSON, CSV, metrics and progress."""

import csv
import io
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from semconv.columns import FINETUNE
from semconv.data.store import RunRecord
from semconv.progress import LineProgress
from semconv_cli import output
from semconv_cli.figures import write_differences, write_figures
from semconv_cli.progress import BarProgress
from semconv_cli.runs import write_run
from semconv_cli.state import State

ROWS = [
    {"user_id": "u1", "rank": 1, "score": -0.25, "title": "Café ☕", "codes": [1, 2]},
    {"user_id": "u22", "rank": 10, "score": None, "title": None, "codes": []},
]


def test_table_aligns_and_names_nulls(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows(ROWS, columns=["user_id", "rank", "score", "title"], null="NULL")
    assert capsys.readouterr().out.splitlines() == [
        "user_id  rank    score  title",
        "-------  ----  -------  -------",
        "u1          1  -0.2500  Café ☕",
        "u22        10     NULL  NULL",
    ]


def test_control_characters_are_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows([{"title": "a\x1b[31mred\nline\ttab"}])
    assert capsys.readouterr().out.splitlines()[2] == "a [31mred line tab"


def test_wide_characters_keep_columns_straight(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows([{"title": "日本", "n": 1}, {"title": "ab", "n": 2}])
    assert capsys.readouterr().out.splitlines()[2:] == ["日本   1", "ab     2"]


def test_long_cells_are_cut_visibly(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows([{"title": "x" * 100}])
    assert capsys.readouterr().out.splitlines()[2] == "x" * 59 + "…"
    output.write_rows([{"title": "x" * 100}], is_cut=False)
    assert "x" * 100 in capsys.readouterr().out


def test_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows([], columns=["run_id"])
    assert capsys.readouterr().out == "run_id\n------\n"
    output.write_rows([], form="json")
    assert json.loads(capsys.readouterr().out) == []
    output.write_rows([], form="ndjson")
    assert capsys.readouterr().out == ""


def test_json_forms_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows(ROWS, form="json", columns=["rank"])
    assert json.loads(capsys.readouterr().out) == ROWS
    output.write_rows(ROWS, form="ndjson")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_csv_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows([{"a": 'x,"y"\nz', "b": None, "c": [1, 2]}], form="csv")
    assert list(csv.DictReader(io.StringIO(capsys.readouterr().out))) == [{"a": 'x,"y"\nz', "b": "", "c": "[1, 2]"}]


def test_decimals_are_numbers_in_json_and_exact_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"share": Decimal("1.50"), "sum": Decimal(10**20), "n": 1}
    output.write_rows([row], form="ndjson")
    assert json.loads(capsys.readouterr().out) == {"share": 1.5, "sum": 10**20, "n": 1}
    output.write_rows([row], form="csv")
    assert capsys.readouterr().out.splitlines()[1] == "1.50,100000000000000000000,1"
    output.write_rows([row, {**row, "share": None}])
    assert capsys.readouterr().out.splitlines()[2:] == [
        " 1.50  100000000000000000000  1",
        "    -  100000000000000000000  1",
    ]


def test_plain_values() -> None:
    value = {
        "nan": float("nan"),
        "when": datetime(2026, 1, 2, 3),  # noqa: DTZ001
        "array": np.arange(2),
        "one": np.float32(0.5),
        "at": Path("x"),
    }
    expected = {"nan": None, "when": "2026-01-02T03:00:00", "array": [0, 1], "one": 0.5, "at": "x"}
    assert output.plain(value) == expected


def test_run_record(capsys: pytest.CaptureFixture[str]) -> None:
    start = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001
    record = RunRecord(
        "finetune-1",
        FINETUNE,
        "finished",
        {"k": 1},
        ("a",),
        "f",
        "data/runs/finetune-1",
        "0.1",
        start,
        start.replace(second=15),
    )
    write_run(State(), record, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "run        finetune-1",
        "status     finished",
        "artifacts  data/runs/finetune-1",
    ]
    write_run(State(), record, as_json=True)
    assert json.loads(capsys.readouterr().out)["inputs"] == ["a"]


def test_metrics_have_one_line_per_method(capsys: pytest.CaptureFixture[str]) -> None:
    shared = {
        "run_id": "r",
        "split": "test",
        "segment": "all",
        "train_cut": "[:-2]",
        "seen": "masked",
        "num_users": 50,
        "protocol": {"where": "", "beams": 20},
    }
    rows = [
        {**shared, "method": method, "name": name, "k": 10, "value": value, "ci_low": value - 0.01, "ci_high": value + 0.01}
        for method, name, value in [
            ("model", "hit_ratio", 0.2), ("model", "ndcg", 0.1), ("popularity", "hit_ratio", 0.06), ("popularity", "ndcg", 0.03)
        ]
    ]  # fmt: skip
    write_figures(rows)
    assert capsys.readouterr().out.splitlines() == [
        "method       hr@10  ndcg@10  ndcg@10 interval",
        "----------  ------  -------  ----------------",
        "model       0.2000   0.1000  0.0900 to 0.1100",
        "popularity  0.0600   0.0300  0.0200 to 0.0400",
        "",
        "50 users; split test, train_cut [:-2], seen masked, beams 20",
    ]


def test_progress_lines_are_rare_and_show_rate_and_time_left() -> None:
    now, lines = [0.0], list[str]()
    progress = LineProgress(lines.append, lambda: now[0])
    with progress.task("tuning", 1000, "samples", done=100) as task:
        for _ in range(9):
            now[0] += 10
            task.advance(100, "loss 2.0")
    progress.say("done")
    assert lines == [
        "tuning: 400 of 1,000 samples, 10 samples/s, 1 min 00 s left (loss 2.0)",
        "tuning: 700 of 1,000 samples, 10 samples/s, 30.0 s left (loss 2.0)",
        "tuning: 1,000 of 1,000 samples, 10 samples/s, 0.0 s left (loss 2.0)",
        "tuning: 1,000 of 1,000 samples in 1 min 30 s (loss 2.0)",
        "done",
    ]


def test_bars_on_a_terminal_show_count_rate_and_note() -> None:
    stream = io.StringIO()
    progress = BarProgress(Console(file=stream, force_terminal=True, width=120))
    with progress.task("outer", 2, "epochs"), progress.task("tuning [x]", 10, "samples", done=4) as task:
        task.advance(6, "loss [1.5]")
        progress.say("a remark [red]unchanged[/red]")
    text = stream.getvalue()
    assert "10/10 samples" in text
    assert "loss [1.5]" in text
    assert "tuning [x]" in text
    assert "a remark [red]unchanged[/red]" in text


def test_segments_are_sorted_by_their_first_number(capsys: pytest.CaptureFixture[str]) -> None:
    shared = {"split": "test", "train_cut": "[:-2]", "seen": "masked", "method": "model", "ci_low": 0.1, "ci_high": 0.3}
    names = ["all", "cold target", "history 10-19", "history 5-9", "target popularity 8+", "warm target"]
    rows = [
        {
            **shared,
            "segment": name,
            "num_users": 50 + number,
            "name": "hit_ratio",
            "k": 10,
            "value": 0.2,
            "protocol": {},
        }
        for number, name in enumerate(names)
    ]
    write_figures(rows, segments=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in lines[6:-2]] == [
        "history 5-9", "history 10-19", "target popularity 8+", "warm target", "cold target",
    ]  # fmt: skip
    assert "53" in lines[6]


def test_differences_name_settings_that_differ_between_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    protocol = {"split": "test", "seen": {"ours": "masked", "theirs": "kept"}}
    figures = {"ours": 0.2, "theirs": 0.1, "difference": 0.1, "ci_low": 0.05, "ci_high": 0.15, "num_users": 1200}
    write_differences([{"method": "model", "name": "ndcg", "k": 10, **figures, "protocol": protocol}])
    lines = capsys.readouterr().out.splitlines()
    assert "+0.1000" in lines[2]
    assert "+0.0500 to +0.1500" in lines[2]
    assert lines[-1] == "1,200 users; split test, seen masked here and kept there"


HOSTILE = "a\x1b]0;title\x07\x9b31m\x7f\u202eb"


def test_no_control_character_reaches_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    row = {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}, "n\nm": 1}
    output.write_rows([row])
    output.write_fields(row)
    output.write(HOSTILE)
    for form in ("json", "ndjson"):
        output.write_rows([row], form=form)
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.split("\n"))
    assert json.loads(printed.splitlines()[-1]) == row


def test_csv_is_exact_in_a_pipe_and_printable_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output.write_rows([{HOSTILE: HOSTILE}], form="csv")
    assert capsys.readouterr().out == f"{HOSTILE}\n{HOSTILE}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.write_rows([{HOSTILE: HOSTILE}], form="csv")
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def test_progress_messages_are_printable() -> None:
    stream = io.StringIO()
    BarProgress(Console(file=stream)).say(HOSTILE)
    assert all(line.isprintable() for line in stream.getvalue().split("\n"))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+SUM(A1)", "'+SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("@x", "'@x"),
        (" \t=x", "' \t=x"),
        ("\uff1dx", "'\uff1dx"),
        ("-2.5", "-2.5"),
        ("+1e9", "+1e9"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_csv_without_formulas(capsys: pytest.CaptureFixture[str], text: str, cell: str) -> None:
    for is_guarded, expected in ((True, cell), (False, text)):
        output.write_rows([{"=head": text, "x": -1.5}], form="csv", no_formulas=is_guarded)
        head, row = list(csv.reader(io.StringIO(capsys.readouterr().out)))
        assert row == [expected, "-1.5"]
        assert head == ["'=head" if is_guarded else "=head", "x"]
