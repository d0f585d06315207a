"""Learning a language from raw texts, held against plain transformers and PyTorch."""

import json
import math
import pickle
import random

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError
from skorch.callbacks import Callback
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertForPreTraining,
    GPT2Config,
    GPT2Model,
)

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertPretrainer,
    TruncationWarning,
    WordPieceVocabulary,
    load,
    save,
)
from sklearn_bert.compute import _precision
from sklearn_bert.estimators import _language_model
from sklearn_bert.model._language_model import LanguageModel

MASK, CLS, SEP = 4, 2, 3  # of the tiny BERT
TOPICS = ["film", "cat", "dog", "plot"]


class Seen(Callback):
    """Notes what the net learns from: the table and the rows of each update."""

    updates: list = []
    epochs: list = []
    valid: list = []

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.epochs.append(drawn(dataset_train.table))
        self.valid.append(None if dataset_valid is None else drawn(dataset_valid.table))

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        self.updates.append((self.epochs[-1], np.array(batch)))


def drawn(table):
    """All rows of a table, with tokens hidden."""
    return table.drawn(np.arange(len(table)))


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture
def seen():
    """A callback that has noted nothing yet."""
    for notes in (Seen.updates, Seen.epochs, Seen.valid):
        notes.clear()
    return Seen()


@pytest.fixture(scope="module")
def full(checkpoint, tmp_path_factory):
    """The folder of a tiny BERT with both heads, without dropout."""
    folder = tmp_path_factory.mktemp("with-heads")
    config = AutoConfig.from_pretrained(checkpoint)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        whole = BertForPreTraining(config)
        for name, value in whole.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(value, std=0.1)
    whole.save_pretrained(folder)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def texts(reviews):
    """Forty short texts."""
    return reviews[0]


@pytest.fixture(scope="module")
def documents():
    """Twelve documents of four sentences."""
    rng = np.random.default_rng(0)
    words = ["good", "bad", "was", "the", "very", "one", "two"]
    return [
        [f"{TOPICS[d % 4]} {' '.join(rng.choice(words, 3))}" for _ in range(4)]
        for d in range(12)
    ]


@pytest.fixture(scope="module")
def make(settings, full):
    """Make a pretrainer that fits at once, from the checkpoint with heads."""

    def make(**params):
        fast = {"checkpoint": full, "max_epochs": 1, "max_length": 24}
        return BertPretrainer(**(settings | {"learning_rate": 1e-3} | fast | params))

    return make


@pytest.fixture(scope="module")
def scratch(make):
    """Make a pretrainer of a new BERT."""

    def make_new(**params):
        shape = {"hidden_size": 32, "n_layers": 2, "n_heads": 2}
        vocabulary = WordPieceVocabulary(vocab_size=120)
        new = {"checkpoint": None, "vocabulary": vocabulary, "max_length": 24}
        return make(**(new | shape | params))

    return make_new


@pytest.fixture(scope="module")
def fitted(make, texts):
    """A pretrainer that has learnt for an epoch."""
    return make().fit(texts)


