"""DCCF: its layer against dense matrices, planted communities, exact resume, what enters the graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from semconv.behavior.dccf import Dccf, InfoNCE, Triples
from semconv.behavior.dccf_training import DccfTraining, TripleSampler, Validation, fit_dccf
from semconv.behavior.graph import InteractionGraph
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.core import train_part
from semconv.data.splits import targets
from semconv.data.store import Sequences
from semconv.errors import CheckFailedError, InputError
from semconv.progress import Silent
from semconv.runs.files import DCCF_STATE
from semconv.settings.behavior import BehaviorSettings, DccfSettings
from tests.worlds.sequences import sequences_of

BEHAVIOR = BehaviorSettings(source="dccf", dimensions=8)
SMALL = DccfSettings(epochs=2, batches_per_epoch=4, batch_size=64, intents=6, learning_rate=0.01, patience=50)


def communities(num_users: int = 90, size: int = 12, seed: int = 0) -> Sequences:
    """Three groups of users; each takes seven of the group's own twelve items."""
    rng = np.random.default_rng(seed)
    return sequences_of([(user % 3 * size + rng.permutation(size)[:7]).tolist() for user in range(num_users)])


def fit(folder: Path, sequences: Sequences, settings: DccfSettings = SMALL, held_out: np.ndarray | None = None):
    return fit_dccf(sequences, 36, BEHAVIOR, settings, DccfTraining(folder, Silent(), held_out))


def small_graph() -> InteractionGraph:
    return InteractionGraph.build(sequences_of([[5, 2, 5], [], [2], [9, 5, 7, 2]]), 10)


def dense_adjacency(graph: InteractionGraph) -> torch.Tensor:
    starts = graph.user_starts.tolist()
    matrix = torch.zeros(graph.shape)
    for user in range(graph.shape[0]):
        matrix[user, graph.item_of_edge[starts[user] : starts[user + 1]].long()] = 1
    return matrix


def test_graph_has_each_interaction_once_and_both_ways() -> None:
    graph = small_graph()
    assert graph.user_index.tolist() == [0, 2, 3]
    assert graph.item_index.tolist() == [2, 5, 7, 9]
    adjacency = dense_adjacency(graph)
    assert adjacency.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    values = torch.rand(graph.num_edges)
    weighted = adjacency.clone()
    weighted[adjacency > 0] = values
    users, items = torch.randn(3, 5), torch.randn(4, 5)
    torch.testing.assert_close(graph.sums(values, items, of_items=True), weighted @ items)
    torch.testing.assert_close(graph.sums(values, users, of_items=False), weighted.t() @ users)
    torch.testing.assert_close(graph.dots(users, items), (users @ items.t())[adjacency > 0])


def dense_loss(model: Dccf, batch: Triples) -> torch.Tensor:
    """Compute the loss by the method's formulas over dense matrices of users and items together."""
    graph, settings = model.graph, model.settings
    num_users = graph.shape[0]
    adjacency = torch.zeros(sum(graph.shape), sum(graph.shape))
    adjacency[:num_users, num_users:] = dense_adjacency(graph)
    adjacency = adjacency + adjacency.t()
    root = adjacency.sum(1).rsqrt()
    ego = torch.cat([model.users, model.items])
    total, contrast = ego, torch.zeros(())
    for _ in range(settings.layers):
        by_graph = (root[:, None] * adjacency * root) @ ego
        intents = [
            torch.softmax(rows @ c, dim=1) @ c.t()
            for rows, c in ((ego[:num_users], model.user_intents), (ego[num_users:], model.item_intents))
        ]
        by_intent = torch.cat(intents)
        views = [by_intent]
        for source in (by_graph, by_intent):
            weights = adjacency * (cosine_similarity(source[:, None], source[None], dim=2) + 1) / 2
            views.append(weights / weights.sum(1, keepdim=True) @ ego)
        for rows in (torch.unique(batch.users), num_users + torch.unique(batch.positives)):
            for view in views:
                scores = cosine_similarity(by_graph[rows][:, None], view[rows][None], dim=2)
                contrast = contrast + cross_entropy(scores / settings.temperature, torch.arange(len(rows)))
        ego = ego + by_graph + sum(views)
        total = total + ego
    users, items = total[:num_users], total[num_users:]
    margins = (users[batch.users] * (items[batch.negatives] - items[batch.positives])).sum(1)
    rows = [model.users[batch.users], model.items[batch.positives], model.items[batch.negatives]]
    return (
        torch.log1p(margins.exp()).mean()
        + settings.ego_weight * sum((part**2).sum() for part in rows)
        + settings.intent_weight * ((model.user_intents**2).sum() + (model.item_intents**2).sum())
        + settings.contrast_weight * contrast
    )


