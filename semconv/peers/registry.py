"""The peers by name."""

from __future__ import annotations

from typing import Final

from semconv.errors import SettingsError
from semconv.peers.bert4rec import Bert4rec
from semconv.peers.fmlp import Fmlp
from semconv.peers.network import PeerNetwork
from semconv.peers.sasrec import Sasrec
from semconv.peers.settings import PeerSettings

NETWORKS: Final[dict[str, type[Sasrec | Bert4rec | Fmlp]]] = {"sasrec": Sasrec, "bert4rec": Bert4rec, "fmlp": Fmlp}


def make_network(name: str, num_items: int, settings: PeerSettings) -> PeerNetwork:
    """Create the network of a peer with random weights.

    Raises:
        SettingsError: there is no peer of this name.
    """
    if name not in NETWORKS:
        raise SettingsError(f"there is no peer {name}; give one of {', '.join(NETWORKS)}")
    return NETWORKS[name](num_items, settings)
