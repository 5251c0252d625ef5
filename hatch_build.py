"""Build hook: a real wheel carries sql/ and feature_repo/ as package data; an editable install reads the checkout's own."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE_DATA = ("sql", "feature_repo")


class PackageDataHook(BuildHookInterface):
    """Puts the folders beside the modules of ``semconv_warehouse``, where ``layout.package_folder`` looks first."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders to a standard wheel."""
        if version == "standard":
            for name in PACKAGE_DATA:
                build_data["force_include"][str(Path(self.root, name))] = f"semconv_warehouse/{name}"
