"""A machine without a compiler, and a compiler that fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from semconv.backbone.machine import require_compiler
from semconv.errors import SettingsError


def test_machine_without_a_compiler_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SettingsError, match="compile = true needs the C\\+\\+ compiler"):
        require_compiler("cpu")
    compiler = tmp_path / "any++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", "any++")
    require_compiler("cpu")


@pytest.mark.slow
def test_compiler_that_fails_is_the_machines_fault(monkeypatch, tmp_path):
    compiler = tmp_path / "failing++"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && echo 1.0 && exit 0\nexit 1\n')
    compiler.chmod(0o755)
    program = """
import torch
from semconv.backbone.machine import compiler_errors
from semconv.errors import MachineError
try:
    with compiler_errors():
        torch.compile(lambda x: (x.sin() + 1).cos())(torch.ones(3, 40))
except MachineError as error:
    print(error)
"""
    environment = {
        **os.environ,
        "CXX": str(compiler),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # otherwise further processes would import torch
    }
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("the model cannot be compiled here (")
    assert len(result.stdout.splitlines()) == 1
