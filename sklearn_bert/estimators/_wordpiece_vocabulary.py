"""`WordPieceVocabulary`: BERT's word pieces, learnt from texts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from tokenizers import Tokenizer

from sklearn_bert._process._atomic_folder import entries, new_folder
from sklearn_bert._process._sklearn import (
    Interval,
    StrOptions,
    fit_context,
)
from sklearn_bert._process._versions import PickledWithVersion
from sklearn_bert.estimators._parameters import CheckedParameters
from sklearn_bert.estimators._texts import TextInputMixin
from sklearn_bert.text._columns import excerpt
from sklearn_bert.text._corpus import check_single_texts
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._special_tokens import BERT_SPECIAL
from sklearn_bert.text._stream import is_stream
from sklearn_bert.text._wordpiece import (
    build_tokenizer,
    join_pieces,
    piece_ids,
    read_pieces,
    train_pieces,
)

FILES = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")
FRAME = ("[PAD]", "[CLS]", "[SEP]")  # what stands around texts, and is none of them


class WordPieceVocabulary(  # type: ignore[call-arg]
    CheckedParameters,
    PickledWithVersion,
    TransformerMixin,
    TextInputMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,  # ids are no columns of a frame
):
    """Learn BERT's vocabulary of word pieces, and turn texts into their ids.

    Texts are cleaned, words are split at whitespace and punctuation, and Chinese
    characters stand alone, as in BERT [1]_. `fit` begins with single letters, and
    joins the most frequent pair of pieces within words, again and again, until there
    are `vocab_size` pieces [2]_ [3]_. `transform` takes the longest piece that a word
    begins with, then the longest that goes on with it, written `##piece`.

    Parameters
    ----------
    vocab_size : int, default=30522
        Most pieces, special tokens and letters included; fewer are learnt where no
        pair is left that occurs `min_frequency` times. The default is BERT's.
    lowercase : bool, default=True
        Whether to read all letters as small ones.
    strip_accents : bool, default=None
        Whether to leave out accents and other marks on letters; outside of Latin these
        are vowel signs and voice marks as well, so set it to False there. None: as
        `lowercase`, and a warning where such marks are in many texts.
    min_frequency : int, default=2
        How often a pair of pieces must occur to be joined.
    limit_alphabet : int, default=1000
        How many letters are kept, the most frequent ones; a word with any other is
        unknown, `[UNK]`. None: all.
    vocabulary : path, mapping or sequence of str, default=None
        A vocabulary that is given: a `vocab.txt` with a piece per line, ids by piece,
        or pieces in the order of their ids. `fit` then learns nothing, and parameters
        of learning have no effect. None: `fit` learns one.
    add_special_tokens : bool, default=True
        Whether `transform` puts `[CLS]` before and `[SEP]` after each text, as BERT
        reads it.
    template : str, default=None
        Joins columns of a data frame into one text, e.g. `"{title}. {body}"`; numbers
        are formatted as by `str.format`. None: X is one column of texts.
    missing : {"error", "empty"}, default="error"
        Whether None, NaN and NA in X are refused, or read as empty texts.

    Attributes
    ----------
    vocabulary_ : dict of str to int
        The id of each piece, in the order of ids. A vocabulary that was learnt begins
        with `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]` and `[MASK]`.
    tokenizer_ : tokenizers.Tokenizer
        BERT's tokenizer over these pieces, for pairs of texts as well; without a limit
        of length and without padding.
    n_features_in_ : int
        1; with `template` the number of columns it names.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names; only with `template`, or where X was a data frame whose names are
        strings.

    See Also
    --------
    BertEmbedder : Turns texts into vectors, with the vocabulary of its checkpoint.
    sklearn.feature_extraction.text.CountVectorizer : Counts whole words.

    Notes
    -----
    `fit` reads an iterator once and holds a small part of it at a time, but every
    distinct word with its count: memory grows with these, not with the texts. Learning
    is done by the `tokenizers` library, and pieces are chosen by frequency, as that
    library and most later work do; Google's own trainer was never published. Among
    equally frequent pairs the one with the older pieces is joined first, so that the
    same texts give the same vocabulary, in any order.

    References
    ----------
    .. [1] J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT: Pre-training of Deep
       Bidirectional Transformers for Language Understanding", NAACL 2019, section 3.
    .. [2] M. Schuster, K. Nakajima, "Japanese and Korean Voice Search", ICASSP 2012.
    .. [3] Y. Wu et al., "Google's Neural Machine Translation System: Bridging the Gap
       between Human and Machine Translation", arXiv:1609.08144, 2016, section 4.1.

    Examples
    --------
    >>> from sklearn_bert import WordPieceVocabulary
    >>> texts = ["low lower lowest", "slow slower slowest", "new newer newest",
    ...          "wide wider widest", "late later latest"]
    >>> vocabulary = WordPieceVocabulary(vocab_size=38).fit(texts)
    >>> pieces = vocabulary.get_feature_names_out()
    >>> pieces[27:].tolist()
    ['##er', '##es', '##est', 'la', 'low', 'ne', 'sl', 'wi', 'lat', 'new', 'slow']
    >>> vocabulary.transform(["Lower, slowest"])
    [[2, 31, 27, 1, 37, 29, 3]]
    >>> pieces[[2, 31, 27, 1, 37, 29, 3]].tolist()
    ['[CLS]', 'low', '##er', '[UNK]', 'slow', '##est', '[SEP]']
    >>> vocabulary.inverse_transform([[2, 31, 27, 37, 29, 3]])
    ['lower slowest']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "vocab_size": [Interval(Integral, 1, None, closed="left")],
        "lowercase": ["boolean"],
        "strip_accents": ["boolean", None],
        "min_frequency": [Interval(Integral, 1, None, closed="left")],
        "limit_alphabet": [Interval(Integral, 1, None, closed="left"), None],
        "vocabulary": [str, os.PathLike, Mapping, "array-like", None],
        "add_special_tokens": ["boolean"],
        "template": [str, None],
        "missing": [StrOptions({"error", "empty"})],
    }

    vocabulary_: dict[str, int]
    tokenizer_: Tokenizer
    n_features_in_: int
    feature_names_in_: np.ndarray

    def __init__(
        self,
        vocab_size: int = 30522,
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        min_frequency: int = 2,
        limit_alphabet: int | None = 1000,
        vocabulary: Any = None,
        add_special_tokens: bool = True,
        template: str | None = None,
        missing: str = "error",
    ) -> None:
        self.vocab_size = vocab_size
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.min_frequency = min_frequency
        self.limit_alphabet = limit_alphabet
        self.vocabulary = vocabulary
        self.add_special_tokens = add_special_tokens
        self.template = template
        self.missing = missing

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike | Iterable[str], y: ArrayLike | None = None) -> Self:
        """Learn the vocabulary, or read the one that is given.

        Parameters
        ----------
        X : column of texts, or iterator of texts
            A list, tuple, array, or a pandas, polars or Arrow column or frame; or
            anything that gives one `str` after the other, such as a generator or an
            open file, which is read once, and not at all if `vocabulary` is given.
        y : ignored
            Here because a pipeline passes it on.

        Returns
        -------
        self : WordPieceVocabulary

        Raises
        ------
        FileNotFoundError
            Where `vocabulary` is no file.
        RuntimeError
            In a forked process with TOKENIZERS_PARALLELISM set, which would wait for
            ever.
        TypeError, ValueError
            Where X or a parameter is wrong, X holds no word, or `vocab_size` has no
            room for its letters.
        """
        texts, attributes = self._open_X(X)
        if self.vocabulary is not None:
            pieces = read_pieces(self.vocabulary)
        else:
            pieces = train_pieces(
                texts,
                vocab_size=self.vocab_size,
                lowercase=self.lowercase,
                strip_accents=self.strip_accents,
                min_frequency=self.min_frequency,
                limit_alphabet=self.limit_alphabet,
            )
        tokenizer = build_tokenizer(
            pieces, lowercase=self.lowercase, strip_accents=self.strip_accents
        )
        # At the end, so that a fit that fails leaves the vocabulary of the last one.
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # of an earlier fit
        for name, value in attributes.items():
            setattr(self, name, value)
        self.tokenizer_ = tokenizer
        self.vocabulary_ = {piece: i for i, piece in enumerate(pieces)}
        self._template = self.template
        self._add_special_tokens = self.add_special_tokens
        return self

    def _open_X(self, X: Any) -> tuple[Iterable[str], dict[str, Any]]:
        """Return the texts of a fit, and the attributes that describe X."""
        if is_stream(X):
            # Lazy, so that nothing is read where a vocabulary is given.
            return self._read_stream(X)
        texts, attributes = self._read_X(X)
        check_single_texts(texts)
        return texts.first, attributes

    def fit_transform(
        self, X: ArrayLike, y: ArrayLike | None = None
    ) -> list[list[int]]:
        """Fit, and turn the same texts into ids.

        Parameters
        ----------
        X : as in `transform`, of length n_texts
            No iterator: it would be read twice.
        y : ignored

        Returns
        -------
        list of n_texts lists of int
        """
        if is_stream(X):
            raise TypeError(
                f"X is a {type(X).__name__}, which is read only once; fit_transform "
                "reads it twice. Turn it into a list first, list(X), or fit and "
                "transform one after the other."
            )
        return self.fit(X, y).transform(X)

    def transform(self, X: ArrayLike) -> list[list[int]]:
        """Turn texts into the ids of their pieces.

        Nothing is cut, and nothing filled up.

        Parameters
        ----------
        X : column of texts, of length n_texts
            A list, tuple, array, or a pandas, polars or Arrow column or frame.

        Returns
        -------
        list of n_texts lists of int
            With `[CLS]` first and `[SEP]` last, unless `add_special_tokens` was False.
        """
        check_is_fitted(self)
        texts = check_texts(X, template=self._template, missing=self.missing)
        check_single_texts(texts)
        self._check_like_before(X, texts)
        return piece_ids(
            self.tokenizer_, texts.first, add_special_tokens=self._add_special_tokens
        )

    def inverse_transform(self, X: Iterable[ArrayLike]) -> list[str]:
        """Turn ids into texts: normalised words and punctuation, with single spaces.

        `[PAD]`, `[CLS]` and `[SEP]` are left out. `[UNK]` stays, because a word was
        lost there, and so does `[MASK]`. `transform` makes the same ids of these texts
        again, unless one holds `[PAD]`, `[CLS]` or `[SEP]` as words of its own.

        Parameters
        ----------
        X : sequence of n_texts sequences of int
            As from `transform`; or a 2-D array, filled up with the id of `[PAD]`.

        Returns
        -------
        list of n_texts str

        Raises
        ------
        TypeError
            Where a row is no sequence of whole numbers.
        ValueError
            Where an id is not that of a piece.
        """
        check_is_fitted(self)
        pieces = list(self.vocabulary_)
        texts = []
        for row, ids in enumerate(X):
            chosen = [pieces[i] for i in _check_ids(ids, f"X[{row}]", len(pieces))]
            texts.append(join_pieces([p for p in chosen if p not in FRAME]))
        return texts

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the pieces in the order of their ids.

        Parameters
        ----------
        input_features : ignored
            Here because scikit-learn passes it.

        Returns
        -------
        ndarray of shape (n_pieces,), object
        """
        check_is_fitted(self)
        return np.array(list(self.vocabulary_), dtype=object)

    def save(
        self, folder: str | os.PathLike[str], *, max_length: int | None = 512
    ) -> None:
        """Write the vocabulary as a folder that `transformers.AutoTokenizer` opens.

        The folder holds `vocab.txt`, which can be the `vocabulary` of another
        estimator, `tokenizer.json` and `tokenizer_config.json`. They are put in place
        as those of `sklearn_bert.save`: a save that is killed leaves the old vocabulary
        or the new one, never a mixture. Where the files are replaced one by one
        (another system than Linux, a mount point, the working directory) a kill may
        leave the folder without `vocab.txt`, until the next save finishes.

        Parameters
        ----------
        folder : str or path
            Made if needed; replaced if it holds a saved vocabulary and nothing else.
        max_length : int, default=512
            Most tokens that the model reads, special ones included: where
            `transformers` cuts texts if asked to. None: nowhere.

        Raises
        ------
        FileExistsError
            Where the folder holds something else.
        OSError
            Where the disk is full, or the folder read-only. The old one stays.
        TypeError, ValueError
            Where `max_length` is no whole number, or leaves no room for a token.
        """
        check_is_fitted(self)
        _check_max_length(max_length)
        config = _config_for_transformers(self.tokenizer_, max_length)
        with new_folder(Path(folder), written=_files_written) as draft:
            vocab, tokenizer, tokenizer_config = (draft / name for name in FILES)
            lines = "".join(f"{piece}\n" for piece in self.vocabulary_)
            vocab.write_bytes(lines.encode())  # line ends are the same on every system
            tokenizer.write_text(self.tokenizer_.to_str(pretty=True) + "\n", "utf-8")
            tokenizer_config.write_text(json.dumps(config, indent=1) + "\n", "utf-8")

    def __sklearn_text_input__(self) -> str:
        return "stream"

    def __sklearn_text_output__(self) -> str:
        return "lists"

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def _check_ids(ids: Any, where: str, n_pieces: int) -> list[int]:
    array = np.asarray(ids)
    # NumPy makes floats of an empty list.
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(
            f"{where} is {excerpt(ids)} of type {type(ids).__name__}; expected a "
            "sequence of ids, which are whole numbers, as transform gives for a text."
        )
    wrong = array[(array < 0) | (array >= n_pieces)] if array.size else array
    if wrong.size:
        raise ValueError(
            f"{where} holds the id {wrong[0]}, but the vocabulary has {n_pieces} "
            f"pieces; expected ids from 0 to {n_pieces - 1}."
        )
    return array.astype(int).tolist()


# -- saving ------------------------------------------------------------------------


def _check_max_length(max_length: Any) -> None:
    """Raise unless it is None, or what `max_length` of an estimator may be."""
    if max_length is None:
        return
    problem = f"max_length is {max_length!r}; expected a whole number of 4 or more, "
    problem += "or None for no limit. Nothing was written."
    # True is an Integral, too.
    if not isinstance(max_length, Integral) or isinstance(max_length, bool):
        raise TypeError(problem)
    if max_length < 4:
        raise ValueError(problem)


def _config_for_transformers(
    tokenizer: Tokenizer, max_length: int | None
) -> dict[str, Any]:
    """Return the content of `tokenizer_config.json`."""
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": tokenizer.normalizer.lowercase,
        "strip_accents": tokenizer.normalizer.strip_accents,
        "tokenize_chinese_chars": True,
        **dict(zip(names, BERT_SPECIAL, strict=True)),
    }
    return (
        config if max_length is None else config | {"model_max_length": int(max_length)}
    )


def _files_written(folder: Path) -> set[str] | None:
    """Return the files of `save`; None where there are others, of a model perhaps."""
    return set(FILES) if {p.name for p in entries(folder)} == set(FILES) else None
