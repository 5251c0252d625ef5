"""Tuning with shared histories beside one padded prompt for each sample.

Model, samples, loss and tokens in a batch are the same on both sides. The size `full` takes the histories of Games if
the data is on this machine; otherwise histories of the same lengths are drawn. Codes and words are always drawn, because
they do not change the cost of a step. CPU seconds are those of this process, which a busy machine disturbs less than
wall time. The peer "bare matrix products" is the time of only the products of the same steps, forward and backward, with
attention over whole rows.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.timing import in_own_process, peak_memory_bytes
from benchmarks.training.sides import (
    CODES,
    GAMES_LENGTHS,
    LEVELS,
    Bench,
    Side,
    Timed,
    drawn,
    games_train,
    make_backbone,
    padded,
    shared,
    some_users,
)
from semconv.data.store import Sequences
from semconv.settings.tasks import TaskSettings

PADDED = Comparison("training", "one padded prompt a sample", ["torch", "transformers"])
PRODUCTS = Comparison("training", "bare matrix products", ["torch"])
TASKS = TaskSettings(text=False, query=False, negative_share=1.0)
STEPS = {"small": 5, "full": 40}  # measured steps of each side
GROWTH_STEPS = {"small": 1, "full": 12}
USERS = {"small": 300, "full": 5000}  # users whose samples are in the measured batches
_RESET = Path("/proc/self/clear_refs")
SIDES = {"ours": shared, "peer": padded}


def run(size: Size) -> list[Row]:
    """Measure speed, share of bare matrix products, peak memory, and growth with history and negatives."""
    with tempfile.TemporaryDirectory() as folder:
        make_backbone(Path(folder))
        train, name = sequences_of(size)
        bench, users, rows = Bench(Path(folder)), some_users(train, USERS[size]), []
        for over in ("vocabulary", "codes"):  # the loss of the paper, and that of the built-in backbone
            bench.score_over(over)
            case = f"{name}, 1:3, loss over {over}, {torch.get_num_threads()} threads"
            rows += speed(bench, users, case, STEPS[size])
        return [
            *rows,
            epoch_tokens(bench, train, name),
            batch_making(bench, users, f"{name}, 1:3, {USERS[size]:,} users"),
            *memory(Path(folder), f"{name}, 1:3, loss over codes"),
            *growth(bench, GROWTH_STEPS[size]),
        ]


def speed(bench: Bench, train: Sequences, case: str, steps: int) -> list[Row]:
    """Check that the losses agree, then measure both sides on the same samples, and ours beside bare products."""
    require_same_loss(bench, some_users(train, 60))
    bare: list[float] = []
    both = sides(bench, train, TASKS)
    found = bench.timed(both, steps, lambda shape: bare.append(product_seconds(bench, *shape)))
    return [*rates(case, found), products(case, bench, found["ours"], sum(bare))]


def sequences_of(size: Size) -> tuple[Sequences, str]:
    """Return training sequences, and the name of their source."""
    found = games_train() if size == "full" else None
    if found is not None:
        return found, "Games"
    return drawn(np.random.default_rng(1).choice(GAMES_LENGTHS, USERS[size])), "lengths of Games"


def sides(bench: Bench, train: Sequences, tasks: TaskSettings) -> dict[str, Side]:
    """Make both sides from the same samples."""
    drawn_epoch = bench.epoch(train, tasks)
    return {which: make(*drawn_epoch) for which, make in SIDES.items()}


def require_same_loss(bench: Bench, train: Sequences) -> None:
    """Exit unless both sides have the same number of samples and the same mean loss."""
    both = sides(bench, train, TASKS)
    ours, peer = (bench.loss(both[which]) for which in ("ours", "peer"))
    if both["ours"].samples != both["peer"].samples or abs(ours - peer) > 1e-4:
        raise SystemExit(f"the two sides differ: losses {ours:.6f} and {peer:.6f}")


def rates(case: str, found: dict[str, Timed]) -> list[Row]:
    """Make rows of samples by wall second and by CPU second."""
    ours, peer = found["ours"], found["peer"]
    first, second = ours.samples, peer.samples
    return [
        PADDED.row(
            case, "throughput", "samples/s", ours=first / ours.wall, peer=second / peer.wall, higher_is_better=True
        ),
        PADDED.row(
            case, "throughput", "samples/CPU s", ours=first / ours.cpu, peer=second / peer.cpu, higher_is_better=True
        ),
    ]


def products(case: str, bench: Bench, ours: Timed, bare: float) -> Row:
    """Make a row of floating point operations by CPU second: of whole steps, and of their products alone."""
    operations = sum(2.0 * m * k * n for shape in ours.shapes for m, k, n in product_shapes(bench, *shape))
    return PRODUCTS.row(
        case,
        "matrix products",
        "GFLOP/CPU s",
        ours=operations / ours.cpu / 1e9,
        peer=operations / bare / 1e9,
        higher_is_better=True,
    )


def linear_shapes(bench: Bench, tokens: int, labels: int) -> list[tuple[int, int, int]]:
    """Return rows, inner width and columns of each product of a forward pass, without attention."""
    config = bench.model.config
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    layer = [(tokens, width, width)] * 4 + [(tokens, width, inner)] * 2 + [(tokens, inner, width)]
    if bench.stepper.loss.choices is None:
        return layer * layers + [(labels, width, int(config.vocab_size))]
    return layer * layers + [(labels // (LEVELS + 1), width, CODES)] * LEVELS


def product_shapes(bench: Bench, rows: int, longest: int, labels: int) -> list[tuple[int, int, int]]:
    """Return all products of a step. The backward pass has two of the same size for each of the forward pass."""
    config = bench.model.config
    attention = [(rows * longest, config.hidden_size, longest)] * 2 * config.num_hidden_layers  # over all heads
    return (linear_shapes(bench, rows * longest, labels) + attention) * 3


def product_seconds(bench: Bench, rows: int, longest: int, labels: int) -> float:
    """Measure the CPU seconds of the products of a step alone, on random numbers."""
    config, seconds = bench.model.config, 0.0
    for m, k, n in linear_shapes(bench, rows * longest, labels):
        states, matrix, gradient = torch.randn(m, k), torch.randn(n, k), torch.randn(m, n)
        started = time.process_time()
        states @ matrix.t()
        gradient @ matrix
        gradient.t() @ states
        seconds += time.process_time() - started
    heads = rows * config.num_attention_heads
    query, scores = torch.randn(heads, longest, config.head_dim), torch.randn(heads, longest, longest)
    for _ in range(config.num_hidden_layers):
        started = time.process_time()
        for _ in range(2):
            query @ query.mT  # scores; gradient of the probabilities
            scores @ query  # output; gradient of the queries
            scores.mT @ query  # gradients of the keys and of the values
        seconds += time.process_time() - started
    return seconds


def epoch_tokens(bench: Bench, train: Sequences, name: str) -> Row:
    """Count the tokens that each side computes in an epoch."""
    both = sides(bench, train, TASKS)
    ours, peer = (float(both[which].lengths.sum()) for which in ("ours", "peer"))
    return PADDED.row(f"{name}, 1:3, {both['ours'].samples:,} samples", "an epoch", "tokens", ours=ours, peer=peer)


def batch_making(bench: Bench, train: Sequences, case: str) -> Row:
    """Measure the CPU seconds from drawn samples to all batches of an epoch, with their masks."""
    seconds, drawn_epoch = [], bench.epoch(train, TASKS)
    for which in ("ours", "peer"):
        started = time.process_time()
        side = SIDES[which](*drawn_epoch)
        for members in side.batches():
            side.collate(members)
        seconds.append(time.process_time() - started)
    return PADDED.row(case, "making batches", "CPU s", ours=seconds[0], peer=seconds[1])


def memory(folder: Path, case: str) -> list[Row]:
    """Measure the memory that steps add at their peak, each side in its own process. Only on Linux."""
    if not _RESET.exists():
        return []
    ours, peer = (in_own_process(memory_of, which, folder) for which in ("ours", "peer"))
    return [PADDED.row(case, "peak memory of steps", "bytes", ours=ours, peer=peer)]


def memory_of(which: str, folder: Path) -> float:
    """Return the bytes between the resident size before some steps and the largest one during them."""
    bench = Bench(folder)
    side = sides(bench, drawn(np.random.default_rng(1).choice(GAMES_LENGTHS, USERS["small"])), TASKS)[which]
    _RESET.write_text("5")  # resets the largest size so far to the present size
    before = peak_memory_bytes()
    bench.timed({which: side}, 6)
    return float(peak_memory_bytes() - before)


def growth(bench: Bench, steps: int) -> list[Row]:
    """Measure rates by CPU second for several lengths of the histories and several numbers of negatives."""
    rows = []
    for count, ratio in ((5, 3), (10, 3), (20, 3), (10, 0), (10, 1), (10, 5)):
        tasks = replace(TASKS, negatives=ratio)
        both = sides(bench, drawn(np.full(200, count + 1, dtype=np.int64)), tasks)
        case = f"histories of 1 to {count} items, 1:{ratio}, loss over codes, {torch.get_num_threads()} threads"
        rows.append(rates(case, bench.timed(both, steps))[1])
    return rows


if __name__ == "__main__":
    command(run, __doc__)
