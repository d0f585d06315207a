"""Writing from left to right: against transformers, and against loops by hand."""

import copy
import pickle
import random

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from sklearn_bert import (
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    CheckpointError,
    TruncationWarning,
    WordPieceVocabulary,
    load,
    save,
)
from sklearn_bert.estimators._generator import PROMPTS_AT_ONCE
from sklearn_bert.model._language_model import LanguageModel
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._table import pack, pad

READERS = ["bert", "roberta", "distilbert", "electra", "xlm-roberta"]
DECODERS = ["bert", "roberta", "electra", "xlm-roberta"]
OTHERS = ["mpnet", "modernbert", "deberta", "deberta-v2"]
LENGTHS = [5, 17, 1, 30, 12]
NOWHERE = "/no/such/folder"
TEXTS = ["the film was good .", "a cat", "", "the dog runs , it was very dull !"]
NEW = {"checkpoint": None, "hidden_size": 32, "n_layers": 1, "n_heads": 2}


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def fit(settings, reviews):
    """Fit a tiny generator; the arguments are parameters that differ."""

    def fit(X=reviews[0], *, X_val=None, **params):
        defaults = {"max_epochs": 1, "pack": False}
        return BertGenerator(**(settings | defaults | params)).fit(X, X_val=X_val)

    return fit


@pytest.fixture(scope="module")
def generator(fit):
    """A generator that has learnt the reviews, and yet is unsure of many words."""
    return fit(max_epochs=4)


def folder_of(estimator, tmp_path):
    save(estimator, tmp_path / "model")
    return tmp_path / "model"


def as_transformers_opens_it(estimator, tmp_path):
    """The saved folder's network and tokenizer, by transformers alone."""
    folder = folder_of(estimator, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@torch.inference_mode()
def log_likelihoods(model, ids):
    """Of each token but the first, given those before it, one text at a time."""
    logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [logs[place, token].item() for place, token in enumerate(ids[1:])]


# -- a token sees only those before it ------------------------------------------------


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture
def read(make_encoder, make_table):
    """States of some texts from left to right, a tensor for each text."""

    def read(family, layout, dtype=torch.float32, change=None):
        encoder = make_encoder(family)
        model = TextModel(encoder, pooling="mean", left_to_right=True).eval()
        encoder.to(dtype)
        table = make_table(LENGTHS)
        if change is not None:
            change(table)
        rows, pad_id = np.arange(len(LENGTHS)), encoder.config.pad_token_id
        with torch.inference_mode():
            if layout == "padded":
                batch = tensors(pad(table, rows, pad_id))
                states = model.states(**batch).last_hidden_state
                return [s[:n] for s, n in zip(states, LENGTHS, strict=True)]
            batch = tensors(pack(table, rows, pad_id)) | {"longest": max(LENGTHS)}
            states = model.states(**batch).last_hidden_state[0]
            return list(states[: sum(LENGTHS)].split(LENGTHS))

    return read


LAYOUTS = [
    ("padded", torch.float32),
    ("packed", torch.float32),
    ("padded", torch.bfloat16),
    ("packed", torch.bfloat16),
]


@pytest.mark.parametrize(("layout", "dtype"), LAYOUTS)
@pytest.mark.parametrize("family", READERS)
def test_later_tokens_do_not_matter(read, family, layout, dtype):
    """Another token in one place changes no state before it, and those behind it."""
    place = 11

    def change(table):
        for start, length in zip(table.starts, LENGTHS, strict=True):
            if length > place:
                table.ids[start + place] = 2 + (table.ids[start + place] - 1) % 78

    before, after = read(family, layout, dtype), read(family, layout, dtype, change)
    n_changed = 0
    for ours, others in zip(before, after, strict=True):
        assert torch.equal(ours[:place], others[:place])
        assert not (ours[place:] == others[place:]).all(-1).any()
        n_changed += len(ours[place:])
    assert n_changed == 6 + 19 + 1


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("family", READERS)
def test_states_are_plain_transformers_under_a_mask(
    read, make_encoder, make_table, family, layout
):
    """The states are those of plain transformers that is handed a lower triangle."""
    plain = make_encoder(family)
    plain.set_attn_implementation("eager")
    table = make_table(LENGTHS)
    for row, ours in enumerate(read(family, layout)):
        n = LENGTHS[row]
        ids = torch.tensor(table.ids[table.starts[row] :][:n]).long()[None]
        lowest = torch.finfo(torch.float32).min
        mask = torch.full((n, n), lowest).triu(1)[None, None]
        with torch.inference_mode():
            expected = plain(input_ids=ids, attention_mask=mask).last_hidden_state[0]
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_generator_may_read_both_ways(make_encoder, make_table, read, dtype):
    """Without left_to_right the first token's state does know of the others."""
    model = TextModel(make_encoder("bert"), pooling="mean").eval()
    model.encoder.to(dtype)
    batch = tensors(pad(make_table(LENGTHS), np.arange(len(LENGTHS)), 0))
    with torch.inference_mode():
        states = model.states(**batch).last_hidden_state
    ours = read("bert", "padded", dtype)
    assert (states[1, 0] - ours[1][0]).abs().max() > 0.05


@pytest.mark.parametrize("family", OTHERS)
def test_other_families_are_refused(fit, family_checkpoint, family):
    """A family whose attention looks both ways in any case is named, with others."""
    message = f"'{family}' cannot read from left to right.*bert, distilbert"
    with pytest.raises(ValueError, match=message):
        fit(checkpoint=family_checkpoint(family))


# -- transformers reads what was learnt as we do --------------------------------------


@pytest.mark.parametrize("family", DECODERS)
def test_scores_are_transformers_(fit, family_checkpoint, texts_of, tmp_path, family):
    """The folder opened by AutoModelForCausalLM scores every next token as we do."""
    texts = texts_of["English"] + texts_of["German"]
    generator = fit(texts, checkpoint=family_checkpoint(family))
    model, tokenizer = as_transformers_opens_it(generator, tmp_path)
    assert model.config.is_decoder
    sums = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        with torch.inference_mode():
            expected = model(torch.tensor([ids])).logits[0]
            ours = generator.net_.module.next_token_logits(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.bool),
                word_positions=torch.arange(len(ids)),
            )
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
        sums.append(sum(log_likelihoods(model, ids)))
    assert_allclose(generator.score_samples(texts), sums, rtol=1e-5)


