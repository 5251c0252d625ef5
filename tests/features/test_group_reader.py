"""A member of the project's group looks features up, and cannot read the key of the marker."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from semconv_warehouse.features.files import key_file
from tests.worlds.command import Commands
from tests.worlds.erasing import copied, person, template

NOBODY = 65534
# Looks a user up as root, which imports all that Feast needs, and then as a member of the group.
_LOOK_UP = """
import json, os, sys
from pathlib import Path
from semconv_warehouse.features.online import get_features
from semconv_warehouse.store.layout import ProjectLayout

layout = ProjectLayout(Path(sys.argv[1]))
get_features(layout, user=sys.argv[2])
os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
print(json.dumps(get_features(layout, user=sys.argv[2])), flush=True)
os._exit(0)  # an ordinary end would write to a folder of root
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_reader_of_the_group_gets_features(commands: Commands, tmp_path: Path) -> None:
    layout = copied(template(), tmp_path / "project").layout
    for path in (layout.root, *layout.root.rglob("*")):
        os.chown(path, 0, NOBODY)
    for folder in (layout.root, tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    assert key_file(layout).stat().st_mode & 0o077 == 0
    done = commands.program(_LOOK_UP, layout.root, person(1), NOBODY)
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["user_top_k"]["item_ids"]
