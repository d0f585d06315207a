"""Words by characters, and the word of each token, for any tokenizer and any cut."""

import numpy as np
import pytest

from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._spans import character_runs, words_of_tokens

FAMILIES = ["bert", "roberta", "modernbert", "xlm-roberta", "deberta-v2"]


def words_of(text):
    """The words of a text by its runs of characters alone."""
    runs = character_runs(text)
    return ["".join(np.array(list(text))[runs == run]) for run in range(runs.max() + 1)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A film, really!", ["A", "film", ",", "really", "!"]),
        ("don't 'quote'", ["don't", "'", "quote", "'"]),
        ("我喜欢 film", ["我", "喜", "欢", "film"]),
        ("لَمْ يَصِلِ.", ["لَمْ", "يَصِلِ", "."]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("👍🏽👩‍👩‍👧 ❤️", ["👍🏽", "👩‍👩‍👧", "❤️"]),
        ("a_b\x00c 3.5", ["a_b", "c", "3", ".", "5"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
    ],
)
def test_words_are_runs_of_letters_or_single_characters(text, words):
    """Marks and joined symbols stay with what they follow."""
    assert words_of(text) == words


@pytest.mark.parametrize("family", FAMILIES)
def test_words_cover_all_but_spaces(family, family_checkpoint, texts_of):
    """Words follow each other, and every character that is no space is in one."""
    tokenizer = load_checkpoint(family_checkpoint(family)).text_tokenizer(None)
    for texts in texts_of.values():
        found, _ = words_of_tokens(tokenizer, check_texts(texts))
        for text, words in zip(texts, found, strict=True):
            assert (words.starts[1:] >= words.ends[:-1]).all()
            covered = "".join(
                text[start:end]
                for start, end in zip(words.starts, words.ends, strict=True)
            )
            assert covered.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("family", ["bert", "modernbert", "xlm-roberta"])
@pytest.mark.parametrize("long_text", ["truncate", "head_tail", "window"])
@pytest.mark.parametrize("max_length", [12, 60])
@pytest.mark.parametrize("are_pairs", [False, True])
def test_tokens_lie_in_their_words(
    family, long_text, max_length, are_pairs, family_checkpoint, texts_of
):
    """A token of the table is one of the tokens that the word has in the whole text."""
    tokenizer = load_checkpoint(family_checkpoint(family)).text_tokenizer(
        max_length, long_text=long_text
    )
    rows = [text for texts in texts_of.values() for text in texts]
    if are_pairs:
        rows = list(zip(rows, rows[::-1], strict=True))
    texts = check_texts(rows)
    table = tokenizer(texts)
    found, word_of_token = words_of_tokens(tokenizer, texts)
    n_words = 0
    for row, (words, of_token) in enumerate(zip(found, word_of_token, strict=True)):
        begin = table.starts[row]
        ids = table.ids[begin : begin + table.lengths[row]]
        assert len(of_token) == len(ids)
        sides = rows[row] if are_pairs else (rows[row],)
        for word in set(of_token.tolist()) - {-1}:
            side = sides[words.parts[word]]
            encoding = tokenizer.backend.encode(side, add_special_tokens=False)
            expected = {
                token
                for token, (start, end) in zip(
                    encoding.ids, encoding.offsets, strict=True
                )
                if start < words.ends[word] and end >= words.starts[word]
            }
            assert {*ids[of_token == word].tolist()} <= expected
            n_words += 1
    assert n_words > 10
