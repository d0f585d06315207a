"""Rows of tokens as a model takes them: in a rectangle, or in one line."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from sklearn_bert.text._input import Texts
from sklearn_bert.text._table import TokenTable, pack, pad, padded_indices
from sklearn_bert.text._tokenizer import TextTokenizer

lenient = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

words = st.sampled_from(["the", "film", "was", "good", "Unfathomable", "!", ""])
sentences = st.lists(words, max_size=12).map(" ".join)


@pytest.fixture(scope="session")
def reference(checkpoint):
    """The tokenizer of transformers, to compare with."""
    return AutoTokenizer.from_pretrained(checkpoint)


# -- pad ---------------------------------------------------------------------------


@lenient
@given(
    st.lists(st.tuples(sentences, sentences), min_size=1, max_size=8),
    st.integers(4, 20),
    st.booleans(),
)
def test_padded_batch_is_that_of_transformers(reference, pairs, max_length, is_pair):
    """Ids, mask and token types are those of transformers' own padding and cutting."""
    first, second = map(list, zip(*pairs, strict=True))
    if not is_pair:
        second = None
    tokenizer = TextTokenizer(
        reference.backend_tokenizer,
        max_length=max_length,
        pad_id=reference.pad_token_id,
        has_type_ids=True,
        config={},
    )
    table = tokenizer(Texts(first, second, n_features=1 + is_pair, is_2d=False))
    batch = pad(table, np.arange(len(table)), tokenizer.pad_id)
    expected = reference(
        first,
        second,
        truncation=True,
        max_length=max_length,
        padding=True,
        return_tensors="np",
    )
    np.testing.assert_array_equal(batch["input_ids"], expected["input_ids"])
    all_text = np.ones(batch["input_ids"].shape, dtype=bool)
    mask = batch.get("attention_mask", all_text)
    np.testing.assert_array_equal(mask, expected["attention_mask"])
    types = batch.get("token_type_ids", np.zeros_like(batch["input_ids"]))
    np.testing.assert_array_equal(types, expected["token_type_ids"])
    assert ("token_type_ids" in batch) == is_pair


@st.composite
def tables_and_rows(draw):
    """Any table, even of shared texts and ids that look like padding; and some rows."""
    texts = draw(
        st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1)
    )
    lengths = np.array([len(text) for text in texts])
    ids = np.concatenate(texts).astype(np.int32)
    place = draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=20))
    table = TokenTable(
        ids=ids,
        starts=(np.cumsum(lengths) - lengths)[place],
        lengths=lengths[place],
        type_ids=(ids % 2).astype(np.uint8) if draw(st.booleans()) else None,
        whole_lengths=lengths[place],
    )
    rows = draw(st.lists(st.integers(0, len(place) - 1), min_size=1, max_size=12))
    return table, np.array(rows), [texts[place[row]] for row in rows]


@lenient
@given(tables_and_rows(), st.integers(0, 3))
def test_padding_round_trips(drawn, pad_id):
    """What is not padding is the text again; the rest is padding, and no wider."""
    table, rows, texts = drawn
    batch = pad(table, rows, pad_id)
    longest = max(map(len, texts))
    assert batch["input_ids"].shape == (len(rows), longest)
    assert ("attention_mask" in batch) == (len(set(map(len, texts))) > 1)
    for i, text in enumerate(texts):
        gap = longest - len(text)
        assert batch["input_ids"][i].tolist() == text + [pad_id] * gap
        if "attention_mask" in batch:
            expected = [True] * len(text) + [False] * gap
            assert batch["attention_mask"][i].tolist() == expected
        if table.type_ids is not None:
            expected = [token % 2 for token in text] + [0] * gap
            assert batch["token_type_ids"][i].tolist() == expected
    assert ("token_type_ids" in batch) == (table.type_ids is not None)


def test_padded_arrays_have_the_documented_dtypes():
    """Ids and types are int64, as an embedding wants them, and the mask is bool."""
    table = TokenTable(
        ids=np.array([5, 6, 7], dtype=np.int32),
        starts=np.array([0, 1]),
        lengths=np.array([1, 2]),
        type_ids=np.array([0, 0, 1], dtype=np.uint8),
        whole_lengths=np.array([1, 2]),
    )
    batch = pad(table, np.array([0, 1]), 0)
    assert {name: array.dtype for name, array in batch.items()} == {
        "input_ids": np.int64,
        "attention_mask": np.bool_,
        "token_type_ids": np.int64,
    }
    batch["input_ids"][:] = 0
    assert table.ids.tolist() == [5, 6, 7]


@lenient
@given(tables_and_rows())
def test_places_are_those_of_a_plain_loop(drawn):
    """Row by row: the places of a text's values, then zeros that are no text."""
    table, rows, texts = drawn
    where, is_text = padded_indices(table.starts[rows], table.lengths[rows])
    longest = max(map(len, texts))
    for i, text in enumerate(texts):
        start, gap = int(table.starts[rows[i]]), longest - len(text)
        assert where[i].tolist() == [*range(start, start + len(text)), *[0] * gap]
        assert is_text[i].tolist() == [True] * len(text) + [False] * gap
    assert (where.dtype, is_text.dtype) == (np.int64, np.bool_)


# -- pack --------------------------------------------------------------------------


@lenient
@given(tables_and_rows(), st.integers(0, 3), st.one_of(st.none(), st.integers(1, 12)))
def test_packed_line_is_that_of_a_plain_loop(drawn, pad_id, multiple):
    """Text after text, positions from 0 in each, and at last a text of padding."""
    table, rows, texts = drawn
    batch = pack(table, rows, pad_id, multiple)
    if multiple is not None:
        n_tokens = sum(map(len, texts))
        filler = next(n for n in range(1, 99) if (n_tokens + n) % multiple == 0)
        assert filler <= multiple
        texts = [*texts, [pad_id] * filler]
    ids, positions, ends = [], [], [0]
    for text in texts:
        ids += text
        positions += range(len(text))
        ends.append(len(ids))
    if multiple is not None:
        positions[-filler:] = [0] * filler
    assert batch["input_ids"].tolist() == [ids]
    assert batch["position_ids"].tolist() == [positions]
    assert batch["cu_seq_lens"].tolist() == ends
    assert multiple is None or len(ids) % multiple == 0
    if table.type_ids is None:
        assert "token_type_ids" not in batch
        return
    types = [token % 2 for token in ids]
    if multiple is not None:
        types[-filler:] = [0] * filler
    assert batch["token_type_ids"].tolist() == [types]


def test_packed_arrays_have_the_documented_dtypes():
    """Ids, positions and types are int64, and the borders int32, as a kernel asks."""
    table = TokenTable(
        ids=np.array([5, 6, 7], dtype=np.int32),
        starts=np.array([0, 1]),
        lengths=np.array([1, 2]),
        type_ids=np.array([0, 0, 1], dtype=np.uint8),
        whole_lengths=np.array([1, 2]),
    )
    for multiple in (None, 8):
        batch = pack(table, np.array([0, 1]), 0, multiple)
        assert {name: array.dtype for name, array in batch.items()} == {
            "input_ids": np.int64,
            "position_ids": np.int64,
            "cu_seq_lens": np.int32,
            "token_type_ids": np.int64,
        }
