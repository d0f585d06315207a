"""`BaseLanguageModel`: what the estimators of raw texts have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from tokenizers import Tokenizer

from sklearn_bert._process._sklearn import Interval, StrOptions
from sklearn_bert.estimators._base import (
    CHECKPOINT_CONSTRAINTS,
    TEXT_CONSTRAINTS,
    TRAINING_CONSTRAINTS,
    BertEstimator,
)
from sklearn_bert.estimators._fit import FitCall
from sklearn_bert.estimators._texts import TextModelMixin
from sklearn_bert.estimators._wordpiece_vocabulary import WordPieceVocabulary
from sklearn_bert.model._checkpoint import Checkpoint, load_checkpoint
from sklearn_bert.model._checkpoint_tokenizer import read_tokenizer
from sklearn_bert.model._language_model import (
    NSP_HEAD,
    POOLER,
    LanguageModel,
    new_language_model,
)
from sklearn_bert.text._columns import as_python, excerpt, holds_lists
from sklearn_bert.text._corpus import (
    Corpus,
    check_documents,
    check_single_texts,
    read_corpus,
    split_sentences,
)
from sklearn_bert.text._reports import text_reports, warn_of
from sklearn_bert.text._stream import StoredTexts
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer

# In memory as lists of sentences, or in a file, each a text.
Documents = list[list[str]] | StoredTexts
D = TypeVar("D", bound=Documents)
# Positions of a network that starts from nothing, as Devlin et al. (2019) have them.
DEFAULT_LENGTH = 512
MOST_WEIGHTS = 10**10  # thirty times those of the largest BERT

LANGUAGE_MODEL_CONSTRAINTS: dict[str, list[Any]] = {
    **CHECKPOINT_CONSTRAINTS,
    "checkpoint": [*CHECKPOINT_CONSTRAINTS["checkpoint"], None],
    "vocabulary": [WordPieceVocabulary, str, os.PathLike, None],
    "hidden_size": [Interval(Integral, 1, None, closed="left")],
    "n_layers": [Interval(Integral, 1, None, closed="left")],
    "n_heads": [Interval(Integral, 1, None, closed="left")],
    "position_encoding": [StrOptions({"learned", "sinusoidal"})],
    "template": TEXT_CONSTRAINTS["template"],
    "missing": TEXT_CONSTRAINTS["missing"],
    "pack": ["boolean"],
    **{
        name: TRAINING_CONSTRAINTS[name]
        for name in (
            "gradient_checkpointing",
            "max_epochs",
            "batch_size",
            "learning_rate",
            "weight_decay",
            "warmup",
            "dropout",
            "early_stopping",
            "validation_fraction",
            "n_iter_no_change",
            "warm_start",
            "callbacks",
            "checkpoint_folder",
            "checkpoint_minutes",
            "verbose",
        )
    },
}


class BaseLanguageModel(TextModelMixin, BertEstimator):
    """Base of the estimators that learn from texts without labels.

    Every weight learns, at one rate: there is no `trainable`, no adapter.
    """

    vocabulary: WordPieceVocabulary | str | os.PathLike[str] | None
    hidden_size: int
    n_layers: int
    n_heads: int
    position_encoding: str
    pack: bool
    _private_state = (*BertEstimator._private_state, "_layout")
    early_stopping: bool
    warm_start: bool

    def __sklearn_text_input__(self) -> str:
        return "documents"

    # -- what is handed in -----------------------------------------------------------

    def _check_shape(self) -> None:
        """Raise ValueError where parameters of a new network do not fit together."""
        if self.checkpoint is not None and self.vocabulary is not None:
            raise ValueError(
                f"checkpoint is {excerpt(self.checkpoint, 500)} and vocabulary is "
                f"{excerpt(self.vocabulary, 500)}, but a checkpoint has a vocabulary "
                "of its own. Set vocabulary=None, or checkpoint=None to start from "
                "nothing."
            )
        if self.checkpoint is not None:
            return
        if self.vocabulary is None:
            raise ValueError(
                "checkpoint is None, to start from nothing, and so is vocabulary; set "
                "vocabulary to a WordPieceVocabulary or to a folder that has one."
            )
        if self.hidden_size % self.n_heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size} and n_heads is {self.n_heads}; "
                "expected a number of heads that divides the width."
            )
        width, n_layers = int(self.hidden_size), int(self.n_layers)
        length = as_python(self.max_length) or DEFAULT_LENGTH
        n_weights = width * (12 * width * n_layers + length)
        if n_weights > MOST_WEIGHTS:
            raise ValueError(
                f"hidden_size is {width}, n_layers is {n_layers} and max_length is "
                f"{length}: a network of more than {n_weights:.1e} weights; expected "
                f"up to {MOST_WEIGHTS:.0e}. Lower one of them."
            )

    def _read_documents(
        self, X: ArrayLike, *, in_sentences: bool = False
    ) -> tuple[list[list[str]], dict[str, Any]]:
        """Return the documents of a fit, and the attributes that describe X.

        A text is a document of one piece, or `in_sentences`, which it is split into.
        """
        if not holds_lists(X):
            texts, seen = self._read_X(X)
            check_single_texts(texts)
            return _documents(texts.first, in_sentences), seen
        if self.template is not None:
            raise ValueError(
                f"template is {self.template!r}, but X holds lists of sentences; "
                "expected a data frame, or template=None."
            )
        seen = {"n_features_in_": 1, "_template": None}
        return check_content(check_documents(X, missing=self.missing)), seen

    def _read_documents_again(self, X: ArrayLike) -> list[list[str]]:
        """Return the documents of a call after fit."""
        check_is_fitted(self)
        if holds_lists(X):
            return check_content(check_documents(X, missing=self.missing))
        return _documents(self._read_X_again(X).first, in_sentences=False)

    def _joined(self, X: ArrayLike) -> Any:
        """Join the sentences of each document, if X holds documents."""
        check_is_fitted(self)
        if not holds_lists(X):
            return X
        documents = check_documents(X, missing=self.missing)
        return [" ".join(document) for document in documents]

    def _distinct_rows(self, X: ArrayLike) -> tuple[TokenTable, np.ndarray]:
        """Tokenise each text of a call after fit once; return the row of each, too."""
        distinct, row_of = self._read_X_again(self._joined(X)).distinct()
        table = self.tokenizer_(distinct)
        warn_of(text_reports(self.tokenizer_, table, row_of))
        return table, row_of

    def _read_X_val(self, X_val: ArrayLike | None) -> list[list[str]] | None:
        """Return the caller's documents to validate on, where there are."""
        if X_val is None:
            return None
        try:
            return self._read_documents(X_val)[0]
        except (TypeError, ValueError) as error:
            raise type(error)(f"in X_val: {error}") from error

    def _split_documents(
        self, call: FitCall, documents: list[list[str]]
    ) -> tuple[list[list[str]], list[list[str]] | None]:
        """Split the documents into those to train on and those to validate on."""
        # Whole documents are held out: a sentence tells much about its neighbours.
        split = call.split(np.ones(len(documents)), None)
        if split.valid is None:
            return documents, None
        return [documents[i] for i in split.train], [documents[i] for i in split.valid]

    # -- what is trained -------------------------------------------------------------

    def _load_language_model(
        self,
        texts: Documents,
        *,
        pooling: str,
        left_to_right: bool = False,
        next_sentence: bool = False,
    ) -> tuple[LanguageModel, TextTokenizer]:
        """Load the checkpoint with its heads, or make a network with random weights."""
        if self.checkpoint is None:
            tokenizer = self._new_tokenizer(texts)
            whole = new_language_model(
                # By the largest id: the ids of a given vocabulary may have gaps.
                n_words=max(tokenizer.backend.get_vocab().values()) + 1,
                hidden_size=int(self.hidden_size),  # config.json takes no NumPy types
                n_layers=int(self.n_layers),
                n_heads=int(self.n_heads),
                max_length=tokenizer.max_length,
                pad_id=tokenizer.pad_id,
                dropout=as_python(self.dropout),
                position_encoding=self.position_encoding,
            )
            # What never learns is not written to a checkpoint: it would look trained.
            untrained = [] if next_sentence else [POOLER, NSP_HEAD]
            pooling = "mean" if pooling == "auto" else pooling
            normalize = has_new_head = False
        else:
            checkpoint = load_checkpoint(
                self.checkpoint,
                revision=self.revision,
                dropout=as_python(self.dropout),
                with_heads=True,
            )
            whole = checkpoint.full_model
            has_new_head = _lacks_word_head(checkpoint)
            tokenizer = checkpoint.text_tokenizer(as_python(self.max_length))
            untrained = [] if next_sentence else _untrained(checkpoint)
            if left_to_right:  # transformers' class for that has no room for them
                untrained = [POOLER, NSP_HEAD]
            normalize = pooling == "auto" and checkpoint.ends_normalized()
            pooling = checkpoint.resolve_pooling(pooling)
            if pooling == "attention":  # what it attends to was learnt of other states
                pooling = "mean"
        family = whole.config.model_type
        if next_sentence and family != "bert":
            raise ValueError(
                "next_sentence=True needs a BERT, which was made for it; checkpoint "
                f"{self.checkpoint!r} is of the family {family!r}. "
                "Set next_sentence=False."
            )
        model = LanguageModel(
            whole,
            pooling=pooling,
            normalize=normalize,
            left_to_right=left_to_right,
            has_new_head=has_new_head,
            untrained=untrained,
        )
        return model, tokenizer

    def _new_tokenizer(self, texts: Documents) -> TextTokenizer:
        """Make a tokenizer of the vocabulary, fitted on the texts if need be."""
        length = as_python(self.max_length) or DEFAULT_LENGTH
        if not isinstance(self.vocabulary, WordPieceVocabulary):
            assert self.vocabulary is not None
            return read_tokenizer(self.vocabulary, length)
        try:
            check_is_fitted(self.vocabulary)
            vocabulary = self.vocabulary  # no copy: it is only read
        except NotFittedError:
            vocabulary = clone(self.vocabulary)
            vocabulary._validate_params()  # scikit-learn skips it inside of a fit
            vocabulary.fit(
                sentence
                for part in parts_of_documents(texts)
                for document in part
                for sentence in document
            )
        return new_tokenizer(vocabulary.tokenizer_, length)


