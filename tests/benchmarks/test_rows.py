"""Rows of benchmarks: ratios, figures without a peer, both clocks, and peak memory of one process."""

import json
from pathlib import Path

import numpy as np

from benchmarks.codes.codebook_ablation import RQVAE, cases, markdown, rows_of
from benchmarks.rows import Comparison, finish
from benchmarks.timing import Seconds, in_own_process, peak_memory_bytes, timed
from semconv.settings.codebook import CodebookSettings, RqvaeSettings


def test_ratio_is_better_above_one_and_absent_without_a_peer(tmp_path: Path, capsys) -> None:
    beside, alone = Comparison("b", "peer", ["numpy"]), Comparison("b", "", ["numpy"])
    rows = [
        beside.row("c", "time", "s", ours=2.0, peer=6.0),
        beside.row("c", "rate", "1/s", ours=2.0, peer=6.0, higher_is_better=True),
        alone.row("c", "share", "", ours=0.5),
    ]
    assert [row.ratio for row in rows] == [3.0, 1 / 3, None]
    finish(rows, tmp_path / "deep" / "rows.json")
    assert "None" not in capsys.readouterr().out
    written = json.loads((tmp_path / "deep" / "rows.json").read_text())
    assert [(row["peer"], row["peer_name"]) for row in written] == [(6.0, "peer"), (6.0, "peer"), (None, "")]


def test_rates_and_seconds_have_a_row_for_each_clock() -> None:
    ours, peer = Seconds(wall=2.0, processor=1.0), Seconds(wall=4.0, processor=4.0)
    beside = Comparison("b", "peer", [])
    seconds, rates = beside.seconds("c", "search", ours, peer), beside.rates("c", "search", "users/s", 8, ours, peer)
    assert [(row.metric, row.ours, row.peer, row.ratio) for row in seconds + rates] == [
        ("search", 2.0, 4.0, 2.0), ("search, of the processor", 1.0, 4.0, 4.0),
        ("search", 4.0, 2.0, 2.0), ("search, of the processor", 8.0, 2.0, 4.0),
    ]  # fmt: skip
    assert [row.peer for row in Comparison("b", "", []).rates("c", "search", "users/s", 8, ours)] == [None, None]


def test_peak_memory_is_that_of_the_process_alone() -> None:
    """The peak of a new process does not include the memory of its large parent."""
    held = np.ones(200 << 17)  # 200 MiB
    assert peak_memory_bytes() > held.nbytes
    assert in_own_process(peak_memory_bytes) < held.nbytes


def test_timed_gives_the_last_result() -> None:
    results = iter(range(3))
    assert timed(lambda: next(results))[1] == 2


def test_each_case_of_the_ablation_changes_one_choice_and_shows_every_figure() -> None:
    default = CodebookSettings()
    changed = cases(500)
    assert changed["default (lambda 0.1)"] == default
    assert changed["1 level, a code for each item (C=1)"].codes == 500
    encoded = [case for case, settings in changed.items() if settings.method == "rqvae"]
    assert encoded == list(RQVAE)
    assert len({str(RqvaeSettings(**choices)) for choices in RQVAE.values()}) == len(RQVAE)
    assert len(set(changed.values())) == len(changed) - len(RQVAE) + 1
    figures = {"reconstruction error": 0.25, "entropy by level": [1.0, 2.0], "error of moved items after": None}
    rows = rows_of("case", figures)
    assert [(row.metric, row.ours) for row in rows] == [
        ("reconstruction error", 0.25), ("entropy by level 1", 1.0), ("entropy by level 2", 2.0),
    ]  # fmt: skip
    assert "| case | 0.2500 |" in markdown("items", {"case": figures})
    assert "| 1 2 |" in markdown("items", {"case": figures})
