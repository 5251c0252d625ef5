"""Add the folders sql/ and feature_repo/ to the wheel. An editable install reads them from the checkout instead."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE_DATA = ("sql", "feature_repo")


class PackageDataHook(BuildHookInterface):
    """Copy the folders into ``semconv_warehouse``, where ``layout.package_folder`` looks first."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders to a wheel that is not editable."""
        if version == "standard":
            for name in PACKAGE_DATA:
                build_data["force_include"][str(Path(self.root, name))] = f"semconv_warehouse/{name}"
