"""`BertPretrainer`: teach BERT the language of raw texts."""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._process._sklearn import (
    Interval,
    StrOptions,
    fit_context,
    validate_params,
)
from sklearn_bert.estimators._fit import FitCall
from sklearn_bert.estimators._language_model import (
    LANGUAGE_MODEL_CONSTRAINTS,
    BaseLanguageModel,
    Documents,
    check_content,
    check_mask,
    parts_of_documents,
    read_tokens,
    whole_documents,
)
from sklearn_bert.estimators._save import save
from sklearn_bert.estimators._wordpiece_vocabulary import WordPieceVocabulary
from sklearn_bert.model._language_model import NSP_HEAD, LanguageModel
from sklearn_bert.model._pooling import POOLINGS
from sklearn_bert.text._columns import excerpt
from sklearn_bert.text._corpus import SentencePairs, packed_rows, text_rows
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._masking import MaskedRows, Masking, find_masks, mask_each_token
from sklearn_bert.text._reports import text_reports, warn_of
from sklearn_bert.text._stream import StoredTexts, is_stream
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._examples import DrawnExamples
from sklearn_bert.training._losses import LanguageModelingLoss

# Losses that add up to the whole.
PARTS = ("mlm_loss", "nsp_loss")
# What decides which tokens are hidden in which rows.
LAYOUT = ("mask_fraction", "whole_words", "pack")
# Rows with one masked token each that are laid out at a time.
ROWS_AT_ONCE = 4096


def _learns_next_sentences(estimator: Any) -> bool:
    return estimator.next_sentence