def test_loss_and_its_derivatives_are_those_of_the_dense_formulas() -> None:
    graph = small_graph()
    settings = DccfSettings(intents=3, ego_weight=0.1, intent_weight=0.2, contrast_weight=0.3, temperature=0.5)
    model = Dccf(graph, 5, settings, seed=1)
    batch = Triples(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 0, 3]), torch.tensor([2, 3, 1, 0]))
    gradients = []
    for loss in (model.loss(batch), dense_loss(model, batch)):
        gradients.append((loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))))
    for ours, dense in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, dense, atol=1e-5, rtol=1e-4)


def test_contrast_in_chunks_is_the_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semconv.behavior.dccf._ROWS", 4)
    rows = [torch.nn.functional.normalize(torch.randn(11, 6)).requires_grad_() for _ in range(2)]
    for loss in (InfoNCE.apply(*rows, 0.3), cross_entropy(rows[0] @ rows[1].t() / 0.3, torch.arange(11))):
        found = (loss, *torch.autograd.grad(loss, rows))
        torch.testing.assert_close(found[0], cross_entropy(rows[0] @ rows[1].t() / 0.3, torch.arange(11)))
        expected = torch.autograd.grad(cross_entropy(rows[0] @ rows[1].t() / 0.3, torch.arange(11)), rows)
        torch.testing.assert_close(found[1:], expected)


def test_triples_are_of_the_graph_and_a_function_of_the_step() -> None:
    graph = small_graph()
    adjacency = dense_adjacency(graph).bool().numpy()
    sampler = TripleSampler(graph, seed=3)
    users, positives, negatives = sampler.draw(7, 500)
    assert adjacency[users, positives].all()
    assert not adjacency[users, negatives].any()
    assert set(users) == {0, 1}  # the third has every item: nothing is a negative of theirs
    assert [rows.tolist() for rows in sampler.draw(7, 500)] == [users.tolist(), positives.tolist(), negatives.tolist()]
    assert sampler.draw(8, 500)[0].tolist() != users.tolist()
    with pytest.raises(InputError, match="every user has every item"):
        TripleSampler(InteractionGraph.build(sequences_of([[0, 1], [1, 0]]), 2), 0)


def test_recall_against_ranking_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semconv.behavior.dccf_training._CUTOFF", 3)
    monkeypatch.setattr("semconv.behavior.dccf_training._CHUNK_CELLS", 60)
    sequences = communities(30)
    graph = InteractionGraph.build(sequences, 40)
    rng = np.random.default_rng(0)
    held_out = rng.integers(-1, 40, size=30).astype(np.int32)  # 36 to 39 are in nobody's history: misses
    model = Dccf(graph, 8, SMALL, seed=2)
    with torch.no_grad():
        final, _ = model()
    scores = (final.users @ final.items.t()).numpy()
    hits = []
    for user in np.flatnonzero(held_out >= 0):
        order = [i for i in np.argsort(-scores[user]) if graph.item_index[i] not in sequences.of(int(user))]
        hits.append(held_out[user] in graph.item_index[order[:3]])
    assert Validation(graph, held_out, 1000, 0).recall(final) == pytest.approx(np.mean(hits))
    assert len(Validation(graph, held_out, 5, 0)) == 5


def separation(vectors: BehaviorVectors) -> np.ndarray:
    """``(M,)`` mean cosine of an item to its own group, less that to the group it is most like of the others."""
    group = vectors.item_index // 12
    unit = vectors.item_vectors / np.linalg.norm(vectors.item_vectors, axis=1, keepdims=True)
    means = np.stack([(unit @ unit.T)[:, group == g].mean(axis=1) for g in range(3)], axis=1)  # (M, 3)
    own = means[np.arange(len(group)), group]
    means[np.arange(len(group)), group] = -np.inf
    return own - means.max(axis=1)


