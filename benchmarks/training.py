"""Tuning with shared histories beside one padded prompt a sample: same model, samples, loss and tokens a batch.

Histories are those of Games where they are at hand (``full``), otherwise drawn with their lengths. Codes and words are
drawn: a step costs the same whatever they are. CPU seconds are those of the process, which others disturb less than
the clock. The peer ``bare matrix products`` is the time that the products of the same steps take by themselves,
forward and backward, attention over whole rows included.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row, Size, Subject, command
from benchmarks.training_sides import (
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

SUBJECT = Subject("training", "one padded prompt a sample", ["torch", "transformers"])
PRODUCTS = Subject("training", "bare matrix products", ["torch"])
TASKS = TaskSettings(text=False, query=False, negative_share=1.0)
STEPS = {"small": 5, "full": 40}  # timed on each side
GROWTH_STEPS = {"small": 1, "full": 12}
USERS = {"small": 300, "full": 5000}  # whose samples the timed batches hold
_RESET = Path("/proc/self/clear_refs")
SIDES = {"ours": shared, "peer": padded}


def run(size: Size) -> list[Row]:
    """Samples a second, share of bare matrix products, peak memory, growth with history and negatives."""
    with tempfile.TemporaryDirectory() as folder:
        make_backbone(Path(folder))
        train, name = sequences_of(size)
        bench, users, rows = Bench(Path(folder)), some_users(train, USERS[size]), []
        for over in ("vocabulary", "codes"):  # the method's loss, the embedded default's own
            bench.score_over(over)
            case = f"{name}, 1:3, loss over {over}, {torch.get_num_threads()} threads"
            rows += speed(bench, users, case, STEPS[size])
        return [
            *rows,
            epoch_tokens(bench, train, name),
            making(bench, users, f"{name}, 1:3, {USERS[size]:,} users"),
            *memory(Path(folder), f"{name}, 1:3, loss over codes"),
            *growth(bench, GROWTH_STEPS[size]),
        ]


def speed(bench: Bench, train: Sequences, case: str, steps: int) -> list[Row]:
    """Rates of both sides on the same samples, and what ours are of bare products; first of all that losses agree."""
    require_same_loss(bench, some_users(train, 60))
    bare: list[float] = []
    both = sides(bench, train, TASKS)
    found = bench.timed(both, steps, lambda shape: bare.append(product_seconds(bench, *shape)))
    return [*rates(case, found), products(case, bench, found["ours"], sum(bare))]


def sequences_of(size: Size) -> tuple[Sequences, str]:
    """Training sequences and where they are from."""
    found = games_train() if size == "full" else None
    if found is not None:
        return found, "Games"
    return drawn(np.random.default_rng(1).choice(GAMES_LENGTHS, USERS[size])), "lengths of Games"


def sides(bench: Bench, train: Sequences, tasks: TaskSettings) -> dict[str, Side]:
    """Both sides of the same samples."""
    drawn_epoch = bench.epoch(train, tasks)
    return {which: make(*drawn_epoch) for which, make in SIDES.items()}


def require_same_loss(bench: Bench, train: Sequences) -> None:
    """Stop unless both sides hold the same number of samples at the same mean loss."""
    both = sides(bench, train, TASKS)
    ours, peer = (bench.loss(both[which]) for which in ("ours", "peer"))
    if both["ours"].samples != both["peer"].samples or abs(ours - peer) > 1e-4:
        raise SystemExit(f"the two do not do the same: losses {ours:.6f} and {peer:.6f}")


def rates(case: str, found: dict[str, Timed]) -> list[Row]:
    """Samples a second, by the clock and by the CPU time of the process."""
    ours, peer = found["ours"], found["peer"]
    first, second = ours.samples, peer.samples
    return [
        SUBJECT.row(
            case, "throughput", "samples/s", ours=first / ours.wall, peer=second / peer.wall, higher_is_better=True
        ),
        SUBJECT.row(
            case, "throughput", "samples/CPU s", ours=first / ours.cpu, peer=second / peer.cpu, higher_is_better=True
        ),
    ]


def products(case: str, bench: Bench, ours: Timed, bare: float) -> Row:
    """Floating point operations a CPU second of whole steps, beside those of their products alone."""
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
    """Rows, inner width and columns of each product of a forward pass but those of attention."""
    config = bench.model.config
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    layer = [(tokens, width, width)] * 4 + [(tokens, width, inner)] * 2 + [(tokens, inner, width)]
    if bench.stepper.loss.choices is None:
        return layer * layers + [(labels, width, int(config.vocab_size))]
    return layer * layers + [(labels // (LEVELS + 1), width, CODES)] * LEVELS


def product_shapes(bench: Bench, rows: int, longest: int, labels: int) -> list[tuple[int, int, int]]:
    """Every product of a step: each of a forward pass has two more of its size in the backward pass."""
    config = bench.model.config
    attention = [(rows * longest, config.hidden_size, longest)] * 2 * config.num_hidden_layers  # over all heads
    return (linear_shapes(bench, rows * longest, labels) + attention) * 3


def product_seconds(bench: Bench, rows: int, longest: int, labels: int) -> float:
    """CPU seconds of the products of a step alone, on numbers at hand."""
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
    """Tokens that an epoch computes on each side."""
    both = sides(bench, train, TASKS)
    ours, peer = (float(both[which].lengths.sum()) for which in ("ours", "peer"))
    return SUBJECT.row(f"{name}, 1:3, {both['ours'].samples:,} samples", "an epoch", "tokens", ours=ours, peer=peer)


def making(bench: Bench, train: Sequences, case: str) -> Row:
    """CPU seconds from drawn samples to the batches of an epoch, masks included."""
    seconds, drawn_epoch = [], bench.epoch(train, TASKS)
    for which in ("ours", "peer"):
        started = time.process_time()
        side = SIDES[which](*drawn_epoch)
        for members in side.batches():
            side.collate(members)
        seconds.append(time.process_time() - started)
    return SUBJECT.row(case, "making batches", "CPU s", ours=seconds[0], peer=seconds[1])


def memory(folder: Path, case: str) -> list[Row]:
    """What steps add to a process's memory at their peak, each side in a process of its own; nothing but on Linux."""
    if not _RESET.exists():
        return []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        ours, peer = pool.map(memory_of, ("ours", "peer"), (folder, folder))
    return [SUBJECT.row(case, "peak memory of steps", "bytes", ours=ours, peer=peer)]


def memory_of(which: str, folder: Path) -> float:
    """Bytes between the resident size before some steps and its largest during them."""
    bench = Bench(folder)
    side = sides(bench, drawn(np.random.default_rng(1).choice(GAMES_LENGTHS, USERS["small"])), TASKS)[which]
    _RESET.write_text("5")  # the largest so far becomes what it is now
    before = peak_bytes()
    bench.timed({which: side}, 6)
    return float(peak_bytes() - before)


def peak_bytes() -> int:
    """Largest resident size since it was reset."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def growth(bench: Bench, steps: int) -> list[Row]:
    """CPU rates at other lengths of the histories and other numbers of negatives."""
    rows = []
    for count, ratio in ((5, 3), (10, 3), (20, 3), (10, 0), (10, 1), (10, 5)):
        tasks = replace(TASKS, negatives=ratio)
        both = sides(bench, drawn(np.full(200, count + 1, dtype=np.int64)), tasks)
        case = f"histories of 1 to {count} items, 1:{ratio}, loss over codes, {torch.get_num_threads()} threads"
        rows.append(rates(case, bench.timed(both, steps))[1])
    return rows


if __name__ == "__main__":
    command(run)