def new_tokenizer(backend: Tokenizer, max_length: int) -> TextTokenizer:
    """Make the tokenizer of a BERT with a WordPiece vocabulary of its own."""
    pad_id = backend.token_to_id("[PAD]")
    assert pad_id is not None
    special = {f"{name}_token": f"[{name.upper()}]" for name in SPECIAL_OF_BERT}
    return TextTokenizer(
        backend,
        max_length=max_length,
        pad_id=pad_id,
        has_type_ids=True,
        config={
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_length,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            **special,
        },
    )


SPECIAL_OF_BERT = ("unk", "sep", "pad", "cls", "mask")


def check_mask(tokenizer: TextTokenizer, source: str) -> None:
    """Raise ValueError where there is no token to hide others with."""
    if tokenizer.special_id("mask") is None:
        raise ValueError(
            f"the tokenizer of {source} has no mask token, which "
            "masked-language modelling needs to hide words. Choose a checkpoint that "
            "was pretrained by it, such as 'bert-base-uncased'."
        )


def read_tokens(
    tokenizer: TextTokenizer, parts: Iterable[list[list[str]]]
) -> Iterator[Corpus]:
    """Tokenise documents, part by part.

    Raises
    ------
    ValueError
        At the end, where no part has a word that is known.
    """
    n_texts, is_known = 0, False
    for documents in parts:
        corpus = read_corpus(tokenizer, documents)
        n_texts += len(documents)
        # Unknown words are special tokens too, `[UNK]`.
        known = np.setdiff1d(corpus.ids, tokenizer.special_ids())
        is_known = is_known or bool(known.size)
        yield corpus
    if not is_known:
        raise ValueError(
            f"the tokenizer knows no word of the {n_texts} texts in X; nothing "
            "could be learnt from them or predicted. Give texts in the language of the "
            "checkpoint or vocabulary."
        )