@pytest.mark.parametrize("family", READERS)
def test_what_is_saved_is_what_was_learnt(
    fit, family_checkpoint, texts_of, tmp_path, family
):
    """A loaded generator scores as the saved one, by no bit differently."""
    texts = texts_of["English"]
    generator = fit(texts, checkpoint=family_checkpoint(family))
    again = load(folder_of(generator, tmp_path))
    assert_array_equal(again.score_samples(texts), generator.score_samples(texts))
    written = generator.generate(texts[:1], 5, random_state=0)
    assert again.generate(texts[:1], 5, random_state=0) == written


@pytest.mark.parametrize("position_encoding", ["learned", "sinusoidal"])
def test_a_new_network_is_transformers_(fit, tmp_path, position_encoding):
    """One that started from nothing is opened and scored with as well."""
    vocabulary = WordPieceVocabulary(vocab_size=80)
    new = NEW | {"vocabulary": vocabulary, "position_encoding": position_encoding}
    generator = fit(**new, max_length=32)
    model, tokenizer = as_transformers_opens_it(generator, tmp_path)
    texts = ["the film was good", "a cat"]
    expected = [sum(log_likelihoods(model, tokenizer(t)["input_ids"])) for t in texts]
    assert_allclose(generator.score_samples(texts), expected, rtol=1e-5)
    assert_array_equal(
        load(tmp_path / "model").score_samples(texts), generator.score_samples(texts)
    )


