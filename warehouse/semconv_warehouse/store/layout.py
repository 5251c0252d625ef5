"""Where things lie in a project folder, and where the SQL and Feast files of the package lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import semconv_warehouse
from semconv.errors import InputError
from semconv_warehouse.store.database import WAREHOUSE

SETTINGS_FILE = "semconv.toml"


@dataclass(frozen=True)
class ProjectLayout:
    """Paths of one project; nothing is created by asking."""

    root: Path  # absolute

    @property
    def settings_file(self) -> Path:
        """``semconv.toml``, whose presence makes the folder a project."""
        return self.root / SETTINGS_FILE

    @property
    def data(self) -> Path:
        """Everything that commands write."""
        return self.root / "data"

    @property
    def warehouse(self) -> Path:
        """The truth of inputs, lineage, codes and figures."""
        return self.data / WAREHOUSE

    @property
    def generations(self) -> Path:
        """Published states, written once."""
        return self.data / "generations"

    def generation_file(self, generation: int) -> Path:
        """``generations/000042.duckdb``."""
        return self.generations / f"{generation:06d}.duckdb"

    @property
    def serving(self) -> Path:
        """What SQL users open."""
        return self.data / "serving.duckdb"

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.data / "runs"

    @property
    def features(self) -> Path:
        """Parquet that Feast reads, one folder a view."""
        return self.data / "features"

    @property
    def feature_repo(self) -> Path:
        """The user's copy of the Feast definitions."""
        return self.root / "feature_repo"


def find_project(start: Path) -> ProjectLayout:
    """The nearest folder at or above ``start`` with a ``semconv.toml``; InputError when there is none."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / SETTINGS_FILE).is_file():
            return ProjectLayout(folder)
    raise InputError(
        f"no {SETTINGS_FILE} in {start.resolve()} or above; `semconv init` makes a project, --project names one"
    )


def package_folder(name: str) -> Path:
    """The package's own ``sql`` or ``feature_repo`` folder: inside the wheel, or in the checkout when installed editable."""
    inside = Path(semconv_warehouse.__file__).parent / name
    return inside if inside.is_dir() else Path(semconv_warehouse.__file__).parents[2] / name
