"""An evaluation of held-out items without interactions compares the newest items and the items with similar texts."""

from __future__ import annotations

from pathlib import Path

from tests.worlds import projects as case

WITHOUT = case.SETTINGS.replace('use = "never"', "model = false")


def test_the_methods_for_new_items_are_measured_if_a_held_out_item_is_new(tmp_path: Path) -> None:
    project = case.make_project(tmp_path / "shop", settings=WITHOUT)
    lamp = case.item(0)["title"]
    project.ingest_items(
        [case.write_lines(tmp_path / "item.jsonl", [{"item_id": "fresh", "title": f"{lamp} lamp"}])], {}
    )
    rows = [
        {"user_id": "keen", "item_id": item_id, "source_position": place}
        for place, item_id in enumerate([case.item_id(40), case.item_id(50), case.item_id(0), "fresh"])
    ]
    project.ingest_interactions([case.write_lines(tmp_path / "events.jsonl", rows)], {})
    project = case.reopened(project)
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.blend):
        command()
    found = {
        (row["method"], row["segment"], row["k"]): row
        for row in project.evaluate()
        if row["name"] == "hit_ratio" and row["segment"] in ("new target", "warm target")
    }
    assert {method for method, _, _ in found} >= {"newest", "text-cosine", "blend-without-model", "popularity"}
    assert found["newest", "new target", 1]["num_users"] == 1
    assert found["newest", "new target", 1]["value"] == 1  # it came last
    assert found["newest", "warm target", 10]["value"] == 0
    assert found["text-cosine", "new target", 10]["value"] == 1
    assert found["popularity", "new target", 10]["value"] == 0
    assert found["text-cosine", "new target", 1]["protocol"]["parameters"] == {"history_decay": 0.75}
