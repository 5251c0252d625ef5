"""``feast serve`` as documented: it answers, it accepts writes from anybody, and it ends."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.serving.online_stores import feature_server, is_listening
from semconv_warehouse.features import online, repository
from semconv_warehouse.publish.publishing import publish
from tests.worlds.paths import ROOT
from tests.worlds.published import make_project

PAGE = ROOT / "docs" / "features.md"


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def served(address: str, item: str) -> dict[str, Any]:
    body = {"feature_service": "item_v1", "entities": {"item_id": [item]}, "full_feature_names": True}
    answer = ask(address, "/get-online-features", body)
    names, results = answer["metadata"]["feature_names"], answer["results"]
    return {name: result["values"][0] for name, result in zip(names, results, strict=True)}


def test_the_server_behaves_as_documented(tmp_path: Path) -> None:
    layout, store = make_project(tmp_path / "project")
    repository.create_feature_repo(layout)
    publish(layout, store, "recommend-1")
    online.materialize(layout, store)
    with feature_server(layout.feature_repo) as address:
        assert served(address, "i5") == {
            "item_id": "i5",
            "item_embedding__vector": pytest.approx([0.6427876, 0.7660444]),
            "item_embedding__generation": 1,
            "item_code__codes": [1, 1],
            "item_code__semantic_id": "<a_1><b_1>",
            "item_code__generation": 1,
        }
        assert set(served(address, "nobody").values()) == {"nobody", None}
        paths = set(ask(address, "/openapi.json")["paths"])
        assert paths <= set(re.findall(r"`(/[^`]*)`", PAGE.read_text()))
        assert {"/write-to-online-store", "/push", "/materialize"} <= paths
        row = {"item_id": ["i5"], "codes": [[9, 9]], "semantic_id": ["mine"], "generation": [9], "event_timestamp": ["2100-01-01"]}  # fmt: skip
        ask(address, "/write-to-online-store", {"feature_view_name": "item_code", "df": row})
        assert served(address, "i5")["item_code__semantic_id"] == "mine"  # written without authentication
    assert not is_listening(int(urlsplit(address).port or 0))
    online.materialize(layout, store, again=True)
    assert online.get_features(layout, item="i5")["item_code"]["semantic_id"] == "<a_1><b_1>"
