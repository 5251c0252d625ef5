"""A code set: item codes from one codebook fit or one file, and the data from which new items get codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, read_json, write_arrays, write_json
from semconv.errors import InputError
from semconv.runs.files import AUTOENCODER, BOOKS, CODES, FIGURES, TEXT_MAP
from semconv.tokenization.autoencoder import Autoencoder
from semconv.tokenization.codebook import decode
from semconv.tokenization.kmeans import Codes, Floats
from semconv.tokenization.text_map import TextMap


@dataclass(frozen=True)
class CodeSet:
    """The codes of all items with behaviour vectors, the codebooks, and the text map for items without such vectors."""

    item_index: NDArray[np.int32]  # (M,)
    codes: Codes  # (M, N)
    is_reassigned: NDArray[np.bool_]  # (M,) True for items that moved because another item had the same codes
    popularity: NDArray[np.int64]  # (M,) number of interactions in the train cut
    books: Floats  # (N, C, D); D = 0 for external codes, which have no vectors
    is_used: NDArray[np.bool_]  # (N, C) whether at least one item of the fit has the code
    text_map: TextMap | None  # None if too few items have both text and interactions
    figures: dict[str, Any] = field(default_factory=dict)
    autoencoder: Autoencoder | None = None  # only for the method rqvae

    @property
    def has_books(self) -> bool:
        """Whether the code set has codebooks, with a vector for each code. External codes have no codebooks."""
        return bool(self.books.shape[2])

    def points(self, vectors: Floats) -> Floats:
        """Return the points ``(n, D)`` that the codebooks quantise: the vectors, or the outputs of RQ-VAE's encoder."""
        return vectors if self.autoencoder is None else self.autoencoder.latents(vectors)

    def reconstruct(self, codes: Codes) -> Floats:
        """Decode codes ``(n, N)`` into vectors ``(n, D)`` that approximate the coded vectors."""
        total = decode(codes, self.books)
        return total if self.autoencoder is None else self.autoencoder.reconstruct(total)

    def save(self, folder: Path) -> None:
        """Write all files of a code set into the folder of a codebook run."""
        save_codes(folder / CODES, self.item_index, self.codes, self.is_reassigned, self.popularity)
        write_arrays(folder / BOOKS, {"books": self.books, "is_used": self.is_used})
        if self.text_map is not None:
            self.text_map.save(folder / TEXT_MAP)
        if self.autoencoder is not None:
            self.autoencoder.save(folder / AUTOENCODER)
        write_json(folder / FIGURES, self.figures)

    @classmethod
    def load(cls, folder: Path) -> CodeSet:
        """Read the files that ``save`` wrote; raise InputError if one is missing or damaged."""
        codes, books = read_arrays(folder / CODES), read_arrays(folder / BOOKS)
        map_file, autoencoder_file = folder / TEXT_MAP, folder / AUTOENCODER
        try:
            return cls(
                item_index=codes["item_index"],
                codes=codes["codes"],
                is_reassigned=codes["is_reassigned"].astype(bool),
                popularity=codes["popularity"],
                books=books["books"],
                is_used=books["is_used"].astype(bool),
                text_map=TextMap.load(map_file) if map_file.exists() else None,
                figures=read_json(folder / FIGURES),
                autoencoder=Autoencoder.load(autoencoder_file) if autoencoder_file.exists() else None,
            )
        except KeyError as error:
            raise InputError(f"{folder}: the array {error} is missing; run `semconv codebook fit` again") from error


def save_codes(
    path: Path,
    item_index: NDArray[np.int32],
    codes: Codes,
    is_reassigned: NDArray[np.bool_],
    popularity: NDArray[np.int64],
) -> None:
    """Write the file ``codes.safetensors`` of a codebook run or of an assign run."""
    write_arrays(
        path, {"item_index": item_index, "codes": codes, "is_reassigned": is_reassigned, "popularity": popularity}
    )
