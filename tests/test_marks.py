"""What a vocabulary that is learnt loses of a text is said; long words cost nothing."""

import time
import warnings

import pytest

from sklearn_bert import WordPieceVocabulary

MARKED = {
    "Hindi": ("नमस्ते", "नमसत"),
    "Japanese": ("です", "てす"),
    "Thai": ("สวัสดี", "สวสด"),
    "Arabic": ("لَمْ", "لم"),
    "Russian": ("йод", "иод"),
}


@pytest.mark.parametrize("language", MARKED)
def test_marks_outside_of_latin_are_lost_with_a_warning(language):
    """BERT's lower-casing strips vowel signs and the like; the remedy keeps them."""
    text, stripped = MARKED[language]
    with pytest.warns(UserWarning, match=r"3 of 3 texts have .* strip_accents=False"):
        vocabulary = WordPieceVocabulary().fit([text] * 3)
    assert vocabulary.inverse_transform(vocabulary.transform([text])) == [stripped]
    kept = WordPieceVocabulary(strip_accents=False).fit([text] * 3)
    assert kept.inverse_transform(kept.transform([text])) == [text]


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (["É naïve Größe", "e\u0301", "한국어", "我喜欢", "❤️ ≠"], {}),
        (["good film"] * 100 + ["नमस्ते"], {}),
        (["नमस्ते"], {"strip_accents": True}),
        (["नमस्ते"], {"strip_accents": False}),
        (["नमस्ते"], {"lowercase": False}),
    ],
    ids=["no such marks", "in one of 101 texts", "asked for", "kept", "not lowered"],
)
def test_no_warning_of_marks(texts, options):
    """Accents of Latin letters, a rare text, and what was asked for, need no word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WordPieceVocabulary(**options).fit(iter(texts))


def test_long_words_are_left_out_of_training():
    """Words of more than 100 letters are unknown, and take no time to learn from."""
    texts = ["low lower lowest"] * 4
    expected = WordPieceVocabulary(vocab_size=60).fit(texts)
    begin = time.perf_counter()
    found = WordPieceVocabulary(vocab_size=60).fit([*texts, "ab" * 200_000])
    assert time.perf_counter() - begin < 5  # without the limit: minutes
    assert found.vocabulary_ == expected.vocabulary_
    of_100 = WordPieceVocabulary(vocab_size=60).fit(["x" * 100])
    assert "[UNK]" not in of_100.inverse_transform(of_100.transform(["x" * 100]))[0]
    assert of_100.inverse_transform(of_100.transform(["x" * 101])) == ["[UNK]"]
    with pytest.raises(ValueError, match="more than 100 letters"):
        WordPieceVocabulary().fit(["x" * 101])


@pytest.mark.parametrize(
    ("max_length", "error"),
    [("evil", TypeError), (True, TypeError), (8.0, TypeError), (3, ValueError)],
)
def test_save_checks_max_length(tmp_path, max_length, error):
    """A wrong max_length is refused before anything is written."""
    vocabulary = WordPieceVocabulary().fit(["a text"])
    with pytest.raises(error, match=f"max_length is {max_length!r}; expected"):
        vocabulary.save(tmp_path / "v", max_length=max_length)
    assert not (tmp_path / "v").exists()
