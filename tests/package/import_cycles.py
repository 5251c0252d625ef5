"""Finds import cycles, with the imports that import-linter leaves out: under TYPE_CHECKING and inside functions.

``python -m tests.package.import_cycles [PACKAGE ...]`` prints each cycle and exits with 1 when there is one. Otherwise
it prints the number of modules and on how many levels they import each other.
"""

from __future__ import annotations

import sys

import grimp
import networkx as nx

PACKAGES = ("semconv", "semconv_warehouse", "semconv_cli")


def import_graph(*packages: str) -> nx.DiGraph[str]:
    """All modules of some packages; an edge goes from a module to a module that it imports anywhere in its text."""
    found = grimp.build_graph(*packages, exclude_type_checking_imports=False, cache_dir=None)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(found.modules)
    for module in found.modules:
        graph.add_edges_from((module, other) for other in found.find_modules_directly_imported_by(module))
    return graph


def cycles(graph: nx.DiGraph[str]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others of the group."""
    groups = [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]
    return sorted([*groups, *([module] for module in nx.nodes_with_selfloops(graph))])


def levels(graph: nx.DiGraph[str]) -> int:
    """Modules on the longest chain of imports; modules of one cycle count as one."""
    return int(nx.dag_longest_path_length(nx.condensation(graph))) + 1


def main(packages: list[str]) -> int:
    """Print the cycles, or the size of the graph; returns the exit code."""
    graph = import_graph(*(packages or PACKAGES))
    found = cycles(graph)
    for group in found:
        cycle = [module for module, _ in nx.find_cycle(graph.subgraph(group), group[0])]
        print("import cycle: " + " -> ".join([*cycle, cycle[0]]))  # noqa: T201
    if not found:
        print(f"{len(graph)} modules on {levels(graph)} levels of imports, no cycle")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
