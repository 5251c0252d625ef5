"""The frozen encoder and decoder of a code set that was fitted by RQ-VAE. Neither of them needs torch to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semconv.artifacts import read_arrays, write_arrays
from semconv.errors import InputError
from semconv.tokenization.codebook import BLOCK_ROWS
from semconv.tokenization.kmeans import Floats

LAYERS = 3


@dataclass(frozen=True)
class Autoencoder:
    """Frozen weights of an encoder and a decoder: three linear layers each, with ReLU between them."""

    arrays: dict[str, Floats]

    def latents(self, vectors: Floats) -> Floats:
        """Encode vectors ``(n, D)`` into the latents ``(n, D)`` that the codebooks quantise."""
        return self._run("encoder", vectors)

    def reconstruct(self, latents: Floats) -> Floats:
        """Decode latents ``(n, D)`` into vectors ``(n, D)``."""
        return self._run("decoder", latents)

    def _run(self, side: str, rows: Floats) -> Floats:
        if len(rows) <= BLOCK_ROWS:
            return self._layers(side, rows)
        starts = range(0, len(rows), BLOCK_ROWS)  # hidden layers for all rows at once would need much memory
        return np.concatenate([self._layers(side, rows[start : start + BLOCK_ROWS]) for start in starts])

    def _layers(self, side: str, rows: Floats) -> Floats:
        for layer in range(LAYERS):
            weight, bias = self.arrays[f"{side}.{2 * layer}.weight"], self.arrays[f"{side}.{2 * layer}.bias"]
            rows = rows @ weight.T + bias
            rows = np.maximum(rows, 0) if layer < LAYERS - 1 else rows
        return rows.astype(np.float32, copy=False)

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        write_arrays(path, self.arrays)

    @classmethod
    def load(cls, path: Path) -> Autoencoder:
        """Read a file that ``save`` wrote; raise InputError if it is missing, damaged or has other contents."""
        arrays = read_arrays(path)
        if f"decoder.{2 * LAYERS - 2}.bias" not in arrays:
            raise InputError(f"{path}: contains no encoder and decoder; run `semconv codebook fit` again")
        return cls(arrays)
