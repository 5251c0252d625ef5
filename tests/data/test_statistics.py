"""Statistics of the data, counted on data whose counts are known."""

import math

import pytest

from semconv.data.statistics import data_statistics
from semconv_warehouse.experiments.published import paper_data_set
from tests.worlds.paths import DATA
from tests.worlds.sequences import sequences_of


def test_users_items_and_interactions_are_counted() -> None:
    found = data_statistics(sequences_of([list(range(21)), [0, 1, 1], [], [5]]), num_items=30)
    assert (found.users, found.items, found.interactions, found.items_without_interactions) == (3, 21, 25, 9)
    assert found.average_length == 25 / 3
    assert found.long_user_share == 1 / 3  # 21 interactions
    assert found.sparsity == pytest.approx(1 - 24 / (3 * 21))  # one pair occurs twice


def test_twenty_interactions_are_not_long() -> None:
    assert data_statistics(sequences_of([list(range(20))]), num_items=20).long_user_share == 0.0


def test_data_without_interactions_has_no_averages() -> None:
    found = data_statistics(sequences_of([[], []]), num_items=3)
    assert (found.users, found.items, found.interactions, found.items_without_interactions) == (0, 0, 0, 3)
    assert all(math.isnan(value) for value in (found.sparsity, found.average_length, found.long_user_share))


@pytest.mark.skipif(not (DATA / "games").is_dir(), reason=f"no games in {DATA}; SEMCONV_TEST_DATA names the folder")
def test_games_has_the_counts_of_the_papers_table_2() -> None:
    from benchmarks.data import games_sequences

    found = games_sequences()
    assert found is not None
    statistics = data_statistics(found[0], len(found[1]))
    assert (statistics.users, statistics.items, statistics.interactions) == (50_546, 16_859, 452_989)
    assert round(statistics.average_length, 3) == 8.962
    assert round(statistics.long_user_share, 4) == 0.0480
    assert paper_data_set(statistics) == "Games"