def test_score_samples_is_a_sum_over_tokens(generator, tmp_path):
    """Of each text, empty and repeated ones too: the sum up to its end."""
    model, tokenizer = as_transformers_opens_it(generator, tmp_path)
    texts = [*TEXTS, "a cat"]
    expected = [sum(log_likelihoods(model, tokenizer(t)["input_ids"])) for t in texts]
    ours = generator.score_samples(texts)
    assert ours.dtype == np.float64
    assert_allclose(ours, expected, rtol=1e-5)
    assert_array_equal(ours, generator.score_samples(pd.Series(texts)))


def test_a_text_that_is_cut_is_told_of(fit):
    """score_samples reads as far as the model does, and counts what it cuts."""
    generator = fit(max_length=8)
    with pytest.warns(TruncationWarning, match="1 of 2 texts"):
        generator.score_samples(["the " * 20, "a cat"])


@pytest.mark.parametrize(
    "prompt", ["", "the", "i hate", "the film was very", "a cat ."]
)
def test_greedy_is_transformers_(generator, tmp_path, prompt):
    """temperature=0 writes what generate(do_sample=False) writes, up to the end."""
    model, tokenizer = as_transformers_opens_it(generator, tmp_path)
    ids = tokenizer(prompt)["input_ids"][:-1]  # its end is not asked for
    special = [tokenizer.convert_tokens_to_ids(t) for t in tokenizer.all_special_tokens]
    found = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=12,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=[i for i in special if i != tokenizer.sep_token_id],
    )[0]
    expected = tokenizer.decode(found, skip_special_tokens=True)
    assert generator.generate([prompt], 12, temperature=0) == [expected]


def rows_by_hand(texts, tokenizer, room, *, is_packed):
    """The rows of a corpus: texts one after the other, or each in a row of its own."""
    texts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    if not is_packed:
        return [[first, *ids, last] for ids in texts if ids]
    stream = [i for ids in texts if ids for i in [first, *ids, last]]
    return [stream[i : i + room] for i in range(0, len(stream), room)]


@pytest.mark.parametrize("is_packed", [False, True])
def test_perplexity_is_that_of_a_loop(fit, tmp_path, is_packed):
    """exp(-score(X)) is the perplexity over all tokens, counted by hand."""
    generator = fit(pack=is_packed, max_length=16)
    model, tokenizer = as_transformers_opens_it(generator, tmp_path)
    texts = ["the film was good .", "a cat", "", "the dog runs !"] * 3
    logs = []
    for ids in rows_by_hand(texts, tokenizer, 16, is_packed=is_packed):
        found = log_likelihoods(model, ids)
        begins = [i == tokenizer.cls_token_id for i in ids[1:]]
        logs += [
            log for log, is_begin in zip(found, begins, strict=True) if not is_begin
        ]
    perplexity = np.exp(-np.mean(logs))
    assert np.exp(-generator.score(texts)) == pytest.approx(perplexity, rel=1e-5)


# -- training -------------------------------------------------------------------------


def hand_loss(model, rows):
    """Sum of the losses of next tokens, and how many there are, row by row."""
    losses = []
    for ids in rows:
        scores = model(torch.tensor([ids])).logits[0, :-1]
        wanted = torch.tensor(ids[1:])
        losses.append(functional.cross_entropy(scores, wanted, reduction="sum"))
    return sum(losses), sum(len(ids) - 1 for ids in rows)


UNEVEN = ["the film", "a cat", "the dog runs , it was very dull ! " * 3, "good"]


@pytest.fixture(scope="module")
def start(fit):
    """A new generator that has learnt nothing: steps of almost no size."""
    vocabulary = WordPieceVocabulary(vocab_size=60)
    return fit(UNEVEN, vocabulary=vocabulary, **NEW, learning_rate=1e-30)


def test_the_first_loss_is_that_of_a_loop(start, tmp_path):
    """train_loss is in nats per token, whatever the lengths of the batches' texts."""
    generator = clone(start).set_params(batch_size=2, dropout=0.0, weight_decay=0.0)
    generator.fit(UNEVEN)
    model, tokenizer = as_transformers_opens_it(generator, tmp_path)
    rows = rows_by_hand(UNEVEN, tokenizer, 512, is_packed=False)
    with torch.inference_mode():
        total, n_tokens = hand_loss(model, rows)
    found = generator.history_[0]["train_loss"]
    assert found == pytest.approx(total.item() / n_tokens, rel=1e-5)
    assert generator.score(UNEVEN) == pytest.approx(-found, rel=1e-5)


