"""A code set: the result of one fit, what is stored of it, and the two functions that the pipeline calls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, read_json, write_arrays, write_json
from semconv.behavior.vectors import BehaviorVectors
from semconv.columns import LEARNED
from semconv.errors import InputError, SettingsError
from semconv.runs.files import AUTOENCODER, BOOKS, CODES, FIGURES, TEXT_MAP
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.tokenization import text_map as text_maps
from semconv.tokenization.assign import AssignedCodes, assign_codes, vectors_from_text
from semconv.tokenization.autoencoder import Autoencoder
from semconv.tokenization.codebook import BLOCK_ROWS, decode, fit_codebooks
from semconv.tokenization.collisions import collision_figures, settle_collisions
from semconv.tokenization.figures import cold_figures, fit_figures
from semconv.tokenization.text_map import TextMap, fit_text_map


@dataclass(frozen=True)
class CodeSet:
    """Codes of every item that has behaviour vectors, the books, and the map for new items."""

    item_index: NDArray[np.int32]  # (M,)
    codes: NDArray[np.uint16]  # (M, N)
    is_reassigned: NDArray[np.bool_]  # (M,) moved apart from another item
    popularity: NDArray[np.int64]  # (M,) interactions of the train cut
    books: NDArray[np.float32]  # (N, C, D), D = 0 where the codes were made elsewhere and have no vectors
    is_used: NDArray[np.bool_]  # (N, C) codes that the fit gave to an item
    text_map: TextMap | None  # None where too few items have text and interactions
    figures: dict[str, Any] = field(default_factory=dict)
    autoencoder: Autoencoder | None = None  # of the method rqvae

    @property
    def has_books(self) -> bool:
        """Whether codes stand for vectors: not if they were made elsewhere."""
        return bool(self.books.shape[2])

    def points(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the books quantise, ``(n, D)``: the vectors, or what an encoder makes of them."""
        return vectors if self.autoencoder is None else self.autoencoder.latents(vectors)

    def reconstruct(self, codes: NDArray[np.uint16]) -> NDArray[np.float32]:
        """The vectors that codes ``(n, N)`` stand for, ``(n, D)``."""
        total = decode(codes, self.books)
        return total if self.autoencoder is None else self.autoencoder.reconstruct(total)

    def save(self, folder: Path) -> None:
        """Write the files of a codebook run."""
        save_codes(folder / CODES, self.item_index, self.codes, self.is_reassigned, self.popularity)
        write_arrays(folder / BOOKS, {"books": self.books, "is_used": self.is_used})
        if self.text_map is not None:
            self.text_map.save(folder / TEXT_MAP)
        if self.autoencoder is not None:
            self.autoencoder.save(folder / AUTOENCODER)
        write_json(folder / FIGURES, self.figures)

    @classmethod
    def load(cls, folder: Path) -> CodeSet:
        """Read what ``save`` wrote; InputError when a file is missing or damaged."""
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
            raise InputError(f"{folder}: holds no {error}; run `semconv codebook fit` again") from error


def save_codes(
    path: Path,
    item_index: NDArray[np.int32],
    codes: NDArray[np.uint16],
    is_reassigned: NDArray[np.bool_],
    popularity: NDArray[np.int64],
) -> None:
    """Write ``codes.safetensors``, of a fit or of an assign run."""
    write_arrays(
        path, {"item_index": item_index, "codes": codes, "is_reassigned": is_reassigned, "popularity": popularity}
    )


def fit_code_set(
    vectors: BehaviorVectors,
    text_item_index: NDArray[np.int32],
    text_vectors: NDArray[np.floating],
    popularity: NDArray[np.int64],
    settings: CodebookSettings,
    rqvae_settings: RqvaeSettings | None = None,
) -> CodeSet:
    """Behaviour and text vectors -> codes.

    The books are fitted on at most ``settings.sample`` items; text map, shrinkage, codes, collisions and figures are
    over all of them, only the objective by iteration over the sample.

    Args:
        text_item_index: ``(T,)`` items that have text, T may be 0.
        text_vectors: ``(T, D_llm)``.
        popularity: ``(I,)`` interactions of the train cut of every item of the catalogue.
    Raises:
        InputError: no behaviour vectors, NaN or infinite values.
        SettingsError: a method that does not know the distances asked for, or fewer code sequences than items that
            are to have one each.
    """
    _require_room(len(vectors.item_index), settings)
    rows, text_rows = _with_both(vectors.item_index, text_item_index)
    text_map, held_out = _fit_map(vectors.item_vectors[rows], text_vectors[text_rows], settings)
    counts = popularity[vectors.item_index].astype(np.int64)
    unsteadied = vectors.item_vectors
    vectors = steady(vectors, counts, rows, held_out, text_map, settings.shrinkage)
    is_aligned = text_map is not None and text_map.is_useful and settings.alignment > 0
    aligned, has_text = None, None
    if is_aligned:
        aligned, has_text = np.zeros_like(vectors.item_vectors), np.zeros(len(vectors.item_index), dtype=bool)
        aligned[rows], has_text[rows] = held_out, True
    autoencoder = None
    if settings.method == "rqvae":
        from semconv.tokenization.rqvae import fit_rqvae  # torch, which a plain fit and a report do without

        autoencoder, fitted = fit_rqvae(
            vectors.item_vectors, aligned, has_text, settings, rqvae_settings or RqvaeSettings()
        )
    else:
        fitted = fit_codebooks(vectors.item_vectors, aligned, settings, has_text)
    points = vectors.item_vectors if autoencoder is None else autoencoder.latents(vectors.item_vectors)  # (M, D)
    resolution = settle_collisions(points, fitted.codes, counts, fitted.books, settings)
    code_set = CodeSet(
        vectors.item_index,
        resolution.codes,
        resolution.is_moved,
        counts,
        fitted.books,
        fitted.is_used,
        text_map,
        autoencoder=autoencoder,
    )
    figures = fit_figures(vectors.item_vectors, fitted, resolution, code_set)
    figures["collisions"] = collision_figures(points, fitted.codes, counts, fitted.books, settings)
    figures["text_map"] = cold_figures(code_set, held_out, unsteadied[rows], fitted.codes[rows, 0], settings)
    figures["alignment"] = {"lambda": settings.alignment, "is_on": is_aligned, "why_off": _why_off(text_map, settings)}
    return replace(code_set, figures=figures)