def test_separates_planted_communities_and_finds_none_in_shuffled_ones(tmp_path: Path) -> None:
    settings = replace(SMALL, epochs=5, batches_per_epoch=6, batch_size=128, learning_rate=0.02)
    sequences = communities()
    vectors, figures = fit(tmp_path / "planted", sequences, settings)
    assert vectors.item_vectors.shape == (36, 8)
    assert vectors.user_vectors.shape == (90, 8)
    assert np.linalg.norm(vectors.item_vectors, axis=1).mean() == pytest.approx(1, abs=1e-5)
    assert separation(vectors).min() > 0.3
    best = vectors.item_index[(vectors.user_vectors @ vectors.item_vectors.T).argmax(axis=1)]
    assert (best // 12 == vectors.user_index % 3).all()
    losses = [line["loss"] for line in figures["epochs"]]
    assert losses[-1] < losses[0]
    assert "recall@20" not in figures["epochs"][0]
    rng = np.random.default_rng(5)
    shuffled = sequences_of([rng.permutation(36)[:7].tolist() for _ in range(90)])
    assert separation(fit(tmp_path / "shuffled", shuffled, settings)[0]).mean() < 0.1


def test_validation_stops_and_the_best_vectors_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semconv.behavior.dccf_training._CUTOFF", 4)
    sequences = communities()
    held_out = targets(sequences, "valid")
    train = train_part(sequences, "[:-2]", 1, 36)
    said: list[str] = []

    class Screen(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    settings = replace(SMALL, epochs=40, batches_per_epoch=3, patience=2)
    vectors, figures = fit_dccf(train, 36, BEHAVIOR, settings, DccfTraining(tmp_path, Screen(), held_out))
    recalls = [line["recall@20"] for line in figures["epochs"]]
    assert len(recalls) < 40
    assert figures["best_recall@20"] == max(recalls)
    assert figures["best_epoch"] == int(np.argmax(recalls)) + 1 == len(recalls) - 2
    assert len(said) == len(recalls)
    assert f"validation recall@20 {recalls[0]:.4f}" in said[0]
    # What comes out ranks as well as the best epoch did.
    scores = vectors.user_vectors @ vectors.item_vectors.T
    for user in range(90):
        scores[user, np.searchsorted(vectors.item_index, train.of(user))] = -np.inf
    top = vectors.item_index[np.argsort(-scores, axis=1)[:, :4]]
    assert (top == held_out[:, None]).any(axis=1).mean() == pytest.approx(max(recalls), abs=0.02)


class KilledError(Exception):
    pass


class Killer(Silent):
    """Ends the process, as far as the training can tell, at a given batch."""

    def __init__(self, after: int) -> None:
        self.left = after

    def task(self, label: str, total: float, unit: str, done: float = 0.0):
        bar = super().task(label, total, unit, done)
        killer = self

        class Bar:
            def __enter__(self):
                bar.__enter__()
                return self

            def __exit__(self, *details: object) -> None:
                bar.__exit__(*details)

            def advance(self, amount: float, note: str = "") -> None:
                killer.left -= 1
                if killer.left < 0:
                    raise KilledError

        return Bar()


@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path, checkpoint_seconds: int) -> None:
    sequences = communities()
    held_out = targets(sequences, "valid")
    train = train_part(sequences, "[:-2]", 1, 36)
    settings = replace(SMALL, checkpoint_seconds=checkpoint_seconds)
    undisturbed, figures = fit(tmp_path / "whole", train, settings, held_out)
    for after in (5, 2):  # twice: in the second epoch, then two batches after the last checkpoint
        with pytest.raises(KilledError):
            fit_dccf(train, 36, BEHAVIOR, settings, DccfTraining(tmp_path / "killed", Killer(after), held_out))
    resumed, again = fit(tmp_path / "killed", train, settings, held_out)
    assert resumed.item_vectors.tobytes() == undisturbed.item_vectors.tobytes()
    assert resumed.user_vectors.tobytes() == undisturbed.user_vectors.tobytes()
    assert again["epochs"] == figures["epochs"]
    assert fit(tmp_path / "killed", train, settings, held_out)[0].scale == undisturbed.scale  # a finished one is read


def test_held_out_items_do_not_enter(tmp_path: Path) -> None:
    """Permuting validation and test items among the users changes nothing but the recall."""
    sequences = communities()
    held_out = np.arange(len(sequences.items)) % 7 >= 5
    items = sequences.items.copy()
    items[held_out] = np.random.default_rng(1).permutation(items[held_out])
    permuted = replace(sequences, items=items)
    assert (permuted.items != sequences.items).any()
    trains = [train_part(part, "[:-2]", 1, 36) for part in (sequences, permuted)]
    vectors = [fit(tmp_path / str(n), train)[0] for n, train in enumerate(trains)]
    assert vectors[0].item_vectors.tobytes() == vectors[1].item_vectors.tobytes()
    with_all, _ = fit(tmp_path / "all", sequences)
    assert with_all.item_vectors.tobytes() != vectors[0].item_vectors.tobytes()


def test_seed_decides(tmp_path: Path) -> None:
    sequences = communities()
    first, other = (
        fit_dccf(sequences, 36, replace(BEHAVIOR, seed=seed), SMALL, DccfTraining(tmp_path / str(seed), Silent()))[0]
        for seed in (0, 1)
    )
    assert first.item_vectors.tobytes() != other.item_vectors.tobytes()


def test_a_loss_that_is_no_number_ends_it(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match=r"lower dccf\.learning_rate"):
        fit(tmp_path, communities(), replace(SMALL, learning_rate=1e25))


def test_refuses_nothing_to_train_on_and_a_damaged_state(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no interaction is left"):
        fit(tmp_path, sequences_of([[], []]))
    with pytest.raises(InputError, match="item_index 40 lies outside the 36 items"):
        fit(tmp_path, sequences_of([[40]]))
    (tmp_path / DCCF_STATE).write_bytes(b"no tensors")
    with pytest.raises(InputError, match="damaged"):
        fit(tmp_path, communities())