@pytest.fixture(scope="module")
def of_pairs(make, documents):
    """A pretrainer that has learnt which sentences follow."""
    return make(next_sentence=True, batch_size=4).fit(documents)


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
    """Where it is saved."""
    folder = tmp_path_factory.mktemp("saved") / "one"
    fitted.save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def plain(folder):
    """What transformers makes of it: tokenizer and masked-language model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer, AutoModelForMaskedLM.from_pretrained(folder).eval()


# -- the training ----------------------------------------------------------------------


def batch_of(table, rows):
    """Some rows as transformers takes them, and their labels."""
    parts = {"input_ids": table.ids, "token_type_ids": table.type_ids}
    batch = {"attention_mask": [torch.ones(n) for n in table.lengths[rows]]}
    for name, values in parts.items():
        if values is not None:
            batch[name] = [
                torch.tensor(values[table.starts[r] :][: table.lengths[r]]).long()
                for r in rows
            ]
    batch = {
        n: torch.nn.utils.rnn.pad_sequence(v, batch_first=True)
        for n, v in batch.items()
    }
    labels = torch.full(batch["input_ids"].shape, -100)
    for place, row in enumerate(rows):
        words = slice(
            table.word_starts[row], table.word_starts[row] + table.word_counts[row]
        )
        labels[place, table.word_positions[words]] = torch.tensor(table.labels[words])
    return batch, labels


def plain_losses(model, table, rows):
    """The two mean losses of BertForPreTraining for some rows."""
    batch, labels = batch_of(table, rows)
    output = model(**batch)
    words = functional.cross_entropy(
        output.prediction_logits.flatten(0, 1), labels.flatten()
    )
    if table.next_sentence_labels is None:
        return [words]
    is_strange = torch.tensor(1 - table.next_sentence_labels[rows])
    return [words, functional.cross_entropy(output.seq_relationship_logits, is_strange)]


def train_plainly(model, updates, *, lr, weight_decay, warmup):
    """AdamW by hand: warm-up, linear decay, clipping; the losses of all updates."""
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [{"params": [p], "weight_decay": weight_decay * (p.ndim > 1)} for _, p in named]
    )
    n_updates = len(updates)
    n_warmup = int(warmup * n_updates)
    losses = []
    for update, (table, rows) in enumerate(updates):
        parts = plain_losses(model, table, rows)
        sum(parts).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = (n_updates - update) / (n_updates - n_warmup)
        if update < n_warmup:
            share = (update + 1) / (n_warmup + 1)
        for group in optimizer.param_groups:
            group["lr"] = lr * share
        optimizer.step()
        optimizer.zero_grad()
        losses.append([part.item() for part in parts])
    return np.array(losses)


@pytest.mark.parametrize(
    ("next_sentence", "pooling"),
    [
        (False, "mean"),
        (True, "pooler"),
        (True, "mean"),
    ],
)
def test_training_is_a_plain_loop(
    make, full, texts, documents, seen, next_sentence, pooling, tmp_path
):
    """Losses and weights of two epochs are those of a loop over BertForPreTraining."""
    X = documents if next_sentence else texts
    ours = make(
        next_sentence=next_sentence,
        pooling=pooling,
        max_epochs=2,
        batch_size=4,
        weight_decay=0.1,
        dropout=0.0,
        callbacks=[seen],
    ).fit(X)
    theirs = BertForPreTraining.from_pretrained(full, attn_implementation="eager")
    updates = list(Seen.updates)
    losses = train_plainly(theirs, updates, lr=1e-3, weight_decay=0.1, warmup=0.1)
    # A mean over the tokens that were guessed, and over the pairs.
    sizes = [[t.word_counts[rows].sum(), len(rows)] for t, rows in updates]
    sizes = np.array(sizes)[:, : losses.shape[1]]
    for epoch, row in enumerate(ours.history_):
        part = slice(epoch * len(updates) // 2, (epoch + 1) * len(updates) // 2)
        means = np.average(losses[part], axis=0, weights=sizes[part])
        assert row["train_loss"] == pytest.approx(means.sum(), rel=1e-5)
        if next_sentence:
            assert [row["mlm_loss"], row["nsp_loss"]] == pytest.approx(means, rel=1e-5)
    ours.set_params(callbacks=None).save(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    expected = dict(theirs.named_parameters())
    assert len(saved) > 20
    for name, value in saved.items():
        torch.testing.assert_close(
            value,
            expected[name],
            rtol=1e-3,
            atol=1e-5,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@pytest.mark.parametrize("next_sentence", [False, True])
def test_parts_of_a_batch_are_its_update(make, documents, monkeypatch, next_sentence):
    """Where memory is short a batch passes in parts, and losses and weights stay."""
    params = {"next_sentence": next_sentence, "dropout": 0.0, "pooling": "mean"}
    whole = make(**params).fit(documents)
    forward = LanguageModel.forward

    def short_of_memory(self, input_ids=None, *args, **inputs):
        if torch.is_grad_enabled() and len(input_ids) > 3:
            raise torch.OutOfMemoryError("there is room for three rows")
        return forward(self, input_ids, *args, **inputs)

    monkeypatch.setattr(LanguageModel, "forward", short_of_memory)
    parts = make(**params).fit(documents)
    assert parts.batch_size_used_ <= 3 < whole.batch_size_used_
    for name in {"train_loss", "mlm_loss", "nsp_loss"} & set(whole.history_[0]):
        assert parts.history_[0][name] == pytest.approx(
            whole.history_[0][name], rel=1e-5
        )
    np.testing.assert_allclose(
        answers_of(parts, documents), answers_of(whole, documents), rtol=1e-4
    )


def test_masks_are_fresh_in_every_epoch(make, texts, seen):
    """Each epoch hides other tokens of the same rows; each row once in an epoch."""
    make(max_epochs=3, callbacks=[seen]).fit(texts)
    one, two, three = Seen.epochs
    for table in (two, three):
        assert not np.array_equal(table.word_positions, one.word_positions)
        np.testing.assert_array_equal(restored(table), restored(one))
    assert not np.array_equal(two.word_positions, three.word_positions)
    rows = np.concatenate([rows for table, rows in Seen.updates if table is two])
    assert sorted(rows.tolist()) == list(range(len(two)))


def restored(table):
    """The ids as they were before some were hidden."""
    ids = table.ids.copy()
    ids[np.repeat(table.starts, table.word_counts) + table.word_positions] = (
        table.labels
    )
    return ids


@pytest.mark.parametrize("pack", [True, False])
def test_rows_hold_the_texts(make, full, texts, seen, pack):
    """All texts are read whole: packed to full length, or each alone."""
    make(pack=pack, callbacks=[seen]).fit([" ".join(texts[:12]), *texts])
    table = Seen.epochs[0]
    tokenizer = AutoTokenizer.from_pretrained(full)
    long, *short = tokenizer([" ".join(texts[:12]), *texts], add_special_tokens=False)[
        "input_ids"
    ]
    rows = np.split(restored(table), table.starts[1:])
    if pack:
        assert (table.lengths[:-1] == 24).all()
        stream = np.concatenate([row[1:-1] for row in rows])
        expected = [i for ids in (long, *short) for i in (*ids, SEP)][:-1]
        np.testing.assert_array_equal(stream, expected)
        return
    contents = [row[1:-1].tolist() for row in rows]
    n_of_long = math.ceil(len(long) / 22)
    assert sum(contents[:n_of_long], []) == long
    assert contents[n_of_long:] == short


def test_pairs_are_drawn_anew(make, documents, seen):
    """Each epoch has other pairs, half of which follow, of 15 % hidden tokens."""
    make(next_sentence=True, max_epochs=3, callbacks=[seen]).fit(documents)
    contents = [restored(table).tolist() for table in Seen.epochs]
    assert contents[0] != contents[1] != contents[2]
    for table in Seen.epochs:
        assert table.next_sentence_labels.sum() == len(table) // 2
        assert (table.lengths <= 24).all()
        n = table.lengths - 3
        expected = np.maximum(1, np.rint(0.15 * n))
        np.testing.assert_array_equal(table.word_counts, expected)


@pytest.mark.parametrize("next_sentence", [False, True])
def test_masks_of_validation_are_fixed(make, documents, seen, next_sentence):
    """Validation sees the same masks after every epoch, and they are those of score."""
    pretrainer = make(next_sentence=next_sentence, max_epochs=2, callbacks=[seen])
    pretrainer.fit(documents, X_val=documents[:5])
    first, last = Seen.valid
    np.testing.assert_array_equal(first.ids, last.ids)
    np.testing.assert_array_equal(first.word_positions, last.word_positions)
    row = pretrainer.history_[-1]
    assert row["valid_score"] == pytest.approx(
        pretrainer.score(documents[:5]), abs=1e-6
    )
    assert row["valid_loss"] == pytest.approx(-row["valid_score"], abs=1e-6)
    first, last = (row["valid_score"] for row in pretrainer.history_)
    assert first != last


def test_a_part_is_held_out(make, seen):
    """What early_stopping holds out is not trained on."""
    letters = [chr(97 + i) for i in range(20)]
    pretrainer = make(
        early_stopping=True, validation_fraction=0.25, max_epochs=2, callbacks=[seen]
    )
    pretrainer.fit([f"{letter} " * 5 for letter in letters])
    learnt = {i for t in Seen.epochs for i in restored(t).tolist()} - {CLS, SEP}
    held_out = set(restored(Seen.valid[0]).tolist()) - {CLS, SEP}
    assert len(held_out) == 5
    assert len(learnt) == 15
    assert not learnt & held_out
    assert "valid_score" in pretrainer.history_[0]


def test_x_val_takes_the_place_of_a_part(make, texts, seen):
    """With X_val all of X is trained on."""
    make(early_stopping=True, callbacks=[seen]).fit(texts, X_val=["one two three"])
    one = restored(Seen.epochs[0])
    make(callbacks=[seen]).fit(texts)
    np.testing.assert_array_equal(one, restored(Seen.epochs[1]))


def test_history_of_both_objectives(of_pairs, fitted):
    """Each objective has its own loss; the sum is what is trained."""
    row = of_pairs.history_[0]
    assert row["train_loss"] == pytest.approx(row["mlm_loss"] + row["nsp_loss"])
    assert row["nsp_loss"] == pytest.approx(math.log(2), abs=0.3)
    assert set(fitted.history_[0]) == {
        "epoch",
        "train_loss",
        "learning_rate",
        "texts_per_second",
        "seconds",
    }
    assert fitted.n_iter_ == 1
    assert fitted.max_length_ == 24
    assert fitted.n_features_in_ == 1


def test_y_is_ignored(make, texts, fitted):
    """Targets change nothing."""
    again = make().fit(texts, np.arange(len(texts)))
    assert again.score(texts) == fitted.score(texts)


def test_texts_are_split_into_sentences(make, documents, seen):
    """A text of several sentences is a document of them."""
    pretrainer = make(next_sentence=True, callbacks=[seen])
    marked = [[f"{sentence} ." for sentence in document] for document in documents]
    pretrainer.fit(marked).fit([" ".join(document) for document in marked])
    one, other = Seen.epochs
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.next_sentence_labels, other.next_sentence_labels)


def test_the_callers_sentences_stay_whole(make, seen):
    """Lists of sentences are taken as they are, whatever punctuation is in them."""
    documents = [["mr. dog sleeps. cat", "one two"], ["i hate it ! dog", "three cat"]]
    make(next_sentence=True, max_epochs=8, callbacks=[seen]).fit(documents)
    firsts = set()
    for table in Seen.epochs:
        for row in np.split(restored(table), table.starts[1:]):
            firsts.add(tuple(row[1 : list(row).index(SEP)]))
    assert len(firsts) == 2


def test_pretrainer_learns_words(scratch):
    """The loss falls far below that of a guess, and held-out texts gain too."""
    rng = np.random.default_rng(0)
    animals, sounds = ["cat", "dog", "cow"], ["meows", "barks", "moos"]
    texts = [f"the {animals[i]} {sounds[i]}" for i in rng.integers(0, 3, 200)]
    pretrainer = scratch(pack=False, max_epochs=12, learning_rate=5e-3, batch_size=16)
    pretrainer.fit(texts)
    first, last = (pretrainer.history_[i]["train_loss"] for i in (0, -1))
    assert last < 0.5 * first
    guesses = pretrainer.fill_mask([f"the {a} [MASK]" for a in animals], top_k=1)
    assert [found[0][0][0] for found in guesses] == sounds


def test_pretrainer_learns_what_follows(scratch):
    """Pairs it has not seen are told apart far better than by chance."""
    rng = np.random.default_rng(0)
    groups = np.array([["cat", "dog", "cow", "pig"], ["red", "blue", "green", "pink"]])

    def sentence(g):
        return " ".join(rng.choice(groups[g], 3))

    documents = [[sentence(d % 2) for _ in range(2)] for d in range(160)]
    pretrainer = scratch(
        next_sentence=True,
        max_epochs=40,
        learning_rate=2e-3,
        batch_size=16,
        weight_decay=0.0,
        dropout=0.0,
    ).fit(documents)
    pairs = [(sentence(i % 2), sentence(i // 2 % 2)) for i in range(80)]
    follows = np.array([i % 2 == i // 2 % 2 for i in range(80)])
    found = pretrainer.next_sentence_proba(pairs)
    assert found.shape == (80,)
    right = (found > np.median(found)) == follows
    assert right.mean() > 0.9


# -- what has been learnt --------------------------------------------------------------


@pytest.mark.parametrize("next_sentence", [False, True])
def test_score_is_minus_the_masked_loss(
    fitted, of_pairs, documents, next_sentence, monkeypatch, tmp_path
):
    """The mean over all hidden tokens of what transformers says of each."""
    pretrainer = of_pairs if next_sentence else fitted
    tables = []
    log_likelihood = pretrainer.net_.token_log_likelihood

    def spy(table):
        tables.append(drawn(table))
        return log_likelihood(table)

    monkeypatch.setattr(pretrainer.net_, "token_log_likelihood", spy)
    score = pretrainer.score(documents)
    (table,) = tables
    pretrainer.save(tmp_path / "saved")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved").eval()
    batch, labels = batch_of(table, np.arange(len(table)))
    with torch.inference_mode():
        loss = functional.cross_entropy(
            model(**batch).logits.flatten(0, 1), labels.flatten()
        )
    assert score == pytest.approx(-loss.item(), abs=1e-5)
    rows = np.split(restored(table), table.starts[1:])
    n = np.array([(row > MASK).sum() for row in rows])  # no special tokens
    np.testing.assert_array_equal(table.word_counts, np.maximum(1, np.rint(0.15 * n)))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"early_stopping": True},
        {"next_sentence": True},
        {"gradient_checkpointing": True},
        {"precision": "bfloat16"},
        {"verbose": 1},
    ],
    ids=str,
)
def test_no_epoch_leaves_the_checkpoint_as_it_is(
    make, full, documents, params, monkeypatch
):
    """With `max_epochs=0` the weights are those of the files, and can be scored."""
    monkeypatch.setattr(_precision, "fast_formats", lambda device: ("bfloat16",))
    pretrainer = make(max_epochs=0, **params).fit(documents)
    assert pretrainer.history_ == []
    assert pretrainer.n_iter_ == 0
    files = AutoModelForMaskedLM.from_pretrained(full).base_model.state_dict()
    ours = pretrainer.net_.module.encoder.state_dict()
    for name, value in files.items():
        assert torch.equal(ours[name], value), name
    still = make(learning_rate=1e-30, weight_decay=0.0).fit(documents)
    assert pretrainer.score(documents) == pytest.approx(
        still.score(documents), abs=0.02 if "precision" in params else 1e-6
    )


def test_the_untouched_checkpoint_stands_below(make, full, texts, tmp_path):
    """What was learnt has a better score than the checkpoint; both are saved alike."""
    untouched = make(max_epochs=0).fit(texts)
    before = untouched.score(texts)
    assert make(max_epochs=4, learning_rate=5e-3).fit(texts).score(texts) > before
    untouched.save(tmp_path / "same")
    assert make(checkpoint=tmp_path / "same", max_epochs=0).fit(texts).score(
        texts
    ) == pytest.approx(before, abs=1e-6)


@torch.inference_mode()
def test_score_samples_is_a_plain_loop(fitted, plain, texts):
    """Each token masked in turn, its log-likelihood summed up, as Salazar et al."""
    tokenizer, model = plain
    some = [*texts[:3], "", "i", texts[0]]
    expected = []
    for text in some:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        total = 0.0
        for place in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, place] = tokenizer.mask_token_id
            scores = model(masked).logits[0, place].log_softmax(0)
            total += scores[ids[0, place]].item()
        expected.append(total)
    found = fitted.score_samples(some)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found[3] == 0


def test_score_samples_of_many_rows(fitted, texts, monkeypatch):
    """Texts in parts have the same likelihoods as all at once."""
    expected = fitted.score_samples(texts)
    monkeypatch.setattr("sklearn_bert.estimators._pretrainer.ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(fitted.score_samples(texts), expected, rtol=1e-5)


def test_score_samples_says_what_is_cut(fitted):
    """Of a text longer than a row the rest is not read, and that is reported."""
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than 24"):
        found = fitted.score_samples(["cat " * 50, "cat"])
    assert found[0] == pytest.approx(fitted.score_samples(["cat " * 22])[0])


@torch.inference_mode()
def test_fill_mask_is_plain_transformers_(fitted, plain):
    """Words, probabilities and their order are the top of transformers' softmax."""
    tokenizer, model = plain
    texts = ["the [MASK] was good", "[MASK][MASK]", "i hate [MASK] , a [MASK] dog"]
    found = fitted.fill_mask(texts, top_k=7)
    assert [len(masks) for masks in found] == [1, 2, 2]
    for text, masks in zip(texts, found, strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        scores = model(ids).logits[ids == tokenizer.mask_token_id].softmax(1)
        best = scores.topk(7, 1)
        words = [tokenizer.batch_decode(row[:, None]) for row in best.indices]
        assert [[word for word, _ in guesses] for guesses in masks] == words
        np.testing.assert_allclose(
            [[p for _, p in guesses] for guesses in masks], best.values, rtol=1e-4
        )
    assert isinstance(found[0][0][0][1], float)


@pytest.mark.parametrize(
    "family", ["roberta", "xlm-roberta", "distilbert", "modernbert"]
)
def test_other_families(make, family_checkpoint, texts_of, family, tmp_path):
    """Other encoders learn, answer as transformers does, and come back."""
    checkpoint = family_checkpoint(family)
    texts = texts_of["English"] * 5
    pretrainer = make(checkpoint=checkpoint, max_length=30, whole_words=True).fit(texts)
    pretrainer.save(tmp_path / "saved")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved").eval()
    text = f"The {tokenizer.mask_token} never arrived"
    ((guesses,),) = pretrainer.fill_mask([text], top_k=3)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        scores = model(ids).logits[ids == tokenizer.mask_token_id][0].softmax(0)
    np.testing.assert_allclose(
        [p for _, p in guesses], scores.topk(3).values, rtol=1e-4
    )
    again = load(tmp_path / "saved")
    assert again.score(texts) == pytest.approx(pretrainer.score(texts), abs=1e-6)
    start = {"checkpoint": str(tmp_path / "saved"), "learning_rate": 1e-12}
    gone_on = make(**start, max_length=30, whole_words=True).fit(texts)
    assert gone_on.score(texts) == pytest.approx(pretrainer.score(texts), abs=1e-5)


def test_the_answers_of_pairs_are_transformers_(of_pairs, tmp_path):
    """The probability that a sentence follows is BertForPreTraining's."""
    of_pairs.save(tmp_path / "saved")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    model = BertForPreTraining.from_pretrained(tmp_path / "saved").eval()
    pairs = [("the cat sleeps", "it is nice"), ("one", "two three"), ("i", "dull film")]
    batch = tokenizer(*zip(*pairs, strict=True), padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**batch).seq_relationship_logits.softmax(1)[:, 0]
    found = of_pairs.next_sentence_proba(pairs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_only_pairs_have_it(fitted, of_pairs):
    """Without next_sentence there is no such method, and one text is no pair."""
    assert not hasattr(fitted, "next_sentence_proba")
    with pytest.raises(ValueError, match="X has one column; expected two"):
        of_pairs.next_sentence_proba(["a", "b"])


def test_documents_are_read_as_one_text(fitted):
    """Of lists of sentences all methods read the sentences one after the other."""
    lists, joined = (
        [["the cat", "sleeps"], ["one [MASK]"]],
        ["the cat sleeps", "one [MASK]"],
    )
    np.testing.assert_array_equal(
        fitted.score_samples(lists), fitted.score_samples(joined)
    )
    np.testing.assert_array_equal(fitted.transform(lists), fitted.transform(joined))
    assert fitted.fill_mask(lists[1:]) == fitted.fill_mask(joined[1:])


# -- the same again --------------------------------------------------------------------


def answers_of(pretrainer, texts):
    return np.concatenate([pretrainer.score_samples(texts), [pretrainer.score(texts)]])


@pytest.mark.parametrize("next_sentence", [False, True])
def test_a_seed_repeats_a_fit(make, documents, next_sentence):
    """clone and fit with one seed give the same weights; another seed gives others."""
    pretrainer = make(next_sentence=next_sentence, dropout=0.1)
    expected = answers_of(pretrainer.fit(documents), documents)
    again = clone(pretrainer).fit(documents)
    np.testing.assert_array_equal(answers_of(again, documents), expected)
    np.testing.assert_array_equal(answers_of(again, documents), expected)
    other = clone(pretrainer).set_params(random_state=1).fit(documents)
    assert not np.allclose(answers_of(other, documents), expected)
    one, two = (
        clone(pretrainer).set_params(random_state=np.random.RandomState(3))
        for _ in range(2)
    )
    np.testing.assert_array_equal(
        answers_of(one.fit(documents), documents),
        answers_of(two.fit(documents), documents),
    )


def test_a_new_bert_is_its_seeds(scratch, texts):
    """New weights are drawn from the seed too."""
    one, two = (scratch().fit(texts) for _ in range(2))
    np.testing.assert_array_equal(answers_of(one, texts), answers_of(two, texts))


@pytest.mark.parametrize("random_state", [0, None])
def test_the_callers_generators_stay(scratch, texts, documents, random_state):
    """No call draws from the generators of the process."""

    def states():
        return (
            random.getstate(),
            np.random.get_state()[1].tolist(),
            np.random.get_state()[2],
            torch.get_rng_state().tolist(),
        )

    before = states()
    pretrainer = scratch(
        random_state=random_state,
        next_sentence=True,
        early_stopping=True,
        validation_fraction=0.4,
    ).fit(documents)
    pretrainer.score(documents)
    pretrainer.score_samples(texts[:2])
    pretrainer.fill_mask(["[MASK]"])
    assert states() == before


@pytest.mark.parametrize("way", ["pickle", "folder"])
@pytest.mark.parametrize("kind", ["words", "pairs", "new"])
def test_pretrainer_comes_back(
    fitted, of_pairs, scratch, texts, documents, tmp_path, way, kind
):
    """Pickled or saved, it answers as before and has the same attributes."""
    pretrainer = {"words": fitted, "pairs": of_pairs}.get(kind)
    if kind == "new":
        pretrainer = scratch(position_encoding="sinusoidal", max_length=40).fit(texts)
    if way == "pickle":
        again = pickle.loads(pickle.dumps(pretrainer))
    else:
        pretrainer.save(tmp_path / "saved")
        again = load(tmp_path / "saved")
    assert type(again) is BertPretrainer
    assert (
        answers_of(again, documents).tolist()
        == answers_of(pretrainer, documents).tolist()
    )
    np.testing.assert_array_equal(again.transform(texts), pretrainer.transform(texts))
    assert again.fill_mask(["the [MASK]"]) == pretrainer.fill_mask(["the [MASK]"])
    assert again.history_ == pretrainer.history_
    assert repr(again) == repr(pretrainer)
    if kind == "pairs":
        pairs = [("a cat", "a dog")]
        assert again.next_sentence_proba(pairs) == pretrainer.next_sentence_proba(pairs)


def test_training_goes_on(make, texts):
    """With warm_start the second fit begins where the first has ended."""
    pretrainer = make(warm_start=True, learning_rate=1e-3).fit(texts)
    before = pretrainer.score(texts)
    pretrainer.set_params(learning_rate=1e-12).fit(texts)
    assert pretrainer.score(texts) == pytest.approx(before, abs=1e-4)
    assert [row["epoch"] for row in pretrainer.history_] == [1, 2]
    assert pretrainer.n_iter_ == 2


def test_warm_start_of_a_new_bert(scratch, texts):
    """A new BERT goes on with its weights and its vocabulary."""
    pretrainer = scratch(warm_start=True).fit(texts)
    words = pretrainer.tokenizer_.to_json()
    before = pretrainer.score(texts)
    pretrainer.set_params(learning_rate=1e-12).fit([*texts, "zebra zebra zebra"])
    assert pretrainer.tokenizer_.to_json() == words
    assert pretrainer.score(texts) == pytest.approx(before, abs=1e-4)


# -- the folder ------------------------------------------------------------------------


def test_saving_keeps_the_files_of_others(fitted, of_pairs, tmp_path):
    """What the pretrainer has not written into a folder is there after another save."""
    fitted.save(tmp_path / "saved")
    (tmp_path / "saved" / ".git").mkdir()
    mine = [tmp_path / "saved" / name for name in ("README.md", ".git/config")]
    for path in mine:
        path.write_text(path.name)
    of_pairs.save(tmp_path / "saved")
    assert [path.read_text() for path in mine] == ["README.md", "config"]
    assert load(tmp_path / "saved").next_sentence


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
@torch.inference_mode()
def test_transformers_opens_the_folder(make, texts, tmp_path, pooling):
    """AutoModel, sentence-transformers and BertEmbedder give transform's vectors."""
    with torch.inference_mode(mode=False):
        pretrainer = make(pooling=pooling).fit(texts)
    pretrainer.save(tmp_path / "saved")
    found = pretrainer.transform(texts)
    batch = AutoTokenizer.from_pretrained(tmp_path / "saved")(
        texts, padding=True, return_tensors="pt"
    )
    output = AutoModel.from_pretrained(tmp_path / "saved").eval()(**batch)
    states, mask = output.last_hidden_state, batch["attention_mask"][..., None]
    expected = {
        "mean": (states * mask).sum(1) / mask.sum(1),
        "cls": states[:, 0],
        "max": states.masked_fill(mask == 0, -torch.inf).amax(1),
        "pooler": output.pooler_output,
    }[pooling]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    embedder = BertEmbedder(str(tmp_path / "saved"), device="cpu", precision="float32")
    np.testing.assert_allclose(embedder.fit(texts).transform(texts), found, atol=1e-6)
    if pooling != "pooler":  # which sentence-transformers does not know
        others = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
        np.testing.assert_allclose(others.encode(texts), found, atol=1e-5)


def test_a_classifier_begins_there(fitted, folder, texts, settings):
    """BertClassifier(checkpoint=folder) starts with the encoder that has learnt."""
    start = {"checkpoint": folder, "learning_rate": 1e-12, "max_epochs": 1}
    classifier = BertClassifier(**(settings | start)).fit(texts, np.arange(40) % 2)
    ours = fitted.net_.module.encoder.state_dict()
    for name, value in classifier.net_.module.encoder.state_dict().items():
        torch.testing.assert_close(value, ours[name], rtol=0, atol=1e-7)


def names_in(folder):
    return set(load_file(f"{folder}/model.safetensors"))


def architecture(folder):
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        return json.load(file)["architectures"]


def test_untrained_heads_are_not_written(
    scratch, make, texts, documents, checkpoint, tmp_path
):
    """What has never learnt is not in the folder, and what has is."""
    untrained = ("bert.pooler.", "cls.seq_relationship.")
    scratch().fit(texts).save(tmp_path / "words")
    names = names_in(tmp_path / "words")
    assert not [name for name in names if name.startswith(untrained)]
    assert "cls.predictions.bias" in names
    assert architecture(tmp_path / "words") == ["BertForMaskedLM"]
    scratch(next_sentence=True).fit(documents).save(tmp_path / "pairs")
    names = names_in(tmp_path / "pairs")
    assert {n.rpartition(".")[0] + "." for n in names} > {
        "bert.pooler.dense.",
        "cls.seq_relationship.",
    }
    assert architecture(tmp_path / "pairs") == ["BertForPreTraining"]
    # This one has a pooler, and no head for sentences.
    make(checkpoint=checkpoint).fit(texts).save(tmp_path / "domain")
    names = names_in(tmp_path / "domain")
    assert "bert.pooler.dense.weight" in names
    assert not [name for name in names if name.startswith("cls.seq_relationship.")]


def test_all_weights_are_transformers_(of_pairs, tmp_path):
    """BertForPreTraining finds each of its weights, and none that it does not know."""
    of_pairs.save(tmp_path / "saved")
    _, info = BertForPreTraining.from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_save_is_that_of_the_package(fitted, tmp_path):
    """The method and the function write the same, and replace no foreign folder."""
    fitted.save(tmp_path / "one")
    save(fitted, tmp_path / "two")
    files = {
        p.name: p.read_bytes() for p in (tmp_path / "one").iterdir() if p.is_file()
    }
    assert "tokenizer.json" in files
    for name, content in files.items():
        assert (tmp_path / "two" / name).read_bytes() == content
    fitted.save(tmp_path / "one")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="nothing was written"):
        fitted.save(tmp_path / "other")


def published_sines(n_positions, width):
    """Vaswani et al., section 3.5, as small as the words' embeddings start."""
    angles = np.arange(n_positions)[:, None] / 10_000 ** (
        np.arange(0, width, 2) / width
    )
    table = np.stack([np.sin(angles), np.cos(angles)], axis=2)
    return table.reshape(n_positions, width) * 0.02 * math.sqrt(2)


def position_table(estimator):
    module = estimator.net_.module
    return module.encoder.embeddings.position_embeddings.weight.numpy(force=True)


def test_sines_stay_fixed(scratch, texts, settings, tmp_path):
    """Neither pretraining nor fine-tuning nor a way through folders changes them."""
    expected = published_sines(24, 32)
    pretrainer = scratch(position_encoding="sinusoidal", weight_decay=0.5).fit(texts)
    np.testing.assert_allclose(position_table(pretrainer), expected, atol=1e-7)
    pretrainer.set_params(warm_start=True).fit(texts)
    np.testing.assert_allclose(position_table(pretrainer), expected, atol=1e-7)
    pretrainer.save(tmp_path / "language")
    start = {"checkpoint": str(tmp_path / "language"), "max_epochs": 1}
    for trainable in ("all", 1):
        params = settings | start | {"weight_decay": 0.5, "trainable": trainable}
        classifier = BertClassifier(**params).fit(texts, np.arange(40) % 2)
        np.testing.assert_allclose(position_table(classifier), expected, atol=1e-7)
    save(
        BertClassifier(**(settings | start)).fit(texts, np.arange(40) % 2),
        tmp_path / "c",
    )
    again = BertPretrainer(
        **(settings | {"checkpoint": str(tmp_path / "c"), "max_epochs": 1})
    )
    np.testing.assert_allclose(position_table(again.fit(texts)), expected, atol=1e-7)
    plain = AutoModel.from_pretrained(tmp_path / "c").embeddings.position_embeddings
    np.testing.assert_allclose(plain.weight.detach(), expected, atol=1e-7)


def test_learned_positions_learn(make, full, texts):
    """The default table is trained."""
    before = AutoModel.from_pretrained(full).embeddings.position_embeddings.weight
    after = position_table(make().fit(texts))
    assert np.abs(after - before.numpy(force=True)).max() > 1e-3


# -- a BERT from nothing ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["fitted", "unfitted", "folder", "path"])
def test_vocabulary_of_a_pretrainer(scratch, texts, tmp_path, how):
    """A vocabulary is used as it is fitted or saved, and else fitted on the texts."""
    vocabulary = WordPieceVocabulary(vocab_size=60)
    known = clone(vocabulary).fit(texts)
    if how == "fitted":
        vocabulary = clone(vocabulary).fit(["zebra giraffe"] * 9)
        known = vocabulary
    if how in ("folder", "path"):
        known.save(tmp_path / "words")
        vocabulary = tmp_path / "words" if how == "path" else str(tmp_path / "words")
    pretrainer = scratch(vocabulary=vocabulary).fit(texts)
    assert pretrainer.tokenizer_.backend.get_vocab() == known.tokenizer_.get_vocab()
    n_words = len(known.vocabulary_)
    assert pretrainer.net_.module.encoder.config.vocab_size == n_words
    if how == "unfitted":  # the caller's is not touched
        assert not hasattr(vocabulary, "vocabulary_")


def test_new_bert_has_the_shape_of_the_parameters(scratch, texts):
    """Layers, heads, width and positions are those asked for."""
    pretrainer = scratch(hidden_size=48, n_layers=3, n_heads=6, max_length=20)
    config = pretrainer.fit(texts).net_.module.encoder.config
    assert config.hidden_size == 48
    assert config.num_hidden_layers == 3
    assert config.num_attention_heads == 6
    assert config.max_position_embeddings == 20
    assert pretrainer.transform(texts).shape == (40, 48)
    assert pretrainer.get_feature_names_out()[[0, -1]].tolist() == [
        "bertpretrainer0",
        "bertpretrainer47",
    ]


# -- what is handed in -----------------------------------------------------------------

SHORT = ["the cat sleeps", "i hate it , a dull film !", "one two three"] * 3
CONTAINERS = {
    "tuple": tuple(SHORT),
    "numpy": np.array(SHORT),
    "object": np.array(SHORT, dtype=object),
    "pandas": pd.Series(SHORT, index=range(5, 14), dtype="string"),
    "frame": pd.DataFrame({"text": SHORT}),
    "polars": pl.Series(SHORT),
    "polars frame": pl.DataFrame({"text": SHORT}),
    "arrow": pa.array(SHORT),
    "chunked": pa.chunked_array([SHORT[:2], SHORT[2:]]),
}
LISTS = [["the cat", "sleeps"], ["one two", "i hate it"], ["a dog", "runs", "good"]]
COLUMNS_OF_LISTS = {
    "pandas": pd.Series(LISTS),
    "polars": pl.Series(LISTS),
    "arrow": pa.array(LISTS),
    "frame": pl.DataFrame({"d": LISTS}),
    "arrays": [np.array(document) for document in LISTS],
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_any_column_of_texts(make, kind):
    """The container does not matter, in fit and after it."""
    expected = make().fit(SHORT)
    found = make().fit(CONTAINERS[kind])
    assert found.score(CONTAINERS[kind]) == expected.score(SHORT)
    np.testing.assert_array_equal(
        found.score_samples(CONTAINERS[kind]), expected.score_samples(SHORT)
    )


@pytest.mark.parametrize("kind", COLUMNS_OF_LISTS)
def test_any_column_of_lists(make, kind):
    """Documents come as lists or as a column of lists."""
    expected = make(next_sentence=True).fit(LISTS).score(LISTS)
    X = COLUMNS_OF_LISTS[kind]
    assert make(next_sentence=True).fit(X).score(X) == expected


def test_a_template_joins_columns(make):
    """Columns of a frame become one text."""
    frame = pd.DataFrame({"a": ["the cat", "one"], "b": ["sleeps", "two three"]})
    joined = ["the cat sleeps", "one two three"]
    found = make(template="{a} {b}").fit(frame)
    expected = make().fit(joined)
    np.testing.assert_array_equal(
        found.score_samples(frame), expected.score_samples(joined)
    )
    assert found.n_features_in_ == 2


@pytest.mark.parametrize("X", [["cat"], ["cat", ""], ["", "a cat", " "], [["cat"], []]])
def test_few_tokens_are_enough(make, X):
    """One token is a corpus, and empty texts among others do no harm."""
    pretrainer = make().fit(X)
    assert math.isfinite(pretrainer.history_[0]["train_loss"])
    assert math.isfinite(pretrainer.score(X))
    assert np.isfinite(pretrainer.score_samples(X)).all()


def test_missing_texts_may_be_empty(make):
    """With missing='empty' a missing text has no tokens."""
    pretrainer = make(missing="empty").fit(["the cat", None, float("nan")])
    found = pretrainer.score_samples(["the cat", None])
    assert found[1] == 0


def test_missing_documents_may_be_empty(make):
    """With missing='empty' a missing document has no sentences."""
    make(missing="empty").fit([["the cat", "a dog"], None])


def test_lone_surrogates_are_read(make):
    """Half of an emoji is no reason to stop."""
    with pytest.warns(UserWarning, match="surrogates"):
        make().fit(["a\ud83d cat"])
    make().fit([["a\ud83d cat"]])


NOTHING = "X holds 2 texts and not one word"
WRONG_X = [
    ([], "X is empty"),
    (["", " "], NOTHING),
    ([[], [" "]], NOTHING),
    (["a", None], r"X\[1\] is None.*missing='empty'"),
    ([["a"], None], r"X\[1\] is None"),
    ([["a", None]], r"X\[0\]\[1\] is None"),
    (["a", 3], r"X\[1\] is 3 of type int"),
    ([["a"], "b"], r"X\[1\] is a single str"),
    ("text", "X is a single str.*Wrap it in a list"),
    ([("a", "b")], "X has two columns"),
    (pd.DataFrame({"a": ["x"], "b": ["y"]}), "X has two columns"),
    (None, "X is of type NoneType; expected a list"),
]


@pytest.fixture
def nothing_is_read(monkeypatch):
    """Reading a checkpoint or making a network is an error."""

    def fail(*args, **kwargs):
        raise AssertionError("the checkpoint was read")

    for name in ("load_checkpoint", "read_tokenizer", "new_language_model"):
        monkeypatch.setattr(_language_model, name, fail)


@pytest.mark.parametrize(("X", "message"), WRONG_X, ids=lambda p: str(p)[:30])
def test_wrong_texts(make, nothing_is_read, X, message):
    """What is wrong with X is said before any checkpoint is read."""
    with pytest.raises((TypeError, ValueError), match=message):
        make().fit(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (["one", "two"], "documents of two sentences or more"),
        (["one. two. three."], "at least two documents"),
        ([["one", "two"], ["three"]], "at least two documents"),
        ([["one", ""], ["two", " "]], "documents of two sentences or more"),
    ],
    ids=str,
)
def test_too_little_for_pairs(make, X, message):
    """Texts too short for pairs are an error that says what to give."""
    with pytest.raises(ValueError, match=f"next_sentence=True needs.*{message}"):
        make(next_sentence=True).fit(X)


def test_too_little_for_pairs_is_said_at_once(make, nothing_is_read):
    """That no document has two sentences can be told without a checkpoint."""
    with pytest.raises(ValueError, match="documents of two sentences or more"):
        make(next_sentence=True).fit(["one", "two"])


def test_one_document_can_be_scored(of_pairs):
    """The likelihood of hidden tokens needs no second document."""
    assert of_pairs.score(["the cat. one dog."]) < 0


def test_pretrainer_needs_room_for_a_pair(make, documents):
    """A row that has room for one token beside the special ones holds no pair."""
    with pytest.raises(ValueError, match="max_length"):
        make(next_sentence=True, max_length=4).fit(documents)


WRONG_PARAMETERS = [
    ({"hidden_size": 32, "n_heads": 3}, "hidden_size is 32 and n_heads is 3"),
    ({"vocabulary": None}, "checkpoint is None.*vocabulary"),
    ({"hidden_size": 0}, "'hidden_size' parameter"),
    ({"n_layers": 0}, "'n_layers' parameter"),
    ({"n_heads": 2.0}, "'n_heads' parameter"),
    ({"position_encoding": "rotary"}, "'position_encoding' parameter"),
    ({"vocabulary": 3}, "'vocabulary' parameter"),
    ({"mask_fraction": 0}, "'mask_fraction' parameter"),
    ({"mask_fraction": 1.0}, "'mask_fraction' parameter"),
    ({"next_sentence": "yes"}, "'next_sentence' parameter"),
    ({"whole_words": 2}, "'whole_words' parameter"),
    ({"pack": None}, "'pack' parameter"),
    ({"pooling": "attention"}, "'pooling' parameter"),
    ({"max_length": 3}, "'max_length' parameter"),
    ({"max_epochs": -1}, "'max_epochs' parameter"),
    ({"device": "abacus"}, "abacus"),
]


@pytest.mark.parametrize(("params", "message"), WRONG_PARAMETERS, ids=str)
def test_wrong_parameters(scratch, nothing_is_read, params, message):
    """A wrong parameter is named before anything is read or made."""
    with pytest.raises(
        (ValueError, InvalidParameterError, RuntimeError), match=message
    ):
        scratch(**params).fit(SHORT)


def test_a_checkpoint_has_its_vocabulary(make, nothing_is_read):
    """A vocabulary beside a checkpoint is an error."""
    with pytest.raises(ValueError, match="checkpoint has a vocabulary of its own"):
        make(vocabulary=WordPieceVocabulary()).fit(SHORT)


def test_a_template_reads_no_lists(make, nothing_is_read):
    """Lists of sentences have no columns to join."""
    with pytest.raises(ValueError, match="template is '{a}', but X holds lists"):
        make(template="{a}").fit(LISTS)


def test_what_is_wrong_in_x_val(make, nothing_is_read):
    """The message says that it is in X_val."""
    with pytest.raises(ValueError, match="in X_val: X.*1.* is None"):
        make().fit(SHORT, X_val=["a", None])


def test_pretrainer_needs_a_mask_token(make, full, tmp_path):
    """A tokenizer without a mask token is refused before training."""
    tokenizer = AutoTokenizer.from_pretrained(full)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(tmp_path)
    AutoModel.from_pretrained(full).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no mask token"):
        make(checkpoint=str(tmp_path)).fit(SHORT)


def test_a_folder_without_a_vocabulary(scratch, tmp_path):
    """A vocabulary that is not there is named."""
    with pytest.raises(ValueError, match="is not a folder with a tokenizer.json"):
        scratch(vocabulary=tmp_path).fit(SHORT)


def test_a_family_without_that_head(make, full, tmp_path):
    """A decoder has no head for masked words, and that is said."""
    config = GPT2Config(vocab_size=80, n_embd=32, n_layer=1, n_head=2, n_positions=64)
    GPT2Model(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(full).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="gpt2"):
        make(checkpoint=str(tmp_path)).fit(SHORT)


def test_next_sentences_need_a_bert(make, family_checkpoint):
    """Other families have no head for them."""
    with pytest.raises(ValueError, match="needs a BERT.*family 'roberta'"):
        make(checkpoint=family_checkpoint("roberta"), next_sentence=True).fit(LISTS)


def test_unknown_words_in_a_batch(make):
    """A batch of words that the tokenizer does not know does not end the training."""
    make(pack=False, batch_size=1).fit(["the cat", "\u597d", "one two"])


def test_pretrainer_of_unknown_words_only(make):
    """A corpus of which no word is known is an error that says so."""
    with pytest.raises(ValueError, match="learnt"):
        make().fit(["\u597d \u597d"])


def test_unknown_words_cannot_be_scored(fitted):
    """Without a token to guess there is no score, and the message says so."""
    with pytest.raises(ValueError, match="X"):
        fitted.score(["\u597d"])


@pytest.mark.parametrize("top_k", [0, -1, 2.5, "all", None])
def test_wrong_top_k(fitted, top_k):
    """How many guesses there are to be is checked, and named."""
    with pytest.raises((TypeError, ValueError), match="top_k"):
        fitted.fill_mask(["the [MASK]"], top_k=top_k)


@pytest.mark.parametrize("more", [0, 1000])
def test_the_whole_vocabulary_can_be_asked_for(fitted, more):
    """All words' probabilities add up to 1; there are no more guesses than words."""
    n_words = fitted.net_.module.encoder.config.vocab_size
    ((guesses,),) = fitted.fill_mask(["the [MASK]"], top_k=np.int64(n_words + more))
    assert len(guesses) == n_words
    assert sum(p for _, p in guesses) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("X", [["[MASK]", "cat"], ["[MASK]", ""], ["[MASK]", "[mask]"]])
def test_a_text_without_a_mask(fitted, X):
    """The row without a mask is named."""
    with pytest.raises(
        ValueError, match=r"X\[1\] is .*, in which there is no \[MASK\]"
    ):
        fitted.fill_mask(X)


def test_a_mask_that_is_cut_off(fitted):
    """A mask behind what is read of a text is none."""
    with (
        pytest.warns(TruncationWarning, match="1 of 1 texts"),
        pytest.raises(ValueError, match=r"no \[MASK\] among the first 24 tokens"),
    ):
        fitted.fill_mask(["cat " * 40 + "[MASK]"])


def test_a_second_mask_that_is_cut_off(fitted):
    """Where a text is cut, and with it one of its masks, that is reported."""
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        fitted.fill_mask(["the [MASK] " + "cat " * 40 + "[MASK]"])


def test_a_pair_that_is_cut(of_pairs):
    """Where a pair is cut that is reported."""
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        of_pairs.next_sentence_proba([("cat " * 40, "dog " * 40)])


@pytest.mark.parametrize("method", ["score", "score_samples", "fill_mask", "transform"])
def test_not_fitted_yet(make, method):
    """Before fit nothing has been learnt."""
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(make(), method)(["the [MASK]"])


@pytest.mark.parametrize("method", ["score", "score_samples", "fill_mask", "transform"])
def test_pairs_after_fit(fitted, method):
    """Two columns are no raw text after fit either."""
    with pytest.raises(ValueError, match="2 features.*expecting 1"):
        getattr(fitted, method)([("the [MASK]", "b")])


def test_parameters_of_a_pretrainer(make):
    """All parameters are told and cloned, those of a vocabulary too."""
    pretrainer = make(checkpoint=None, vocabulary=WordPieceVocabulary(vocab_size=77))
    params = pretrainer.get_params(deep=True)
    assert params["vocabulary__vocab_size"] == 77
    copied = clone(pretrainer).set_params(vocabulary__vocab_size=78)
    assert copied.vocabulary.vocab_size == 78
    assert pretrainer.vocabulary.vocab_size == 77
    assert repr(pretrainer).startswith("BertPretrainer(")