class BertPretrainer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseLanguageModel
):
    """Teach BERT the language of raw texts, without labels.

    `fit` hides some words of the texts and trains the encoder to guess them from the
    others (masked-language modelling), and if asked also to tell whether two segments
    follow each other (next-sentence prediction) [1]_. It goes on with a checkpoint, to
    carry it over to a new domain [2]_, or starts from nothing. What `save` writes is a
    checkpoint for every other estimator, and for `transformers`.

    Parameters
    ----------
    checkpoint : str, path or None, default="sentence-transformers/all-MiniLM-L6-v2"
        What to go on with: a name on the Hugging Face Hub, or a folder, looked for as
        by `BertClassifier`. A head for words that it lacks, as the default one does,
        starts from nothing: what it guesses after few texts says little. None: a new
        BERT with random weights, of the shape that the next parameters give.
    revision : str, default=None
        Branch, tag or commit on the Hub. None: what the local cache holds, or else the
        newest.
    vocabulary : WordPieceVocabulary, str or path, default=None
        Of a new BERT: an estimator (one that is not fitted is fitted on the texts, and
        `clone` makes it so), or a folder with a tokenizer. None: that of the
        checkpoint.
    hidden_size : int, default=256
        Width of a new BERT.
    n_layers : int, default=4
        Layers of a new BERT.
    n_heads : int, default=4
        Attention heads per layer of a new BERT; they divide its width.
    position_encoding : {"learned", "sinusoidal"}, default="learned"
        How a new BERT knows the order of tokens: by a table that it learns, or by sines
        and cosines [3]_ that stay as they are, in later fine-tuning too.
    template : str, default=None
        Joins columns of a data frame into one text, e.g. `"{title}. {body}"`; numbers
        are formatted as by `str.format`. None: X is one column of texts.
    missing : {"error", "empty"}, default="error"
        Whether None, NaN and NA in X are refused, or read as empty texts.
    max_length : int, default=None
        Tokens of a row, special ones included. Longer texts go on in the next row.
        None: the length that the checkpoint was made for; 512 for a new BERT, which
        will never read more than this.
    next_sentence : bool, default=False
        Whether to learn which segments follow each other as well. X then holds
        documents: lists of sentences, or texts, which are split at punctuation and
        line breaks. Half of the pairs are of one document, the others of two.
    mask_fraction : float, default=0.15
        Share of the tokens of a row that are to be guessed. Of these 8 of 10 are
        hidden, 1 is replaced by a random token and 1 stays; anew in every epoch.
    whole_words : bool, default=False
        Whether all pieces of a word are hidden together.
    pack : bool, default=True
        Whether rows are filled up to `max_length` with one text after the other [4]_.
        False: each text is read alone, in a row of its own. Has no effect with
        `next_sentence`, but in `score` and in validation.
    pooling : {"auto", "cls", "pooler", "mean", "max"}, default="auto"
        How `transform` makes one vector of the states of a text's tokens. "auto": what
        the checkpoint was trained with; "mean" for a new BERT.
    max_epochs : int, default=3
        Passes over the training texts. 0: nothing is learnt, so that `score` and
        `fill_mask` tell what the checkpoint knows as it is.
    batch_size : int, default=32
        Rows per update. Where so many do not fit into the device's memory, they pass
        through it in parts, and the update stays the same.
    learning_rate : float, default=5e-5
        Peak step size, reached after warm-up. A new BERT takes about ten times as much.
    weight_decay : float, default=0.01
        Decay of the weight matrices, per update, times the learning rate.
    warmup : float, default=0.1
        Share of the updates in which the learning rate rises to its peak.
    dropout : float, default=None
        Dropout in the encoder. None: the checkpoint's own; 0.1 for a new BERT.
    early_stopping : bool, default=False
        Whether to validate after each epoch, stop when the score no longer rises, and
        keep the weights of the best epoch. The score is that of `X_val`, or else of a
        part of the texts that is held out.
    validation_fraction : float, default=0.1
        Share of the texts held out; used only with `early_stopping` and without
        `X_val`.
    n_iter_no_change : int, default=2
        Epochs without a better validation score after which training stops.
    warm_start : bool, default=False
        Whether `fit` goes on with the weights of an earlier `fit` instead of the
        checkpoint's; `history_` goes on as well.
    gradient_checkpointing : bool or "auto", default=False
        Whether to compute the insides of the layers a second time in the backward pass
        instead of keeping them: about a fifth slower, in a fraction of the memory.
        "auto": once memory has run out.
    precision : {"auto", "float32", "tf32", "bfloat16", "float16"}, default="auto"
        Number format of the encoder and of the head for words. "auto": bfloat16 where
        the hardware computes in it (GPUs since Ampere, CPUs with AMX or AVX512-BF16),
        float16 on older GPUs that are fast in it (Volta, Turing), else float32. In both
        the weights that are trained stay in float32; in float16 the loss is scaled.
        "tf32": float32 whose products are rounded to ten bits, on a GPU.
    device : str, default="auto"
        "auto": the first GPU that torch can use, or the CPU if there is none. Else
        "cpu", "cuda", "cuda:1", "mps", "xpu".
    callbacks : list of skorch callbacks, default=None
        Copied for each fit; the copies are in `net_.callbacks_` afterwards. Those that
        cannot work are refused; the guide has a table. One ends the fit by
        `net.stop()`.
    checkpoint_folder : str or path, default=None
        Where `fit` leaves what it needs to go on should its process be killed: the same
        call goes on from there, and removes it at its end. A search, and whatever else
        fits more than once, needs `{fit}` in the path: each fit has a folder of its
        own, and what it has learnt stays there. None: nothing is written.
    checkpoint_minutes : float, default=10
        Minutes of training between two states in `checkpoint_folder`; the two newest
        are kept. 0: there is one before each update.
    random_state : int, RandomState or None, default=None
        Seed of a new BERT's weights, of masks, pairs, dropout, order and held-out part.
        None: a new one for each fit.
    verbose : int, default=0
        1 shows a progress bar on a terminal, and elsewhere a line per epoch, on stderr.

    Attributes
    ----------
    n_iter_ : int
        Epochs run, including those of earlier calls that this one went on with.
    history_ : list of dict
        One per epoch: `epoch`, `train_loss` (in nats per guessed token; with
        `next_sentence` the sum of `mlm_loss` and `nsp_loss`), `valid_loss` and
        `valid_score` (that of `score`) where there is validation, `learning_rate` (of
        the epoch's last update), `skipped_updates` (those that overflowed; in float16),
        `texts_per_second` (rows), `seconds`.
    max_length_ : int
        Tokens of a row.
    batch_size_used_ : int
        Most rows that passed through the model at a time: `batch_size`, or less where
        memory ran out. On a CPU fewer pass where rows are long.
    unknown_report_ : dict
        Counts of the rows of the first epoch: `n_texts`, `n_unknown_texts` (without a
        token that the vocabulary knows), `n_tokens` and `n_unknown`.
    net_ : BertNet
        The skorch net with the trained network.
    tokenizer_ : TextTokenizer
        The tokenizer with its length limit.
    n_features_in_ : int
        1, or with `template` the number of columns it names.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names; only with `template`, or where X was a data frame whose names are
        strings.

    See Also
    --------
    BertClassifier : Has a parameter `pretraining` for an estimator of this class.
    BertEmbedder : Learns vectors of whole texts without labels.
    WordPieceVocabulary : The vocabulary of a new BERT.

    Notes
    -----
    Scores over the whole vocabulary are computed only for the tokens that are guessed.
    Devlin et al. also fill rows with stretches of a document, but draw their pairs and
    masks once for all epochs.

    References
    ----------
    .. [1] J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT: Pre-training of Deep
       Bidirectional Transformers for Language Understanding", NAACL 2019, section 3.1.
    .. [2] S. Gururangan et al., "Don't Stop Pretraining: Adapt Language Models to
       Domains and Tasks", ACL 2020.
    .. [3] A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
    .. [4] Y. Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach",
       2019, section 4.2.

    Examples
    --------
    >>> from sklearn_bert import BertPretrainer, WordPieceVocabulary
    >>> texts = ["the cat sleeps on the mat", "the dog sleeps on the rug"] * 50
    >>> pretrainer = BertPretrainer(
    ...     checkpoint=None, vocabulary=WordPieceVocabulary(vocab_size=60),
    ...     hidden_size=32, n_layers=2, n_heads=2, pack=False,
    ...     max_epochs=30, learning_rate=5e-3, random_state=0,
    ... ).fit(texts)
    >>> ((word, _), *_), = pretrainer.fill_mask(["the cat [MASK] on the mat"])[0]
    >>> word
    'sleeps'
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **LANGUAGE_MODEL_CONSTRAINTS,
        "pooling": [StrOptions({"auto", *POOLINGS} - {"attention"})],
        "next_sentence": ["boolean"],
        "mask_fraction": [Interval(Real, 0, 1, closed="neither")],
        "whole_words": ["boolean"],
        # 0 epochs score a checkpoint as it is.
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        checkpoint: str
        | os.PathLike[str]
        | None = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        revision: str | None = None,
        vocabulary: WordPieceVocabulary | str | os.PathLike[str] | None = None,
        hidden_size: int = 256,
        n_layers: int = 4,
        n_heads: int = 4,
        position_encoding: str = "learned",
        template: str | None = None,
        missing: str = "error",
        max_length: int | None = None,
        next_sentence: bool = False,
        mask_fraction: float = 0.15,
        whole_words: bool = False,
        pack: bool = True,
        pooling: str = "auto",
        max_epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        dropout: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        warm_start: bool = False,
        gradient_checkpointing: bool | str = False,
        precision: str = "auto",
        device: str = "auto",
        callbacks: list[Any] | None = None,
        checkpoint_folder: str | os.PathLike[str] | None = None,
        checkpoint_minutes: float = 10,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.checkpoint = checkpoint  # type: ignore[assignment]
        self.revision = revision
        self.vocabulary = vocabulary
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.position_encoding = position_encoding
        self.template = template
        self.missing = missing
        self.max_length = max_length
        self.next_sentence = next_sentence
        self.mask_fraction = mask_fraction
        self.whole_words = whole_words
        self.pack = pack
        self.pooling = pooling
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.dropout = dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.gradient_checkpointing = gradient_checkpointing
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.checkpoint_folder = checkpoint_folder
        self.checkpoint_minutes = checkpoint_minutes
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
    ) -> Self:
        """Learn from raw texts.

        Parameters
        ----------
        X : column of texts, or of lists of sentences, of length n_texts; or a stream
            A list, tuple, array, or a pandas, polars or Arrow column or frame. A
            stream is an iterator of texts, such as a generator, for more than memory
            holds: it is read once, into temporary files of about twice its size, in
            which training finds its rows. Not with `next_sentence`.
        y : ignored
            Here because a pipeline passes it on.
        X_val : column of texts, or of lists of sentences, default=None
            Texts to validate on after each epoch, for `history_` and
            `early_stopping`. None: `early_stopping` holds out a part of X.

        Returns
        -------
        self : BertPretrainer

        Raises
        ------
        TypeError, ValueError
            Where X or a parameter is wrong; before the checkpoint is read, except for
            what only the checkpoint tells (that it has no mask token, or no head).
        CheckpointError
            Where the checkpoint is not found or cannot be read.
        FloatingPointError
            Where the loss is no longer finite, naming the update, or where scores are
            not finite after the last update.
        BertOutOfMemoryError
            Where not even one row fits into the device's memory.
        """
        self._check_shape()
        learns_no_pooler = self.checkpoint is None and not self.next_sentence
        if learns_no_pooler and self.pooling == "pooler":
            raise ValueError(
                "pooling is 'pooler', which a new BERT learns only from next "
                "sentences. Set next_sentence=True, or another pooling."
            )
        loss_parts = PARTS if self.next_sentence else ()
        with FitCall(
            self,
            X,
            X_val=X_val,
            early_stopping=self.early_stopping,
            warm_start=self.warm_start,
            loss_parts=loss_parts,
        ) as call:
            # 1. Read X_val, and X, which is gone once it was read where it is a stream.
            valid = self._read_X_val(X_val)
            train: Documents
            if is_stream(X):
                train, attributes = self._store_stream(X, has_X_val=valid is not None)
            else:
                train, attributes = self._read_documents(
                    X, in_sentences=self.next_sentence
                )
                if valid is None:
                    train, valid = self._split_documents(call, train)
                if self.next_sentence:
                    _check_pairs(train)
            # 2. Load the checkpoint, or the model of the earlier fit.
            call.reserve_device()
            model, tokenizer = call.go_on("all") or self._load_model_of_words(train)
            # 3. Tokenise. Masks are drawn anew in each epoch, to validate on only once.
            rng = np.random.default_rng(call.seeds("masks"))
            pairs = self.next_sentence
            train_rows = self._masked_examples(tokenizer, train, rng, in_pairs=pairs)
            valid_rows = None
            if valid is not None:
                # Masked as in `score`: with a fixed seed, and without pairs.
                fixed = np.random.default_rng(0)
                valid_rows = self._masked_examples(tokenizer, valid, fixed)
            # 4. Train.
            fitted = call.train(
                model,
                tokenizer,
                LanguageModelingLoss(loss_parts or PARTS[:1]),
                train_rows,
                valid_rows,
                {**attributes, "_layout": self._chosen_layout()},
            )
            # 5. Publish.
            return self._publish(**fitted)

    def _store_stream(
        self, X: Any, *, has_X_val: bool
    ) -> tuple[StoredTexts, dict[str, Any]]:
        """Keep the texts of a stream in a file; return the attributes of X as well."""
        if self.early_stopping and not has_X_val:
            raise ValueError(
                f"early_stopping is True, but X is a {type(X).__name__}, of which no "
                "part can be held out; pass texts to validate on as X_val, or hand in "
                "X as a list."
            )
        if self.next_sentence:
            raise ValueError(
                "next_sentence is True, which draws sentences of all documents, but X "
                f"is a {type(X).__name__}, of which a part at a time is in memory. "
                "Hand in a list, or set next_sentence=False."
            )
        texts, seen = self._read_stream(X)
        return check_content(StoredTexts(texts)), seen

    def __sklearn_text_input__(self) -> str:
        return "documents" if self.next_sentence else "documents or stream"

    def _chosen_layout(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in LAYOUT}

    def _load_model_of_words(
        self, documents: Documents
    ) -> tuple[LanguageModel, TextTokenizer]:
        return self._load_language_model(
            documents, pooling=self.pooling, next_sentence=self.next_sentence
        )

    def _masked_examples(
        self,
        tokenizer: TextTokenizer,
        documents: Documents,
        rng: np.random.Generator,
        *,
        in_pairs: bool = False,
    ) -> DrawnExamples:
        """Return examples of which each epoch masks other tokens."""
        source = f"checkpoint {self.checkpoint!r}"
        if self.checkpoint is None:
            source = f"vocabulary {self.vocabulary!r}"
        draw = _masked_rows(
            tokenizer,
            documents,
            rng,
            in_pairs=in_pairs,
            source=source,
            **self._chosen_layout(),
        )
        return DrawnExamples.of(draw)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write what was learnt as a checkpoint; the same as `sklearn_bert.save`.

        Every other estimator takes the folder as its `checkpoint`, and
        `transformers` opens it with `AutoModel`, `AutoModelForMaskedLM` or (with
        `next_sentence`) `BertForPreTraining`.

        Parameters
        ----------
        folder : str or path
            Made if needed; a saved estimator in it is replaced, other files stay.

        Raises
        ------
        FileExistsError
            Where the folder holds something else and no saved estimator, or a file of
            others has a name that is needed now.
        OSError
            Where the disk is full, or the folder read-only. The old model stays.
        """
        save(self, folder)

    # -- what has been learnt --------------------------------------------------------

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Return the mean log-likelihood of hidden tokens, in nats; more is better.

        Tokens are hidden as in training, but the same ones in every call, and in rows
        of one text or of several, not in pairs. Compare it with the score of the
        checkpoint as it is: that after `fit` with `max_epochs=0`.

        Parameters
        ----------
        X : as in `fit`, of length n_texts
        y : ignored

        Returns
        -------
        float
            At most 0; a guess at random among n words has minus the logarithm of n.
        """
        documents = self._read_documents_again(X)
        rng = np.random.default_rng(0)
        table = _masked_rows(self.tokenizer_, documents, rng, **self._layout)()
        return float(self.net_.token_log_likelihood(table)[:, 0].mean(dtype=np.float64))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Return the pseudo-log-likelihood of each text, in nats.

        It is the sum over the tokens of the log-likelihood of each, given all others
        [1]_. As many rows are computed as the text has tokens.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts,), float64
            A text without tokens has 0.

        References
        ----------
        .. [1] J. Salazar, D. Liang, T. Q. Nguyen, K. Kirchhoff, "Masked Language Model
           Scoring", ACL 2020.
        """
        table, row_of = self._distinct_rows(X)
        found = np.zeros(len(table))
        # A text of n tokens becomes n rows: parts are of about as many rows, whatever
        # the number of texts.
        ends = np.cumsum(table.lengths) // ROWS_AT_ONCE
        for part in np.split(np.arange(len(table)), np.flatnonzero(np.diff(ends)) + 1):
            masked, text_of_row = mask_each_token(self.tokenizer_, table.take(part))
            if len(masked):
                gains = self.net_.token_log_likelihood(masked)[:, 0]
                # Not `found[...] +=`, which adds only one of the rows of a text.
                np.add.at(found, part[text_of_row], gains.astype(np.float64))
        return found[row_of]

    @validate_params(
        {"top_k": [Interval(Integral, 1, None, closed="left")]},
        prefer_skip_nested_validation=True,
    )
    def fill_mask(
        self, X: ArrayLike, top_k: int = 5
    ) -> list[list[list[tuple[str, float]]]]:
        """Guess what stands in the place of each mask in the texts.

        Parameters
        ----------
        X : as in `fit`, of length n_texts
            Each text with the mask of the tokenizer (`[MASK]`, or `<mask>`), once or
            more.
        top_k : int, default=5
            How many guesses there are for a mask; of a smaller vocabulary all.

        Returns
        -------
        list of list of list of (str, float)
            For each text, for each mask in it: the likeliest pieces and their
            probabilities, the likeliest first.

        Raises
        ------
        ValueError
            Where a text has no mask, naming the row.
        """
        texts = self._read_X_again(self._joined(X))
        table = self.tokenizer_(texts)
        warn_of(text_reports(self.tokenizer_, table))
        asked = find_masks(self.tokenizer_, table)
        if not asked.word_counts.all():
            row = int(np.flatnonzero(asked.word_counts == 0)[0])
            raise ValueError(
                f"X[{row}] is {excerpt(texts.first[row])}, in which there is no "
                f"{self.tokenizer_.config['mask_token']} among the first "
                f"{self.max_length_} tokens; write it where a word is to be guessed."
            )
        found = self.net_.top_tokens(asked, n_best=int(top_k))
        guesses = [self._in_words(row) for row in found]
        return [
            guesses[begin : begin + count]
            for begin, count in zip(asked.word_starts, asked.word_counts, strict=True)
        ]

    def _in_words(self, best: np.ndarray) -> list[tuple[str, float]]:
        """Return pieces and their probabilities, of ids that are followed by these."""
        ids, shares = best.reshape(2, -1)
        decode = self.tokenizer_.backend.decode
        pieces = [decode([int(i)], skip_special_tokens=False).strip() for i in ids]
        return list(zip(pieces, shares.tolist(), strict=True))

    @available_if(_learns_next_sentences)
    def next_sentence_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability that the second text of each pair follows the first.

        Only with `next_sentence=True`.

        Parameters
        ----------
        X : two columns of texts, of length n_pairs
            Two columns of a frame, or a list of 2-tuples.

        Returns
        -------
        ndarray of shape (n_pairs,), float32
            From 0 to 1.
        """
        check_is_fitted(self)
        # `available_if` sees the parameter, which may have been set after the fit.
        if NSP_HEAD in self.net_.module.untrained:
            raise ValueError(
                "this estimator was fitted with next_sentence=False, and has not "
                "learnt which sentences follow. Set next_sentence=True and fit again."
            )
        # Not compared with X of `fit`, which has one column of documents.
        texts = check_texts(X, missing=self.missing)
        if texts.second is None:
            raise ValueError(
                "X has one column; expected two, of texts that may follow each other, "
                "or a list of 2-tuples."
            )
        table = self.tokenizer_(texts)
        warn_of(text_reports(self.tokenizer_, table))
        scores = self.net_.next_sentence_logits(table)
        # The softmax of two classes; the first one of BERT's head says "follows".
        return expit(scores[:, 0] - scores[:, 1])

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Compute one vector per text, as `BertEmbedder` would of what is saved.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts, width), float32
        """
        return self._compute(self._joined(X), self.net_.vectors)

    @property
    def _n_features_out(self) -> int:
        return self.net_.module.width

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def _check_pairs(documents: list[list[str]]) -> None:
    """Raise ValueError where segments cannot be drawn from two documents."""
    n_long = sum(sum(bool(s.strip()) for s in document) > 1 for document in documents)
    if n_long < 2:
        raise ValueError(
            "next_sentence=True needs at least two documents of two sentences or more "
            f"to train on, and there are {n_long} in {len(documents)}. Give more "
            "documents (as lists of sentences, or longer texts), or set "
            "next_sentence=False."
        )


def _masked_rows(
    tokenizer: TextTokenizer,
    documents: Documents,
    rng: np.random.Generator,
    *,
    mask_fraction: float,
    whole_words: bool,
    pack: bool,
    in_pairs: bool = False,
    source: str = "this estimator",
) -> Callable[[], MaskedRows]:
    """Return a function that draws the masked rows of an epoch."""
    check_mask(tokenizer, source)
    masking = Masking(tokenizer, mask_fraction, whole_words=whole_words)
    if not in_pairs:
        # The rows are laid out once; each epoch only draws other masks.
        parts = map(whole_documents, parts_of_documents(documents))
        rows = (packed_rows if pack else text_rows)(
            tokenizer,
            read_tokens(tokenizer, parts),
            in_file=isinstance(documents, StoredTexts),
        )
        return lambda: masking(rows, rng)
    assert isinstance(documents, list)
    (corpus,) = read_tokens(tokenizer, [documents])
    pairs = SentencePairs(tokenizer, corpus)

    def draw() -> MaskedRows:
        table, next_sentence_labels = pairs(rng)
        return masking(table, rng, next_sentence_labels)

    return draw
