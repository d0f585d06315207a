"""Texts -> a vocabulary of word pieces -> BERT's tokenizer."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from sklearn_bert._process._fork import is_forked
from sklearn_bert._process._warn import warn
from sklearn_bert.text._columns import excerpt
from sklearn_bert.text._special_tokens import BERT_SPECIAL
from sklearn_bert.text._stream import parts_of
from sklearn_bert.text._tokenizer import encode_texts

PREFIX = "##"  # marks a piece inside a word
# A word of more letters is unknown to the tokenizer.
LONGEST_WORD = 100
MOST_OFTEN = 2**62  # counts of words are of 64 bits
CHARACTERS_PER_LINE = 2**16  # the length of a line of repeated words, for the trainer
# Warn if a larger share of the texts loses marks on letters that are not Latin.
MARKED_TO_WARN = 0.01
# The values of TOKENIZERS_PARALLELISM that mean one thread.
NO_THREADS = {"", "off", "false", "f", "no", "n", "0"}


# -- training ----------------------------------------------------------------------


def train_pieces(
    texts: Iterable[str],
    *,
    vocab_size: int,
    lowercase: bool,
    strip_accents: bool | None,
    min_frequency: int,
    limit_alphabet: int | None,
) -> list[str]:
    """Learn the pieces of a vocabulary, in the order of their ids.

    The same counts of words give the same pieces, in any process and for any order of
    texts. The trainer alone would not: it numbers the letters within words in the order
    of a hash map, and breaks ties between pairs by these numbers. So the letters are
    passed to it in order.

    Raises
    ------
    RuntimeError
        In a forked process that is told to use threads, which it does not have.
    ValueError
        If the texts hold no word, or `vocab_size` is too small for their letters.
    """
    _check_threads()
    # BERT's default, None, strips accents if it lowercases. Only then warn: with True
    # the caller has asked for it.
    if lowercase and strip_accents is None:
        texts = _warn_of_marks(texts)
    words = _count_words(texts, _normalizer(lowercase, strip_accents))
    if not words:
        raise ValueError(
            "X holds no words: every text is empty, or has only whitespace, control "
            f"characters and words of more than {LONGEST_WORD} letters, which are "
            "always unknown. There is nothing to learn a vocabulary from."
        )
    letters = _letters(words, limit_alphabet)
    least = len(BERT_SPECIAL) + len(letters)
    if vocab_size < least:
        raise ValueError(
            f"vocab_size is {vocab_size}, but {len(BERT_SPECIAL)} special tokens and "
            f"{len(letters)} letters (those within words counted again, as "
            f"{PREFIX}letter) need {least}; expected at least vocab_size={least}. Keep "
            "fewer letters with limit_alphabet, if rare ones may be unknown."
        )
    # The trainer reserves memory for all pieces at once, and ends the process where
    # there is too little. A join shortens a word by one piece, so there are no more.
    most = least + sum(len(word) - 1 for word in words)
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=min(int(vocab_size), most),
        min_frequency=min(int(min_frequency), MOST_OFTEN),
        special_tokens=[*BERT_SPECIAL, *letters],
        limit_alphabet=0,  # none in addition to those in special_tokens
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    backend.train_from_iterator(_written_out(words), trainer=trainer)
    ids = backend.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _check_threads() -> None:
    wish = os.environ.get("TOKENIZERS_PARALLELISM")
    if is_forked() and wish is not None and wish.lower() not in NO_THREADS:
        raise RuntimeError(
            f"TOKENIZERS_PARALLELISM is {wish!r}, and this process was forked: "
            "training would wait for ever for threads that only its parent has. Unset "
            "the variable, set it to 'false', or start processes with 'spawn'."
        )


def _count_words(texts: Iterable[str], normalizer: normalizers.Normalizer) -> Counter:
    """Count the normalised words of up to `LONGEST_WORD` letters.

    Longer words are left out: the time of the trainer grows with the square of the
    longest word.
    """
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for part in parts_of(texts):
        # This trainer learns nothing. It counts the words, with all threads, and the
        # counts can be read in its pickled state.
        trainer = trainers.WordPieceTrainer(
            vocab_size=0, limit_alphabet=0, show_progress=False
        )
        backend.train_from_iterator(part, trainer=trainer)
        state = json.loads(trainer.__getstate__())
        counts = state["WordPieceTrainer"]["bpe_trainer"]["words"]
        words.update({w: n for w, n in counts.items() if len(w) <= LONGEST_WORD})
    return words


def _warn_of_marks(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts; after the last, warn if marks that matter are stripped."""
    is_marked: dict[str, bool] = {}
    n_texts, examples = 0, Counter[str]()
    for text in texts:
        n_texts += 1
        if not text.isascii():
            for letter in set(text) - is_marked.keys():
                is_marked[letter] = _has_mark_outside_latin(letter)
            marked = next((letter for letter in text if is_marked[letter]), None)
            examples.update(marked or ())
        yield text
    if examples.total() > MARKED_TO_WARN * n_texts:
        letter = examples.most_common(1)[0][0]
        warn(
            f"{examples.total()} of {n_texts} texts have marks on letters that are not "
            f"Latin, such as {letter!r} ({unicodedata.name(letter, 'unnamed')}), and "
            "BERT leaves them out where it lowers letters: vowel signs and voice "
            "marks are lost. Keep them with strip_accents=False; strip_accents=True "
            "leaves them out without this warning."
        )


