"""The paths of a project folder, and of the SQL and Feast files of the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import semconv_warehouse
from semconv.errors import InputError
from semconv_warehouse.store.database import WAREHOUSE

SETTINGS_FILE = "semconv.toml"
_UNUSABLE = ("?", "\\")  # DuckDB takes them for the begin of a query, and for another sign between folders


@dataclass(frozen=True)
class ProjectLayout:
    """The paths of one project. No property creates a file or folder."""

    root: Path  # absolute

    @property
    def settings_file(self) -> Path:
        """``semconv.toml``; a folder with this file is a project."""
        return self.root / SETTINGS_FILE

    @property
    def data(self) -> Path:
        """The folder of everything that commands write."""
        return self.root / "data"

    @property
    def warehouse(self) -> Path:
        """The database of the inputs, runs, codes and figures."""
        return self.data / WAREHOUSE

    @property
    def generations(self) -> Path:
        """The folder of published generations. Each generation is a database file that never changes."""
        return self.data / "generations"

    def generation_file(self, generation: int) -> Path:
        """Return the path of a published generation, such as ``generations/000042.duckdb``."""
        return self.generations / f"{generation:06d}.duckdb"

    @property
    def serving(self) -> Path:
        """The database that readers of the published lists open."""
        return self.data / "serving.duckdb"

    @property
    def runs(self) -> Path:
        """The folder with the folders of all runs."""
        return self.data / "runs"

    @property
    def features(self) -> Path:
        """The folder of the Parquet files that Feast reads; it has a folder for each Feast view."""
        return self.data / "features"

    @property
    def forgetting(self) -> Path:
        """The ids of users whose erasure was begun and is not finished. The file does not exist otherwise."""
        return self.data / "forgetting.json"

    @property
    def experiments(self) -> ProjectLayout:
        """The project inside this one in which `semconv experiment` tunes and evaluates its models."""
        return ProjectLayout(self.data / "experiments")

    @property
    def feature_repo(self) -> Path:
        """The user's copy of the Feast definitions."""
        return self.root / "feature_repo"


def find_project(start: Path) -> ProjectLayout:
    """Return the nearest project at or above ``start``; InputError if no folder has a ``semconv.toml``."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / SETTINGS_FILE).is_file():
            return ProjectLayout(folder)
    raise InputError(
        f"no {SETTINGS_FILE} in {start.resolve()} or above; create a project with `semconv init`, or name a project folder with --project"
    )


def require_usable(root: Path) -> None:
    """Raise InputError for a project folder in which DuckDB would write its files to another place."""
    holds = next((sign for sign in _UNUSABLE if sign in str(root)), None)
    if holds is None and "\N{REPLACEMENT CHARACTER}" in bytes(root).decode(errors="replace"):
        holds = "bytes that are not UTF-8"
    if holds is not None:
        raise InputError(f"{root}: DuckDB cannot write files in a folder whose path holds {holds}; rename the folder")


def package_folder(name: str) -> Path:
    """Return the package's folder ``sql`` or ``feature_repo``, in the wheel or in an editable checkout."""
    inside = Path(semconv_warehouse.__file__).parent / name
    return inside if inside.is_dir() else Path(semconv_warehouse.__file__).parents[2] / name
