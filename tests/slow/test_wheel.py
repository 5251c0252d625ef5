"""The demo, run by the program that is installed from the wheel."""

from pathlib import Path

import pytest

from tests.worlds.wheel import Run, build, install, runner


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("source") / "semconv")


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(built, tmp_path_factory.mktemp("installed"))


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    return runner(installed, tmp_path)


def test_demo_from_the_wheel(run: Run, tmp_path: Path) -> None:
    done = run("semconv", "demo")
    assert done.returncode == 0, done.stderr
    sql = "SELECT count(*) AS n FROM current_recommendation"
    assert int(run("semconv", "--project", "demo", "sql", sql, "--csv").stdout.split()[1]) >= 10 * 2000
