"""A password of an online store is in no message and no traceback, and no file of the project lets one guess it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from semconv.artifacts import read_json, write_json
from semconv_cli.main import cli
from semconv_warehouse.features import online, repository
from semconv_warehouse.features.files import feature_store_yaml, key_file, marker_file
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.secrets import without

SECRET = "hush-hush"
STORES = {
    "a value of the wrong type": "  type: sqlite\n  path: [hush-hush]\n",
    "an unknown setting": "  type: sqlite\n  passwort: hush-hush\n",
    "a value from the environment": "  type: sqlite\n  path: ['${STORE_PASSWORD}']\n",
    "an unknown store": "  type: nothing\n  password: hush-hush\n",
    "an invalid file": "  type: sqlite\n  password: hush-hush: x\n",
    "a list": "  type: sqlite\n  passwords: [a, hush-hush]\n",
    "a connection string": "  type: redis\n  redis_type: none\n  connection_string: db:6379,password=hush-hush\n",
    "a store that cannot be reached": "  type: postgres\n  host: 127.0.0.1\n  port: 1\n  user: me\n  password: hush-hush\n  database: d\n",
}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> ProjectLayout:
    root = tmp_path_factory.mktemp("secrets") / "project"
    assert CliRunner().invoke(cli, ["init", str(root)]).exit_code == 0
    return ProjectLayout(root)


def _set_store(layout: ProjectLayout, store: str) -> None:
    yaml = feature_store_yaml(layout)
    lines = yaml.read_text().splitlines(keepends=True)
    begin = lines.index("online_store:\n") + 1
    end = next(number for number in range(begin, len(lines)) if not lines[number].startswith(" "))
    yaml.write_text("".join([*lines[:begin], store, *lines[end:]]))


@pytest.mark.parametrize("name", STORES)
def test_no_message_shows_the_password(layout: ProjectLayout, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_PASSWORD", SECRET)
    _set_store(layout, STORES[name])
    for flags in ([], ["-v"], ["-v", "--log-format", "json"]):
        result = CliRunner().invoke(cli, ["--project", str(layout.root), *flags, "features", "apply"])
        assert result.exit_code in (2, 4), result.output
        assert "feature_repo: Feast failed to" in result.stderr
        assert SECRET not in result.output
    assert "Traceback" in result.stderr


def test_a_password_of_digits_is_not_shown(layout: ProjectLayout) -> None:
    _set_store(layout, "  type: postgres\n  port: 5432\n  password: 271828\n  database: d\n  host: db\n")
    text = "login failed: me:271828@db:5432/d"
    assert without(text, repository._secrets(layout)) == "login failed: me:***@db:5432/d"


def test_the_marker_does_not_let_a_password_be_guessed(layout: ProjectLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_PASSWORD", SECRET)
    _set_store(layout, "  type: redis\n  connection_string: db:6379,password=${STORE_PASSWORD}\n")
    mark = online._online_store(layout)
    write_json(marker_file(layout), {"publication": 1, "online_store": mark})
    guess = f"{os.path.expandvars(feature_store_yaml(layout).read_text())}\0"
    assert SECRET in guess
    written = marker_file(layout).read_text()
    for algorithm in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        assert hashlib.new(algorithm, guess.encode()).hexdigest() not in written
    assert key_file(layout).stat().st_mode & 0o777 == 0o600
    assert (online._online_store(layout), online._read_marker(layout)) == (mark, read_json(marker_file(layout)))
    monkeypatch.setenv("STORE_PASSWORD", "other")
    assert online._read_marker(layout) is None


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"short")])
def test_a_lost_key_makes_the_next_materialize_load_everything(layout: ProjectLayout, damage: object) -> None:
    before = online._online_store(layout)
    write_json(marker_file(layout), {"publication": 1, "online_store": before})
    damage(key_file(layout))  # type: ignore[operator]
    assert online._read_marker(layout) is None
    assert online._online_store(layout) != before
    assert key_file(layout).stat().st_mode & 0o777 == 0o600
