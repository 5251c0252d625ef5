"""Two processes train what one trains: gloo on the CPU. Real torchrun and the other modes are in tests/slow."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from semconv.errors import SettingsError
from semconv.settings.tuning import TuningSettings
from semconv.train.group import Leader
from semconv.train.task import TuningTask
from semconv.tuning.processes import Processes
from tests.worlds.command import Commands
from tests.worlds.tuning.group import KINDS, PLAIN
from tests.worlds.tuning.group_checks import QUICK, alone, begun, require_same, require_same_weights
from tests.worlds.tuning.launch import forked

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def test_copies_and_shards_have_the_loss_of_one_process(commands: Commands, tmp_path: Path) -> None:
    root = begun(tmp_path, *QUICK)
    forked(commands, root, *QUICK)
    settings, tied = KINDS["ddp-full"]
    whole = alone(tmp_path / "alone", settings, tied)
    require_same(root / "ddp-full", whole)
    require_same_weights(root / "ddp-full", whole)
    plain = alone(tmp_path / "plain")
    require_same(root / "fsdp-resumed", plain)  # one process began it
    require_same_weights(root / "fsdp-resumed", plain)


def test_without_torchrun_there_is_one_process() -> None:
    from semconv.tuning.launch import is_follower, process_count
    from semconv.tuning.processes import connect

    assert "WORLD_SIZE" not in os.environ
    assert (process_count(), is_follower(), connect().count) == (1, False, 1)
    assert connect().broadcast(replace(PLAIN)) == PLAIN


@pytest.mark.parametrize("start", ["mlp2", "mlp3"])
def test_several_processes_refuse_rows_that_a_network_computes(start: Any) -> None:
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(TuningTask))
    task = TuningTask(**{**nothing, "tuning": TuningSettings(code_start=start)})
    with pytest.raises(SettingsError, match=f"{start} can only be trained in one process"):
        Leader(Processes(rank=0, count=2)).start(task)
