"""Losses of vectors against formulas by hand, and how views travel to an update."""

import copy
import gc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import chisquare

from sklearn_bert import BertEmbedder
from sklearn_bert.compute._memory import BertOutOfMemoryError
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets._views import of_classes, of_pairs, same_twice
from sklearn_bert.text._input import check_texts
from sklearn_bert.training._contrastive import (
    ContrastiveCrossEntropy,
    CoSENT,
    MultipleNegativesRanking,
    SupervisedContrastive,
)
from sklearn_bert.training._examples import ViewedExamples

LEVEL = 1e-4
TEMPERATURES = [0.05, 0.5, 1.0]


def random_views(n, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), rng.normal(size=(n, width))


def losses_of(objective, first, second, targets):
    """What the objective says of these views, as NumPy."""
    scores = torch.tensor(np.hstack([first, second]))
    return objective(scores, torch.tensor(targets)).numpy()


def units(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def twice(numbers):
    return np.column_stack([numbers, numbers])


# -- formulas by hand -----------------------------------------------------------------


def info_nce(first, second, temperature, is_wrong):
    """- log(e^(own) / (e^(own) + sum over wrong ones)), one example after the other."""
    losses = []
    for i, anchor in enumerate(units(first)):
        cosines = units(second) @ anchor / temperature
        others = [cosines[j] for j in range(len(first)) if is_wrong(i, j)]
        losses.append(logsumexp([cosines[i], *others]) - cosines[i])
    return losses


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("n", [1, 2, 9])
def test_own_partner_is_info_nce(n, temperature):
    """SimCSE's equation 4: among the second views of the batch the own is right."""
    first, second = random_views(n)
    expected = info_nce(first, second, temperature, lambda i, j: i != j)
    found = losses_of(
        MultipleNegativesRanking(temperature), first, second, twice(np.arange(n))
    )
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_equal_texts_are_no_wrong_answers():
    """A text that stands in the batch twice is not told from itself."""
    first, second = random_views(6)
    numbers = np.array([0, 1, 0, 2, 1, 0])
    expected = info_nce(
        first, second, 0.1, lambda i, j: i != j and numbers[i] != numbers[j]
    )
    found = losses_of(MultipleNegativesRanking(0.1), first, second, twice(numbers))
    assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("column", [0, 1])
def test_pairs_that_share_a_half_are_no_wrong_answers(column):
    """Where one question has two answers, or two questions one, neither is wrong."""
    first, second = random_views(4)
    numbers = np.arange(8).reshape(2, 4).T.copy()
    numbers[2, column] = numbers[0, column]
    (first, second)[column][2] = (first, second)[column][0]
    expected = info_nce(first, second, 0.1, lambda i, j: i != j and {i, j} != {0, 2})
    found = losses_of(MultipleNegativesRanking(0.1), first, second, numbers)
    assert_allclose(found, expected, rtol=1e-9)


def test_a_text_is_no_wrong_answer_to_itself():
    """Of the pairs (a, b) and (c, a), a is not pushed away from the other pair's a."""
    first, second = random_views(3)
    numbers = np.array([[0, 1], [2, 0], [3, 4]])
    second[1] = first[0]
    expected = info_nce(
        first, second, 0.1, lambda i, j: i != j and numbers[i, 0] != numbers[j, 1]
    )
    found = losses_of(MultipleNegativesRanking(0.1), first, second, numbers)
    assert_allclose(found[[0, 2]], np.array(expected)[[0, 2]], rtol=1e-9)


def test_where_all_texts_are_one_there_is_nothing_to_learn():
    """All wrong answers are left out: the loss is 0, and so are its gradients."""
    scores = torch.randn(4, 12, dtype=torch.float64, requires_grad=True)
    losses = MultipleNegativesRanking(0.05)(
        scores, torch.zeros(4, 2, dtype=torch.int64)
    )
    losses.sum().backward()
    assert_array_equal(losses.detach().numpy(), np.zeros(4))
    assert_array_equal(scores.grad.numpy(), np.zeros((4, 12)))


def supcon(first, second, codes, temperature):
    """Khosla et al., equation 2, term by term: L_out, the mean over all views."""
    z = units(np.vstack([first, second]))
    y = np.concatenate([codes, codes])
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        total = logsumexp([z[i] @ z[a] / temperature for a in others])
        like = [p for p in others if y[p] == y[i]]
        losses.append(-np.mean([z[i] @ z[p] / temperature - total for p in like]))
    return np.reshape(losses, (2, -1)).mean(0)


CODES = {
    "two classes": [0, 1, 0, 1, 1, 0, 0],
    "one class": [3, 3, 3],
    "classes of one text": [0, 1, 2, 3],
    "one text": [5],
    "some alone": [0, 0, 1, 2, 2, 2],
}


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("codes", CODES.values(), ids=CODES)
def test_own_class_is_supervised_contrast(codes, temperature):
    """Khosla et al., equation 2, over both views of all examples."""
    first, second = random_views(len(codes))
    found = losses_of(
        SupervisedContrastive(temperature), first, second, np.array(codes)
    )
    assert_allclose(found, supcon(first, second, codes, temperature), rtol=1e-9)


def cosent(first, second, ranks, temperature):
    """log(1 + sum of e^(lower's cosine - higher's cosine)) over all ordered pairs."""
    cosines = (units(first) * units(second)).sum(1) / temperature
    gaps = [
        cosines[i] - cosines[j]
        for i in range(len(ranks))
        for j in range(len(ranks))
        if ranks[i] < ranks[j]
    ]
    return logsumexp([0.0, *gaps])


RANKS = {
    "all differ": [2, 0, 3, 1, 4],
    "equal ones": [1, 0, 1, 1, 0],
    "all equal": [1, 1, 1],
    "one pair": [0],
    "two pairs": [1, 0],
}


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("ranks", RANKS.values(), ids=RANKS)
def test_right_order_is_cosent(ranks, temperature):
    """CoSENT over the batch; pairs of equal scores are not held against each other."""
    first, second = random_views(len(ranks))
    found = losses_of(
        CoSENT(temperature), first, second, np.array(ranks, dtype=np.float32)
    )
    expected = cosent(first, second, ranks, temperature)
    assert_allclose(found.mean(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore")  # its own, which are none of ours
def test_losses_are_those_of_sentence_transformers():
    """MultipleNegativesRankingLoss(scale=20) and CoSENTLoss, on the same vectors."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import losses

    first, second = map(torch.tensor, random_views(8))
    ranking = losses.MultipleNegativesRankingLoss(None, scale=20.0)
    theirs = ranking.compute_loss_from_embeddings([first, second], None)
    numbers = np.arange(16).reshape(2, 8).T
    ours = losses_of(
        MultipleNegativesRanking(0.05), first.numpy(), second.numpy(), numbers
    ).mean()
    assert_allclose(ours, theirs.item(), rtol=1e-6)
    ranks = np.array([0, 3, 1, 1, 2, 0, 4, 4], dtype=np.float32)
    theirs = losses.CoSENTLoss(None, scale=20.0).compute_loss_from_embeddings(
        [first, second], torch.tensor(ranks)
    )
    ours = losses_of(CoSENT(0.05), first.numpy(), second.numpy(), ranks).mean()
    assert_allclose(ours, theirs.item(), rtol=1e-6)


CASES = [
    (MultipleNegativesRanking, twice(np.array([0, 1, 2, 0, 3]))),
    (MultipleNegativesRanking, np.arange(10).reshape(2, 5).T.copy()),
    (MultipleNegativesRanking, twice(np.array([0]))),
    (SupervisedContrastive, np.array([0, 1, 1, 0, 2])),
    (SupervisedContrastive, np.array([0])),
    (CoSENT, np.array([0, 2, 1, 1, 0], dtype=np.float32)),
    (CoSENT, np.array([0], dtype=np.float32)),
]


@pytest.mark.parametrize(("objective", "targets"), CASES)
def test_contrastive_gradients_are_finite_differences(objective, targets):
    """Gradients are those of finite differences, where answers are left out as well."""
    generator = torch.Generator().manual_seed(0)
    shape = (len(targets), 8)
    scores = torch.randn(shape, generator=generator, dtype=torch.float64)
    scores.requires_grad_(True)
    targets = torch.tensor(targets)
    loss = objective(0.3)
    assert torch.autograd.gradcheck(lambda s: loss(s, targets).mean(), scores)


@pytest.mark.parametrize(("objective", "targets"), CASES)
def test_lengths_do_not_count(objective, targets):
    """Only angles do: vectors that are longer or shorter have the same losses."""
    first, second = random_views(len(targets))
    before = losses_of(objective(0.1), first, second, targets)
    after = losses_of(objective(0.1), first * 7, second * 0.2, targets)
    assert_allclose(after, before, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("objective", "targets"), CASES)
@pytest.mark.parametrize("temperature", [1e-3, 0.05])
def test_losses_stay_finite(objective, targets, temperature):
    """Opposite, equal and zero vectors give finite losses and gradients in float32."""
    scores = torch.ones(len(targets), 8)
    scores[::2] *= -1
    scores[-1] = 0
    scores.requires_grad_(True)
    losses = objective(temperature)(scores, torch.tensor(targets))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert torch.isfinite(scores.grad).all()


# -- views ----------------------------------------------------------------------------

TEXTS = [
    f"the {thing} was {word}" for thing in ("cat", "dog", "film") for word in "abcd"
]


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return load_checkpoint(checkpoint).text_tokenizer(None)


def epochs(contrast, tokenizer, n, seed=0):
    """The views of n epochs, as texts: (n_examples, 2) each."""
    examples = contrast.examples(tokenizer(contrast.texts), seed)
    texts = np.array(contrast.texts.first)
    for _ in range(n):
        yield texts[examples.windows.members]
        examples = examples.renewed()


def test_simcse_s_views_are_the_text_twice(tokenizer):
    """In every epoch both views are the text itself."""
    contrast = same_twice(check_texts(TEXTS), 0.05)
    for views in epochs(contrast, tokenizer, 3):
        assert views.tolist() == [[text, text] for text in TEXTS]
    assert contrast.targets[:, 0].tolist() == contrast.targets[:, 1].tolist()
    assert len(set(contrast.targets[:, 0].tolist())) == len(TEXTS)


def test_equal_texts_have_one_number(tokenizer):
    """Texts that occur twice are known to be the same, and others are not."""
    contrast = same_twice(check_texts(["a", "b", "a", "c"]), 0.05)
    numbers = contrast.targets[:, 0]
    assert numbers[0] == numbers[2]
    assert len(set(numbers.tolist())) == 3
    pairs = check_texts([("a", "b"), ("c", "b"), ("a", "d"), ("b", "a")])
    numbers = of_pairs(pairs, None, 0.05).targets
    assert numbers[0, 1] == numbers[1, 1] == numbers[3, 0]
    assert numbers[0, 0] == numbers[2, 0] == numbers[3, 1]
    assert len(np.unique(numbers)) == 4


@pytest.mark.parametrize("scores", [None, [0.5, 2.0, -1.0]])
def test_views_of_pairs_are_their_halves(tokenizer, scores):
    """In every epoch a pair's views are its two texts, the first one first."""
    pairs = [("a", "b"), ("a cat", "b"), ("dog", "the film was very dull")]
    contrast = of_pairs(check_texts(pairs), scores, 0.05)
    for views in epochs(contrast, tokenizer, 3):
        assert views.tolist() == [list(pair) for pair in pairs]
    if scores is not None:
        assert contrast.targets.argsort().tolist() == [2, 0, 1]


LABELS = np.array(["x", "y", "x", "y", "z", "x", "x", "y", "x", "w", "w", "x"])


def test_partners_are_of_the_class_and_never_the_text_itself(tokenizer):
    """But where a class has one text only: then it is that one."""
    contrast = of_classes(check_texts(TEXTS), LABELS, 0.05)
    label_of = dict(zip(TEXTS, LABELS, strict=True))
    for views in epochs(contrast, tokenizer, 50):
        assert views[:, 0].tolist() == TEXTS
        for text, partner in views:
            assert label_of[partner] == label_of[text]
            assert (partner == text) == (label_of[text] == "z")


def test_partners_are_drawn_anew_and_uniformly(tokenizer):
    """Each other text of the class is as likely, in each epoch, whatever was before."""
    contrast = of_classes(check_texts(TEXTS), LABELS, 0.05)
    n = 1500
    drawn = np.array([views[:, 1] for views in epochs(contrast, tokenizer, n)])
    n_differing = 0
    for place, label in enumerate(LABELS):
        others = [t for t, o in zip(TEXTS, LABELS, strict=True) if o == label]
        others = [text for text in others if text != TEXTS[place]]
        if len(others) < 2:
            continue
        counts = [(drawn[:, place] == text).sum() for text in others]
        assert sum(counts) == n
        assert chisquare(counts).pvalue > LEVEL
        # of two epochs in a row a share of 1 / n_others is the same by chance
        same = (drawn[1:, place] == drawn[:-1, place]).sum()
        share = 1 / len(others)
        expected = [(n - 1) * share, (n - 1) * (1 - share)]
        assert chisquare([same, n - 1 - same], expected).pvalue > LEVEL
        n_differing += 1
    assert n_differing == 9


def test_partners_of_two_texts_are_drawn_apart(tokenizer):
    """What one text of a class draws says nothing of what another draws."""
    contrast = of_classes(check_texts(TEXTS[:5]), list("xxxyx"), 0.05)
    drawn = np.array([views[:, 1] for views in epochs(contrast, tokenizer, 1200)])
    first, second = drawn[:, 0], drawn[:, 1]
    table = [
        ((first == a) & (second == b)).sum()
        for a in (TEXTS[1], TEXTS[2], TEXTS[4])
        for b in (TEXTS[0], TEXTS[2], TEXTS[4])
    ]
    assert sum(table) == 1200
    assert chisquare(table).pvalue > LEVEL


def test_views_are_the_rows_of_their_examples(tokenizer):
    """Lengths, rows and parts of some examples are those of both of their views."""
    contrast = of_pairs(
        check_texts([("a", "a cat"), ("the dog runs", "b"), ("c", "d")]), None, 0.05
    )
    examples = contrast.examples(tokenizer(contrast.texts), 0)
    assert isinstance(examples, ViewedExamples)
    assert len(examples) == 3
    assert examples.lengths().tolist() == [3 + 4, 5 + 3, 3 + 3]
    assert examples.windows.take(np.array([2, 0])).rows().tolist() == [2, 5, 0, 3]
    assert examples.table.counts(examples.rows).tolist() == [1, 1, 1]


# -- updates --------------------------------------------------------------------------


@pytest.fixture
def let_run_out(monkeypatch, texts_in_pass):
    """Let the model run out of memory where a rule says so; list what it was given."""

    def patch(rule):
        seen, forward = [], TextModel.forward

        def forward_or_fail(self, *args, **inputs):
            if self.training:
                seen.append(len(texts_in_pass(*args, **inputs)))
                if rule(len(seen), seen[-1]):
                    raise torch.OutOfMemoryError("CUDA out of memory.")
            return forward(self, *args, **inputs)

        monkeypatch.setattr(TextModel, "forward", forward_or_fail)
        return seen

    gc.freeze()  # making room looks through all objects: those of the tests are many
    return patch


def data_of(objective, reviews):
    """Forty texts with their classes, or two batches of pairs."""
    texts, labels = reviews
    if objective in ("supervised", "simcse"):
        return texts, labels
    pairs = list(zip(texts[:32:2], texts[1:32:2], strict=True))
    return pairs, None if objective == "pairs" else np.arange(16) % 7


@pytest.fixture
def fit(settings, reviews):
    """Fit a tiny embedder with an objective; "scored" are pairs with scores."""

    def fit(objective, **params):
        defaults = {"max_epochs": 2, "batch_size": 8, "dropout": 0.0}
        params = settings | defaults | {"objective": objective} | params
        if objective == "scored":
            params["objective"] = "pairs"
        if objective == "simcse":
            params.pop("dropout")
        return BertEmbedder(**params).fit(*data_of(objective, reviews))

    return fit


def weights_of(embedder):
    return {n: v.clone() for n, v in embedder.net_.module.state_dict().items()}


OBJECTIVES = ["supervised", "pairs", "scored"]
SHORTAGES = {
    "from the first update": (lambda call, size: size > 4, 2),
    "once, in the second": (lambda call, size: call == 2, 4),
    "odd": (lambda call, size: size > 7, 2),
}


@pytest.mark.parametrize(
    ("objective", "shortage"),
    [
        *(("supervised", shortage) for shortage in SHORTAGES),
        *((objective, "from the first update") for objective in OBJECTIVES[1:]),
    ],
)
def test_short_memory_changes_no_update(fit, let_run_out, objective, shortage):
    """However few texts fit at a time, an update compares those of the whole batch."""
    rule = SHORTAGES[shortage]
    plain = fit(objective)
    seen = let_run_out(rule[0])
    embedder = fit(objective)
    assert embedder.batch_size_used_ == rule[1]
    assert max(seen) == 16
    for name, value in weights_of(plain).items():
        ours = embedder.net_.module.state_dict()[name]
        torch.testing.assert_close(ours, value, rtol=1e-4, atol=2e-5)
    losses = [[r["train_loss"] for r in e.history_] for e in (embedder, plain)]
    assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("trainable", [1, 2])
def test_short_memory_with_frozen_layers(fit, let_run_out, trainable):
    """The same where the lower states are computed once."""
    plain = fit("pairs", trainable=trainable)
    let_run_out(lambda call, size: size > 4)
    embedder = fit("pairs", trainable=trainable)
    assert embedder.batch_size_used_ == 2
    for name, value in weights_of(plain).items():
        ours = embedder.net_.module.state_dict()[name]
        torch.testing.assert_close(ours, value, rtol=1e-4, atol=2e-5)


def test_dropout_of_parts_is_computed_again_as_it_was(fit, let_run_out):
    """Gradients of parts under dropout are those of what the forward pass has drawn.

    The loss falls as far as it does without a shortage; with other draws in the
    backward pass than in the forward pass it would not be its gradients.
    """
    plain = fit("simcse", max_epochs=3)
    let_run_out(lambda call, size: size > 4)
    embedder = fit("simcse", max_epochs=3)
    ours, theirs = [[r["train_loss"] for r in e.history_] for e in (embedder, plain)]
    assert embedder.batch_size_used_ == 2
    assert ours[-1] < ours[0]
    assert sum(ours) == pytest.approx(sum(theirs), rel=0.3)


def test_where_not_one_text_fits(fit, let_run_out):
    """The error names the batch, with both views of its pairs, and the longest text."""
    let_run_out(lambda call, size: True)
    with pytest.raises(
        BertOutOfMemoryError, match="a batch of 16 texts.*one text of 1"
    ):
        fit("pairs")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_checkpointing_changes_no_update(fit, objective):
    """Activations that are computed twice give the same weights."""
    plain, embedder = fit(objective), fit(objective, gradient_checkpointing=True)
    for name, value in weights_of(plain).items():
        ours = embedder.net_.module.state_dict()[name]
        torch.testing.assert_close(ours, value, rtol=1e-4, atol=2e-5)


def test_an_update_is_that_of_a_loop(fit, settings, reviews, checkpoint):
    """One epoch of full batches is AdamW by hand on InfoNCE by hand."""
    pairs = data_of("pairs", reviews)[0]
    embedder = fit("pairs", batch_size=16, warmup=0.0, weight_decay=0.0)
    loaded = load_checkpoint(checkpoint, dropout=0.0)
    encoder, tokenizer = copy.deepcopy(loaded.encoder), loaded.text_tokenizer(None)
    encoder.set_attn_implementation("eager")
    texts = [text for half in zip(*pairs, strict=True) for text in half]
    table = tokenizer(check_texts(texts))
    ids = [
        torch.tensor(table.ids[start:][:length]).long()
        for start, length in zip(table.starts, table.lengths, strict=True)
    ]
    numbers = np.unique(texts, return_inverse=True)[1].reshape(2, -1)
    wrong = (numbers[:, :, None] != numbers[:, None]).all(0) | np.eye(16, dtype=bool)
    optimizer = torch.optim.AdamW(encoder.parameters(), weight_decay=0.0)
    losses, small = [], {}
    for share in (1.0, 0.5):
        states = [encoder(input_ids=i[None]).last_hidden_state[0] for i in ids]
        vectors = torch.stack([state.mean(0) for state in states])
        unit = vectors / vectors.norm(dim=1, keepdim=True)
        cosines = (unit[:16] @ unit[16:].T / 0.05).masked_fill(
            torch.tensor(~wrong), -torch.inf
        )
        loss = (cosines.logsumexp(1) - cosines.diagonal()).mean()
        loss.backward()
        used = {n: p for n, p in encoder.named_parameters() if p.grad is not None}
        torch.nn.utils.clip_grad_norm_(used.values(), 1.0)
        for name, weight in used.items():
            small[name] = small.get(name, False) | (weight.grad.abs() < 1e-8)
        optimizer.param_groups[0]["lr"] = settings["learning_rate"] * share
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert_allclose([r["train_loss"] for r in embedder.history_], losses, rtol=1e-4)
    ours = embedder.net_.module.encoder.state_dict()
    for name, value in encoder.state_dict().items():
        # AdamW divides by the size of a gradient. Of one that is near its epsilon, as
        # of biases of keys, which softmax does not see, rounding decides the step.
        atol = 1e-4 + 2 * settings["learning_rate"] * small.get(name, 0)
        assert ((ours[name] - value).abs() <= atol + 1e-3 * value.abs()).all(), name
    # Most embeddings are of words and positions that no text has.
    n_small = sum(int(s.sum()) for name, s in small.items() if "embed" not in name)
    assert n_small < 0.01 * sum(map(torch.numel, used.values()))


def test_simcse_s_views_differ_by_dropout_alone(fit, monkeypatch, texts_in_pass):
    """Both views of a text are read in one pass, with the same tokens."""
    seen, forward = [], TextModel.forward

    def keep(self, *args, **inputs):
        scores = forward(self, *args, **inputs)
        if self.training:
            seen.append((inputs, scores.detach()))
        return scores

    monkeypatch.setattr(TextModel, "forward", keep)
    fit("simcse", max_epochs=1)
    assert len(seen) == 5
    for inputs, vectors in seen:
        texts = [text.tolist() for text in texts_in_pass(**inputs)]
        assert texts[0::2] == texts[1::2]
        assert (vectors[0::2] != vectors[1::2]).any(1).all()
        unlike = torch.cdist(vectors[0::2], vectors[1::2])
        assert unlike.diagonal().mean() < unlike.mean()


def test_an_epoch_sees_each_text_once_beside_another_partner(
    fit, monkeypatch, texts_in_pass
):
    """As updates see "supervised": all texts, and new partners in each epoch."""
    seen, forward = [], TextModel.forward

    def keep(self, *args, **inputs):
        if self.training:
            rows = [tuple(text.tolist()) for text in texts_in_pass(*args, **inputs)]
            seen.append(list(zip(rows[0::2], rows[1::2], strict=True)))
        return forward(self, *args, **inputs)

    monkeypatch.setattr(TextModel, "forward", keep)
    fit("supervised", max_epochs=3)
    assert [len(batch) for batch in seen] == [8] * 15
    partners = []
    for epoch in (seen[:5], seen[5:10], seen[10:]):
        views = sorted(view for batch in epoch for view in batch)
        partners.append(views)
    firsts = [[first for first, _ in views] for views in partners]
    assert firsts[0] == firsts[1] == firsts[2]
    assert partners[0] != partners[1] != partners[2] != partners[0]


@pytest.mark.parametrize("objective", ["simcse", "supervised", "pairs", "scored"])
def test_frozen_layers_stay_bit_equal(fit, objective):
    """With trainable=1 the embeddings and the first layer are as they were."""
    embedder = fit(objective, trainable=1)
    before = load_checkpoint(embedder.checkpoint).encoder.state_dict()
    after = embedder.net_.module.encoder.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert all(".layer.1." in f".{name}" for name in changed)


@pytest.mark.parametrize(
    ("objective", "how"),
    [
        ("simcse", {"trainable": 1}),
        ("simcse", {"adapter": "lora"}),
        ("supervised", {"trainable": 2}),
        ("pairs", {"trainable": 1}),
        ("scored", {"trainable": 1}),
        ("scored", {"adapter": "lora"}),
    ],
)
def test_a_part_learns(fit, objective, how):
    """Top layers alone, or additions of low rank, bring the loss down."""
    embedder = fit(objective, max_epochs=8, **how)
    losses = [row["train_loss"] for row in embedder.history_]
    assert losses[-1] < losses[0]


# -- beside the cross-entropy ----------------------------------------------------------


def plain_contrast(vectors, codes, temperature):
    """Khosla et al., equation 2, one text after the other; 0 for one that is alone."""
    losses = []
    for i, anchor in enumerate(units(vectors)):
        cosines = units(vectors) @ anchor / temperature
        others = [j for j in range(len(codes)) if j != i]
        like = [j for j in others if codes[j] == codes[i]]
        total = logsumexp(cosines[others])
        losses.append(np.mean([total - cosines[j] for j in like]) if like else 0.0)
    return np.array(losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_contrastive_cross_entropy_is_the_weighted_sum_of_both(smoothing):
    """The loss of a part is its weighted share of cross-entropy and 2.5 contrasts."""
    rng = np.random.default_rng(0)
    logits, vectors = rng.normal(size=(7, 3)), rng.normal(size=(7, 5))
    codes, weights = np.array([0, 1, 2, 0, 1, 0, 1]), rng.uniform(0.5, 2, 7)
    loss = ContrastiveCrossEntropy(3, smoothing, 2.5, temperature=0.3)
    padding = np.zeros((1, 8))
    found = loss.losses(
        torch.tensor(np.vstack([np.hstack([logits, vectors]), padding])),
        torch.tensor(codes),
        torch.tensor(weights),
        n_targets=10,
        n_rows=10,
    )
    logs = logits - logsumexp(logits, axis=1, keepdims=True)
    wanted = np.eye(3)[codes] * (1 - smoothing) + smoothing / 3
    expected = -(wanted * logs).sum(1) + 2.5 * plain_contrast(vectors, codes, 0.3)
    assert_allclose(found.item(), (expected * weights).sum() / 10, rtol=1e-6)


def test_contrast_of_a_text_that_is_alone_of_its_class_is_nothing():
    """Its loss and its gradient are finite: it has nobody to be near to."""
    outputs = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    loss = ContrastiveCrossEntropy(2).losses(
        outputs, torch.tensor([0, 0, 1]), torch.ones(3), n_targets=3, n_rows=3
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(outputs.grad).all()