def _require_room(items: int, settings: CodebookSettings) -> None:
    room = settings.codes**settings.levels
    if settings.collisions == "resolve" and room < items:
        raise SettingsError(
            f"{settings.levels} levels of {settings.codes} codes make {room} sequences, there are {items} items;"
            " raise codebook.levels or codebook.codes, or set codebook.collisions = keep"
        )


def steady(
    vectors: BehaviorVectors,
    counts: NDArray[np.int64],
    rows: NDArray[np.int64],
    held_out: NDArray[np.float32],
    text_map: TextMap | None,
    shrinkage: float,
) -> BehaviorVectors:
    """Learned vectors of items with few interactions, drawn towards what their text says: (n x + k t) / (n + k).

    A vector from a handful of interactions mostly repeats whose they were: codes from it tell a training
    label away that no held-out item's codes will. Text counts as ``shrinkage`` = k interactions, so that a new
    item (n = 0) and a popular one lie on one scale. Vectors that the user gave are left as they are.

    Args:
        counts: ``(M,)`` interactions of the train cut.
        rows: ``(m,)`` items that have text, held_out: ``(m, D)`` their cross-fitted text predictions.
    """
    if vectors.source != LEARNED or text_map is None or not text_map.is_useful or shrinkage == 0:
        return vectors
    mixed = vectors.item_vectors.copy()
    weight = (counts[rows] / (counts[rows] + shrinkage)).astype(np.float32)[:, None]  # (m, 1)
    for start in range(0, len(rows), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        mixed[rows[part]] = weight[part] * mixed[rows[part]] + (1.0 - weight[part]) * held_out[part]
    return replace(vectors, item_vectors=mixed)


def assign_new_items(
    code_set: CodeSet,
    new_item_index: NDArray[np.int32],
    new_text_vectors: NDArray[np.floating],
    settings: CodebookSettings,
    taken: NDArray[np.uint16] | None = None,
) -> AssignedCodes:
    """Codes of items without behaviour vectors, from their text; codes that exist stay as they are.

    Args:
        new_item_index: ``(n,)``.
        new_text_vectors: ``(n, D_llm)``.
        taken: ``(T, N)`` codes that earlier assign runs gave to further items.
    Raises:
        InputError: an item has codes already, the code set has no text map, or the vectors are not usable.
    """
    known = np.intersect1d(code_set.item_index, new_item_index)
    if len(known):
        raise InputError(
            f"{len(known)} of {len(new_item_index)} new items have codes already, the first is item_index {known[0]}"
        )
    if code_set.text_map is None:
        raise InputError(
            "this code set has no text map (too few items have text and interactions), so items cannot be coded from their text"
        )
    everything = code_set.codes if taken is None else np.concatenate([code_set.codes, taken])
    vectors = vectors_from_text(code_set.text_map, new_text_vectors)
    codes, is_moved = assign_codes(code_set.points(vectors), code_set.books, code_set.is_used, everything, settings)
    return AssignedCodes(codes, vectors, is_moved)


def _with_both(
    item_index: NDArray[np.int32], text_item_index: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the behaviour vectors and of the text vectors of the items that have both."""
    _, rows, text_rows = np.intersect1d(item_index, text_item_index, return_indices=True)
    return rows, text_rows


def _fit_map(
    vectors: NDArray[np.float32], text: NDArray[np.floating], settings: CodebookSettings
) -> tuple[TextMap | None, NDArray[np.float32]]:
    if len(text) < text_maps.MIN_ITEMS:
        return None, np.zeros((0, vectors.shape[1]), dtype=np.float32)
    return fit_text_map(text, vectors, settings.seed)


def _why_off(text_map: TextMap | None, settings: CodebookSettings) -> str | None:
    if settings.alignment == 0:
        return "codebook.alignment is 0"
    if text_map is None:
        return f"fewer than {text_maps.MIN_ITEMS} items have both text and interactions"
    if not text_map.is_useful:
        return f"text explains {text_map.held_out_r2:.3f} of the behaviour vectors' variance, less than {text_maps.USEFUL_R2}"
    return None