def test_an_update_is_that_of_a_loop(start, tmp_path):
    """After one AdamW step on all rows the loss is that of the step made by hand."""
    alike = {"batch_size": 8, "dropout": 0.0, "weight_decay": 0.0, "warmup": 0.0}
    still = clone(start).set_params(**alike).fit(UNEVEN)
    model, tokenizer = as_transformers_opens_it(still, tmp_path)
    rows = rows_by_hand(UNEVEN, tokenizer, 512, is_packed=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    expected = []
    for share in (1.0, 0.5, 0.0):
        total, n_tokens = hand_loss(model, rows)
        expected.append((total / n_tokens).item())
        (total / n_tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 1e-2 * share
        optimizer.step()
        optimizer.zero_grad()
    moving = clone(still).set_params(learning_rate=1e-2, max_epochs=2).fit(UNEVEN)
    losses = [row["train_loss"] for row in moving.history_]
    assert_allclose(losses, expected[:2], rtol=1e-5)
    assert -moving.score(UNEVEN) == pytest.approx(expected[2], rel=1e-4)
    assert expected[2] < expected[1] < expected[0]


def weights_of(generator):
    return generator.net_.module.state_dict()


@pytest.mark.parametrize("is_packed", [False, True])
def test_checkpointing_changes_no_update(fit, is_packed):
    """Insides that are computed twice see no later tokens the second time either."""
    params = {"pack": is_packed, "max_length": 16, "dropout": 0.0}
    plain, less = (fit(gradient_checkpointing=g, **params) for g in (False, True))
    for name, value in weights_of(plain).items():
        torch.testing.assert_close(weights_of(less)[name], value, rtol=1e-4, atol=1e-5)


def test_short_memory_changes_no_update(fit, monkeypatch):
    """Batches in parts are those of the whole, though texts differ in length."""
    params = {"dropout": 0.0, "batch_size": 4, "max_epochs": 2}
    plain, forward = fit(UNEVEN, **params), LanguageModel.forward

    def forward_or_fail(self, input_ids=None, *args, **inputs):
        if self.training and len(input_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, input_ids, *args, **inputs)

    monkeypatch.setattr(LanguageModel, "forward", forward_or_fail)
    parts = fit(UNEVEN, **params)
    assert parts.batch_size_used_ == 1
    for name, value in weights_of(plain).items():
        torch.testing.assert_close(weights_of(parts)[name], value, rtol=1e-4, atol=2e-5)
    assert parts.history_[1]["train_loss"] == pytest.approx(
        plain.history_[1]["train_loss"], rel=1e-5
    )


def test_in_bfloat16(fit, reviews, emulated_bfloat16):
    """It learns as in float32 but for rounding, reproducibly, and writes."""
    plain = fit(max_epochs=2, dropout=0.0)
    half = [fit(max_epochs=2, dropout=0.0, precision="bfloat16") for _ in range(2)]
    score = plain.score(reviews[0])
    assert half[0].score(reviews[0]) == pytest.approx(score, rel=0.03)
    assert half[0].score(reviews[0]) == half[1].score(reviews[0])
    assert half[0].generate(["the"], 5, random_state=0) == half[1].generate(
        ["the"], 5, random_state=0
    )


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("new", [False, True])
def test_held_out_perplexity_falls(fit, reviews, is_packed, new):
    """Of texts that it has not read, from a checkpoint and from nothing."""
    train, held_out = reviews[0][:30], reviews[0][30:]
    params = {"max_epochs": 3, "max_length": 32, "pack": is_packed, "batch_size": 4}
    if new:
        params |= NEW | {"vocabulary": WordPieceVocabulary(vocab_size=80)}
    generator = fit(train, X_val=held_out, **params)
    losses = [row["valid_loss"] for row in generator.history_]
    assert losses[-1] < losses[0] - 0.2
    assert generator.history_[-1]["valid_score"] == pytest.approx(-losses[-1], rel=1e-5)
    assert -generator.score(held_out) == pytest.approx(losses[-1], rel=1e-4)
    assert generator.n_iter_ == 3


def test_early_stopping_keeps_the_best_epoch(fit, reviews):
    """With steps that are too large later epochs are worse, and the best is kept."""
    generator = fit(
        reviews[0] * 2,
        early_stopping=True,
        max_epochs=12,
        n_iter_no_change=2,
        X_val=["dull cat !", "nice dog , two one"],
    )
    scores = [row["valid_score"] for row in generator.history_]
    assert len(scores) < 12
    assert np.argmax(scores) == len(scores) - 3
    held_out = ["dull cat !", "nice dog , two one"]
    assert generator.score(held_out) == pytest.approx(max(scores), rel=1e-5)


def test_a_part_is_held_out(fit, reviews):
    """early_stopping without X_val validates on texts that it does not train on."""
    generator = fit(early_stopping=True, validation_fraction=0.25, max_epochs=2)
    assert all("valid_score" in row for row in generator.history_)


def test_random_state_reproduces_a_fit(fit):
    """The same seed gives the same network, by no bit differently; another does not."""
    texts = ["a cat", "the film was good"]
    first, second, other = (fit(random_state=seed) for seed in (3, 3, 4))
    assert_array_equal(first.score_samples(texts), second.score_samples(texts))
    assert (first.score_samples(texts) != other.score_samples(texts)).all()
    assert first.history_[0]["train_loss"] == second.history_[0]["train_loss"]


def test_warm_start_goes_on(fit, reviews):
    """Two fits of two epochs: the second begins where the first ended."""
    generator = fit(max_epochs=2, warm_start=True, dropout=0.0, batch_size=40)
    score = generator.score(reviews[0])
    generator.set_params(learning_rate=1e-30).fit(reviews[0])
    assert [row["epoch"] for row in generator.history_] == [1, 2, 3, 4]
    assert generator.n_iter_ == 4
    assert generator.history_[2]["train_loss"] == pytest.approx(-score, rel=1e-4)


def test_warm_start_keeps_the_shape(fit, reviews):
    """Another width cannot be gone on with, and the error names it."""
    params = NEW | {"vocabulary": WordPieceVocabulary(vocab_size=80)}
    generator = fit(warm_start=True, **params).set_params(hidden_size=64)
    with pytest.raises(ValueError, match="hidden_size is 64, but it was 32"):
        generator.fit(reviews[0])


def test_clone_and_pickle(generator):
    """A clone is not fitted; a pickle scores and writes as before."""
    with pytest.raises(NotFittedError):
        clone(generator).generate(["a cat"])
    again = pickle.loads(pickle.dumps(generator))
    assert_array_equal(again.score_samples(TEXTS), generator.score_samples(TEXTS))
    assert again.generate(TEXTS, 5, random_state=1) == generator.generate(
        TEXTS, 5, random_state=1
    )
    assert clone(generator).get_params() == generator.get_params()


def test_a_saved_generator_can_be_gone_on_with(generator, fit, tmp_path):
    """Its folder is a checkpoint for another generator, which begins where it ended."""
    folder = folder_of(generator, tmp_path)
    again = fit(checkpoint=folder, learning_rate=1e-30)
    assert again.score(TEXTS) == pytest.approx(generator.score(TEXTS), rel=1e-5)


def test_a_pretrainer_over_a_generator_saves_what_it_is(generator, settings, tmp_path):
    """Vectors after loading are those before, whichever way the network reads."""
    folder = folder_of(generator, tmp_path)
    params = settings | {"checkpoint": folder, "max_epochs": 1, "pack": False}
    pretrainer = BertPretrainer(**params).fit(TEXTS)
    save(pretrainer, tmp_path / "pretrained")
    expected = pretrainer.transform(TEXTS)
    assert_allclose(load(tmp_path / "pretrained").transform(TEXTS), expected, atol=1e-6)


def test_a_generator_is_a_checkpoint_of_an_embedder(
    generator, embedder_settings, tmp_path
):
    """The vectors are the means of the states that transformers opens, read one way."""
    folder = folder_of(generator, tmp_path)
    embedder = BertEmbedder(**(embedder_settings | {"checkpoint": folder})).fit(TEXTS)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        expected = [
            model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
            .hidden_states[-1][0]
            .mean(0)
            .numpy()
            for text in TEXTS
        ]
    assert_allclose(embedder.transform(TEXTS), expected, atol=1e-5)


# -- writing --------------------------------------------------------------------------

PROMPTS = ["the", "i hate", "", "a cat", "the dog was"]


def test_random_state_reproduces_a_text(generator):
    """The same number writes the same, None something else each time."""
    write = generator.generate
    assert write(PROMPTS, random_state=1) == write(PROMPTS, random_state=1)
    assert write(PROMPTS, random_state=1) != write(PROMPTS, random_state=2)
    assert write(PROMPTS) != write(PROMPTS)
    twice = [write(PROMPTS, random_state=np.random.RandomState(5)) for _ in range(2)]
    assert twice[0] == twice[1]


def test_a_generator_of_numbers_moves_on(generator):
    """A RandomState that is handed in twice gives two texts."""
    state = np.random.RandomState(5)
    first, second = (generator.generate(PROMPTS, random_state=state) for _ in range(2))
    assert first != second


@pytest.mark.parametrize("seed", [None, 0])
def test_the_caller_s_generators_stay(generator, fit, seed):
    """Neither fit nor generate takes numbers from the process's generators."""

    def numbers():
        return random.getstate(), np.random.get_state()[1:3], torch.get_rng_state()

    before = copy.deepcopy(numbers())
    fit(TEXTS, random_state=seed)
    generator.generate(PROMPTS, random_state=seed)
    generator.score(TEXTS)
    after = numbers()
    assert after[0] == before[0]
    assert_array_equal(after[1][0], before[1][0])
    assert after[1][1] == before[1][1]
    assert torch.equal(after[2], before[2])


def test_each_text_has_its_own_numbers(generator):
    """What is written on from a prompt does not depend on the other prompts."""
    whole = generator.generate(PROMPTS, random_state=1)
    others = ["good good good", "dull", "", "it was", "the dog was"]
    for place, prompt in enumerate(PROMPTS):
        changed = others.copy()
        changed[place] = prompt
        assert generator.generate(changed, random_state=1)[place] == whole[place]
        ahead = generator.generate(PROMPTS[: place + 1], random_state=1)
        assert ahead == whole[: place + 1]


def test_equal_prompts_are_written_on_differently(generator):
    """Texts from one prompt are drawn one by one."""
    assert len(set(generator.generate(["the"] * 20, random_state=0))) > 10


@pytest.mark.parametrize("n_texts", [PROMPTS_AT_ONCE + d for d in (-1, 0, 1, 65)])
def test_many_prompts(generator, n_texts):
    """However many there are, each is written on as if it were in a shorter list."""
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(n_texts)]
    written = generator.generate(prompts, 3, random_state=1)
    assert len(written) == n_texts
    assert written[:5] == generator.generate(PROMPTS, 3, random_state=1)
    for prompt, text in zip(prompts, written, strict=True):
        assert text.startswith(prompt)
    greedy = generator.generate(prompts, 3, temperature=0)
    assert greedy == [greedy[i % len(PROMPTS)] for i in range(n_texts)]


@pytest.mark.parametrize("temperature", [1e-6, 1e-100, 5e-324])
def test_a_low_temperature_is_the_likeliest(generator, temperature):
    """As the temperature falls to 0, what is drawn becomes the likeliest."""
    greedy = generator.generate(PROMPTS, temperature=0)
    assert generator.generate(PROMPTS, temperature=temperature) == greedy


@pytest.mark.parametrize("limit", [{"top_k": 1}, {"top_p": 1e-9}])
def test_one_token_to_draw_from_is_the_likeliest(generator, limit):
    """top_k=1, or a top_p that one token reaches, leaves nothing to draw."""
    greedy = generator.generate(PROMPTS, temperature=0)
    assert generator.generate(PROMPTS, temperature=5.0, **limit) == greedy


def n_tokens(text, generator):
    return len(generator.tokenizer_.backend.encode(text, add_special_tokens=False).ids)


@pytest.fixture
def endless(fit):
    """Make a generator that would never end a text."""

    def make(**params):
        generator = fit(["the cat " * 30], pack=True, **params)
        bias = generator.net_.module.language_head.cls.predictions.bias
        with torch.no_grad():
            bias[generator.tokenizer_.special_id("sep")] = -1e4
        return generator

    return make


@pytest.mark.parametrize("max_new_tokens", [1, 2, 7, np.int64(3)])
def test_a_text_ends_after_max_new_tokens(endless, max_new_tokens):
    """Where nothing else ends a text, so many tokens are added to each."""
    generator = endless()
    texts = generator.generate(["the", "cat the"], max_new_tokens, temperature=0)
    added = [n_tokens(text, generator) - n for n, text in enumerate(texts, start=1)]
    assert added == [max_new_tokens] * 2


def test_a_text_ends_where_the_model_ends_it(fit):
    """One that has learnt texts of three words writes no fourth."""
    generator = fit(["the cat runs"] * 40, max_epochs=6)
    assert generator.generate(["the"], 60, temperature=0) == ["the cat runs"]


@pytest.mark.parametrize("max_length", [4, 8])
def test_a_text_ends_where_the_model_does(endless, max_length):
    """[CLS], beginning and new tokens fill the model, and not one more is asked for."""
    generator = endless(max_length=max_length)
    text = generator.generate(["the"], 1000, temperature=0)[0]
    assert n_tokens(text, generator) == max_length - 1


def test_a_prompt_that_just_fits(fit):
    """One that leaves room for one token is written on by one; a longer is refused."""
    generator = fit(max_length=8)
    fits = "the " * 6 + "cat"
    short = "the " * 5 + "cat"
    assert generator.generate([short], temperature=0)[0].startswith(short)
    with pytest.raises(ValueError, match=r"prompts\[1\] .* has 8 tokens.*reads 8"):
        generator.generate([short, fits])
    with pytest.raises(ValueError, match=r"prompts\[2\] .*has 31 tokens.*at most 7"):
        generator.generate(["a", "a", "the " * 30, "the " * 40])


def test_special_tokens_are_not_written(fit):
    """A network that likes [MASK] and [UNK] best writes words all the same."""
    generator = fit()
    special = generator.tokenizer_.special_ids()
    sep = generator.tokenizer_.special_id("sep")
    with torch.no_grad():
        bias = generator.net_.module.language_head.cls.predictions.bias
        bias[torch.tensor(special)] = 100.0
        bias[sep] = -1e4
    for temperature in (0, 1.0):
        text = generator.generate(["the"], 6, temperature=temperature)[0]
        assert n_tokens(text, generator) > 1
        assert "[" not in text


def test_an_unknown_word_of_a_prompt_is_not_lost(generator):
    """The beginning is part of the text, a word that the vocabulary lacks included."""
    text = generator.generate(["the 猫 cat"], 2, temperature=0)[0]
    assert text.startswith(("the 猫 cat", "the [UNK] cat"))


@pytest.mark.parametrize(
    "container", [tuple, np.array, pd.Series, lambda x: pd.DataFrame({"text": x})]
)
def test_prompts_in_any_container(generator, container):
    """The same prompts in another container are written on alike."""
    expected = generator.generate(PROMPTS, 5, random_state=0)
    assert generator.generate(container(PROMPTS), 5, random_state=0) == expected


def test_documents_are_joined(generator):
    """A list of sentences is one beginning, in fit and afterwards one text."""
    expected = generator.generate(["the film was", "a cat"], 5, random_state=0)
    documents = [["the film", "was"], ["a cat"]]
    assert generator.generate(documents, 5, random_state=0) == expected
    assert_array_equal(
        generator.score_samples(documents),
        generator.score_samples(["the film was", "a cat"]),
    )


def test_a_template_joins_prompts(fit):
    """What a template joined in fit it joins in prompts as well."""
    frame = pd.DataFrame({"a": ["the cat", "the dog"] * 5, "b": ["runs", "sleeps"] * 5})
    generator = fit(frame, template="{a} {b}")
    text = generator.generate(frame[:1], 3, temperature=0)[0]
    assert text.startswith("the cat runs")


@pytest.mark.parametrize(
    ("prompts", "error", "message"),
    [
        ("the", TypeError, "single str"),
        ([3], TypeError, r"\[0\] is 3 of type int"),
        ([None], ValueError, r"\[0\] is None"),
        ([("a", "b")], ValueError, "2 features"),
        ([], ValueError, "empty"),
    ],
)
def test_prompts_that_are_none(generator, prompts, error, message):
    """What is no column of texts is refused with the row and the value."""
    with pytest.raises(error, match=message):
        generator.generate(prompts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 2.5},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": "hot"},
        {"top_k": 0},
        {"top_k": 1.5},
        {"top_p": 0},
        {"top_p": 1.1},
        {"random_state": "seed"},
    ],
    ids=str,
)
def test_wrong_parameters_of_generate(generator, wrong):
    """A parameter out of its range is named."""
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        generator.generate(["a"], **wrong)


