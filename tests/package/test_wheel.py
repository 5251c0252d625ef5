"""The built wheel and sdist, and the program installed from the wheel outside the checkout."""

import tarfile
import zipfile
from pathlib import Path

import pytest

import semconv
from tests.worlds.paths import ROOT
from tests.worlds.wheel import Run, build, install, runner

NAMES = {"semconv", "semconv_cli", "semconv_warehouse"}


def checked_in(*folders: str) -> list[str]:
    """Files of the checkout that must be in a package."""
    return [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("source") / "semconv")


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(built, tmp_path_factory.mktemp("installed"))


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    return runner(installed, tmp_path)


def test_wheel_has_three_top_level_names_and_every_file(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    info = f"semconv-{semconv.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == NAMES | {info}
    assert f"{info}/licenses/LICENSE" in names
    packages = {Path(*Path(name).parts[1:]).as_posix() for name in checked_in("cli", "warehouse")}
    assert {*checked_in("semconv"), *packages} <= set(names)
    assert {f"semconv_warehouse/{name}" for name in checked_in("sql", "feature_repo")} <= set(names)
    for package in NAMES:
        assert f"{package}/py.typed" in names


def test_sdist_holds_what_builds_and_tests_it(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    expected = {"pyproject.toml", "hatch_build.py", "LICENSE", "README.md", "lock_requirements.py", "Makefile"}
    folders = ("semconv", "cli", "warehouse", "sql", "feature_repo", "requirements")
    assert expected | set(checked_in(*folders)) <= names
    assert not [name for name in names if name.startswith((".venv", "demo", "dist"))]


def test_installed_program_runs_from_another_folder(run: Run, installed: Path, tmp_path: Path) -> None:
    assert run("semconv", "--version").stdout == f"semconv {semconv.__version__}\n"
    where = (
        "import semconv, semconv_cli, semconv_warehouse as w; print(semconv.__file__, semconv_cli.__file__, w.__file__)"
    )
    for file in run("python", "-c", where).stdout.split():
        assert Path(file).is_relative_to(installed.parents[1])
    made = run("semconv", "init", "shop")
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"{tmp_path / 'shop'}\n"
    assert {path.name for path in (tmp_path / "shop" / "feature_repo").iterdir()} == {
        path.name for path in (ROOT / "feature_repo").iterdir() if path.name != "__pycache__"
    }


def test_installed_program_finds_its_sql(run: Run, tmp_path: Path) -> None:
    assert run("semconv", "init", ".").returncode == 0
    (tmp_path / "items.csv").write_text("item_id,title\ni1,Lamp\ni2,\n")
    ingest = run("semconv", "ingest", "items", "items.csv", "--json")
    assert ingest.returncode == 0, ingest.stderr
    check = run("semconv", "check", "--json")
    assert check.returncode == 0, check.stderr
