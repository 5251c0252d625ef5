"""The digest of the items that may be listed tells any two such sets of items apart."""

import hashlib
from itertools import product

import numpy as np

from semconv.stages.evaluate.case import allowed_digest


def test_digests_of_other_items_or_another_number_of_items_differ() -> None:
    sets = [np.array(allowed, dtype=bool) for count in range(11) for allowed in product((False, True), repeat=count)]
    assert len({allowed_digest(allowed) for allowed in sets}) == len(sets)


def test_finished_runs_of_earlier_versions_keep_their_digest() -> None:
    allowed = np.array([*[True] * 20, False, True])
    assert allowed_digest(allowed) == hashlib.sha256(np.packbits(allowed).tobytes()).hexdigest()
