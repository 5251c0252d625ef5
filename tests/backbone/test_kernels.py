"""The memory of kernels for bfloat16 stays bounded, however many shapes a training has."""

from __future__ import annotations

import os

import pytest
import torch

from semconv.backbone.machine import KERNEL_LIMITS, limit_kernels
from tests.worlds.command import Commands

# Prints by how many MB products of many shapes let the memory grow, after a first few of them.
_GROWTH = """
import ctypes, gc, os, sys
from semconv.backbone.machine import KERNEL_LIMITS, limit_kernels
for name in KERNEL_LIMITS:
    os.environ.pop(name, None)
if sys.argv[1] == "limited":
    limit_kernels()
import torch
torch.set_num_threads(1)

def memory():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

weights = [torch.randn(64, size, dtype=torch.bfloat16) for size in (64, 96, 128)]
for rows in range(1, 401):
    for weight in weights:
        torch.nn.functional.linear(torch.ones(rows, weight.shape[1], dtype=torch.bfloat16), weight)
    if rows == 50:
        before = memory()
print((memory() - before) / 1e6)
"""


def test_many_shapes_take_no_more_memory_than_few(commands: Commands) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 instructions")
    growth = {name: commands.program(_GROWTH, name) for name in ("limited", "as it comes")}
    assert all(done.status == 0 for done in growth.values()), growth
    limited, free = (float(done.stdout) for done in growth.values())
    if free < 50:
        pytest.skip("oneDNN keeps little memory for its kernels on this processor")
    assert limited < free / 10


def test_a_number_in_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = KERNEL_LIMITS
    monkeypatch.setenv(first, "7")
    monkeypatch.setenv(second, "to be restored")
    del os.environ[second]
    limit_kernels()
    assert (os.environ[first], os.environ[second]) == ("7", "64")