def parts_of_documents(documents: Documents) -> Iterator[list[list[str]]]:
    """Yield documents, so many at a time as may be in memory."""
    if isinstance(documents, StoredTexts):
        yield from ([[text] for text in part] for part in documents.parts())
    else:
        yield documents


def _documents(texts: list[str], in_sentences: bool) -> list[list[str]]:
    """Return each text as a document."""
    pieces = split_sentences if in_sentences else lambda text: [text]
    return check_content([pieces(text) for text in texts])


def check_content(documents: D) -> D:
    """Return documents; raise ValueError where none has a word."""
    for part in parts_of_documents(documents):
        if any(sentence.strip() for document in part for sentence in document):
            return documents
    raise ValueError(
        f"X holds {len(documents)} texts and not one word; nothing could be learnt."
    )


def whole_documents(documents: list[list[str]]) -> list[list[str]]:
    """Join the sentences of each document."""
    return [[" ".join(document)] for document in documents]


def _lacks_word_head(checkpoint: Checkpoint) -> bool:
    return any(not name.startswith(NSP_HEAD) for name in checkpoint.new_heads)


def _untrained(checkpoint: Checkpoint) -> list[str]:
    """List the heads for next sentences that a checkpoint lacks."""
    found = [] if checkpoint.has_trained_pooler else [POOLER]
    if any(name.startswith(NSP_HEAD) for name in checkpoint.new_heads):
        found.append(NSP_HEAD)
    return found