def test_before_fit(settings):
    """Nothing can be asked of a generator that is not fitted."""
    for method in ("generate", "score", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(BertGenerator(**settings), method)(["a cat"])


@pytest.mark.parametrize(
    ("X", "params", "error", "message"),
    [
        ([], {}, ValueError, "empty"),
        (["", "  "], {}, ValueError, "not one word"),
        ([("a", "b"), ("c", "d")], {}, ValueError, "column|pair"),
        ("a cat", {}, TypeError, "single str"),
        ([1, 2], {}, TypeError, r"X\[0\] is 1"),
        (["a", None], {}, ValueError, r"X\[1\] is None"),
        (["a"], {"vocabulary": NOWHERE}, ValueError, "Set vocabulary=None"),
        (["a"], {"checkpoint": None}, ValueError, "so is vocabulary"),
        (
            ["a"],
            {"checkpoint": None, "vocabulary": NOWHERE, "n_heads": 3},
            ValueError,
            "hidden_size is 256 and n_heads is 3",
        ),
        (["a"], {"max_length": 3}, ValueError, "max_length"),
        (["a"], {"max_epochs": 0}, ValueError, "max_epochs"),
        (["a"], {"position_encoding": "rotary"}, ValueError, "position_encoding"),
        (["a"], {"early_stopping": True}, ValueError, "early_stopping"),
        (["a"], {"dropout": 1.0}, ValueError, "dropout"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(X, params, error, message):
    """Where X or a parameter is wrong, no checkpoint is looked for."""
    with pytest.raises(error, match=message):
        BertGenerator(**({"checkpoint": NOWHERE, "device": "cpu"} | params)).fit(X)


def test_validation_texts_are_checked_first():
    """What is wrong with X_val is said to be in X_val, before anything is read."""
    with pytest.raises(TypeError, match="in X_val.*is 3"):
        BertGenerator(NOWHERE, device="cpu").fit(["a cat"], X_val=[3])


def test_a_checkpoint_that_is_not_there():
    """With good input the missing folder is what is complained about."""
    with pytest.raises(CheckpointError):
        BertGenerator(NOWHERE, device="cpu").fit(["a cat"])


def test_a_text_of_no_known_token(fit):
    """A tokenizer that makes nothing of the texts is said to, not divided by."""
    with pytest.raises(ValueError, match="knows no word"):
        fit(["\u200b", "\u200d"])
