"""The collision rates of Table 5 count all items with codes, also those without interactions."""

from collections import Counter
from pathlib import Path

from semconv_warehouse.project import Project
from tests.worlds.projects import NUM_ITEMS, make_project, rows

CODES_OF_ALL = "SELECT codes FROM item_code"


def test_items_without_interactions_count(tmp_path: Path) -> None:
    project = make_project(tmp_path / "shop", items=NUM_ITEMS + 30)
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'title = "t"\nreference = "a"\n[[row]]\nlabel = "a"\n'
        'settings = { "codebook.collisions" = "keep", "codebook.codes" = 4, "tuning.max_samples" = 50 }\n'
    )
    (row,) = project.experiment(str(plan))
    other = Project.open(project.layout.data / "experiments")
    found = Counter(tuple(codes) for (codes,) in rows(other, CODES_OF_ALL))
    assert found.total() == NUM_ITEMS + 30
    shared = sum(number for number in found.values() if number > 1)
    assert row["collision_rate"] == shared / found.total()
    assert row["collision_rate_distinct"] == 1 - len(found) / found.total()
