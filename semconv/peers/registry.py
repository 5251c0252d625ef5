"""The peers by name."""

from __future__ import annotations

from typing import Final

from semconv.errors import SettingsError
from semconv.peers.bert4rec import Bert4rec
from semconv.peers.fmlp import Fmlp
from semconv.peers.inputs import SideInputs
from semconv.peers.network import PeerNetwork
from semconv.peers.sasrec import Sasrec
from semconv.peers.settings import PeerSettings

NETWORKS: Final[dict[str, type[Sasrec | Bert4rec | Fmlp]]] = {"sasrec": Sasrec, "bert4rec": Bert4rec, "fmlp": Fmlp}


def make_network(name: str, num_items: int, settings: PeerSettings, side: SideInputs | None = None) -> PeerNetwork:
    """Create the network of a peer with random weights.

    Args:
        side: the dates and text vectors that SASRec reads; None for a network that reads items only.

    Raises:
        SettingsError: there is no peer of this name, or a network other than SASRec would read dates or text vectors.
    """
    if name not in NETWORKS:
        raise SettingsError(f"there is no peer {name}; give one of {', '.join(NETWORKS)}")
    if side is None:
        return NETWORKS[name](num_items, settings)
    if name != "sasrec":
        raise SettingsError(f"{name} reads items only; sasrec alone can read dates and text vectors too")
    return Sasrec(num_items, settings, side)