def _has_mark_outside_latin(letter: str) -> bool:
    """Return whether BERT strips a mark from this character, which is not Latin."""
    base, *rest = list(unicodedata.normalize("NFD", letter))
    name = unicodedata.name(base, "")
    if not rest:
        # Marks that all scripts share are mostly on Latin letters.
        is_shared = name.startswith("COMBINING") and "KATAKANA" not in name
        is_shared |= name.startswith("VARIATION SELECTOR")  # which follow emoji
        return unicodedata.category(base) == "Mn" and not is_shared
    has_mark = any(unicodedata.category(mark) == "Mn" for mark in rest)
    is_letter = unicodedata.category(base).startswith("L")
    return has_mark and is_letter and not name.startswith("LATIN")


def _letters(words: Mapping[str, int], limit: int | None) -> list[str]:
    """Return the most frequent letters, and then those inside words, each sorted."""
    counts: Counter[str] = Counter()
    within: set[str] = set()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
        within.update(word[1:])
    by_count = sorted(counts, key=lambda letter: (-counts[letter], letter))
    kept = sorted(by_count[:limit])
    return [*kept, *(PREFIX + letter for letter in kept if letter in within)]


def _written_out(words: Mapping[str, int]) -> Iterator[str]:
    """Yield lines that hold each word as often as it was counted."""
    for word, count in words.items():
        most = max(1, CHARACTERS_PER_LINE // (len(word) + 1))
        for begin in range(0, count, most):
            yield f"{word} " * min(most, count - begin)


# -- a vocabulary that is given ----------------------------------------------------


def read_pieces(
    vocabulary: str | os.PathLike[str] | Mapping[str, int] | Iterable[str],
) -> list[str]:
    """Return the pieces of a given vocabulary, in the order of their ids.

    Parameters
    ----------
    vocabulary : path, mapping or sequence
        A `vocab.txt` with a piece per line, a mapping of pieces to ids, or pieces.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If it is no vocabulary of BERT: a piece is no str, is empty or occurs twice, a
        special token is missing, or the ids have gaps.
    """
    if isinstance(vocabulary, (str, os.PathLike)):
        pieces, name = _read_file(Path(vocabulary)), f"vocabulary ({vocabulary})"
    elif isinstance(vocabulary, Mapping):
        pieces, name = _by_id(vocabulary), "vocabulary"
    elif isinstance(vocabulary, Set):
        raise TypeError(
            f"vocabulary is a {type(vocabulary).__name__}, which has no order, and a "
            "piece's place is its id; hand in a list."
        )
    else:
        try:
            pieces, name = list(vocabulary), "vocabulary"
        except TypeError as error:
            raise TypeError(
                f"vocabulary is {excerpt(vocabulary)} of type "
                f"{type(vocabulary).__name__}; expected the path of a vocab.txt, a "
                "mapping of pieces to ids, or a list of pieces."
            ) from error
    return _check_pieces(pieces, name)


def _read_file(path: Path) -> list[str]:
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError:  # too long a name
        is_file = is_folder = False
    if not is_file:
        problem = "is a folder" if is_folder else "does not exist"
        raise FileNotFoundError(
            f"vocabulary is {excerpt(str(path), 500)}, which {problem}; expected a "
            "vocab.txt with one piece per line."
        )
    # Not splitlines, which also splits at U+2028 and others: they may be pieces.
    lines = path.read_text("utf-8").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _by_id(vocabulary: Mapping[Any, Any]) -> list[Any]:
    ids = list(vocabulary.values())
    if set(ids) != set(range(len(ids))):
        raise ValueError(
            f"vocabulary maps {len(ids)} pieces to ids that are not 0 to "
            f"{len(ids) - 1}, each once; number the pieces without gaps."
        )
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _check_pieces(pieces: list[Any], name: str) -> list[str]:
    places: dict[str, int] = {}
    for i, piece in enumerate(pieces):
        if not isinstance(piece, str):
            raise TypeError(
                f"{name}[{i}] is {excerpt(piece)} of type {type(piece).__name__}; "
                "every piece must be a str."
            )
        if not piece or _breaks_lines(piece):
            raise ValueError(
                f"{name}[{i}] is {piece!r}; a piece must be one line that is not empty."
            )
        if piece in places:
            raise ValueError(
                f"{name}[{i}] is {piece!r}, and so is {name}[{places[piece]}]; a piece "
                "must be there once, because its place is its id."
            )
        places[str.__str__(piece)] = i
    lacking = [token for token in BERT_SPECIAL if token not in places]
    if lacking:
        raise ValueError(
            f"{name} has {len(pieces)} pieces and lacks {', '.join(lacking)}; BERT "
            f"needs {', '.join(BERT_SPECIAL)}, anywhere in it."
        )
    return list(places)


def _breaks_lines(piece: str) -> bool:
    """Return whether a piece cannot be written in a file of one piece per line."""
    is_surrogate = any("\ud800" <= letter <= "\udfff" for letter in piece)
    return is_surrogate or "\n" in piece or "\r" in piece


# -- the tokenizer -----------------------------------------------------------------


def build_tokenizer(
    pieces: list[str], *, lowercase: bool, strip_accents: bool | None
) -> Tokenizer:
    """Build BERT's tokenizer: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(
        models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
    )
    backend.add_special_tokens(BERT_SPECIAL)
    backend.normalizer = _normalizer(lowercase, strip_accents)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    backend.decoder = decoders.WordPiece(prefix=PREFIX)
    return backend


def piece_ids(
    backend: Tokenizer, texts: list[str], *, add_special_tokens: bool
) -> list[list[int]]:
    """Return the ids of each text, without truncation or padding."""
    encodings = encode_texts(backend, texts, add_special_tokens=add_special_tokens)
    return [encoding.ids for encoding in encodings]


def join_pieces(pieces: list[str]) -> str:
    """Join pieces into words with single spaces between them.

    By default a decoder cleans up and turns "do not" into "don't".
    """
    return decoders.WordPiece(prefix=PREFIX, cleanup=False).decode(pieces)


def _normalizer(
    lowercase: bool, strip_accents: bool | None
) -> normalizers.BertNormalizer:
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
