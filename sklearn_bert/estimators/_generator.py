"""`BertGenerator`: write texts with BERT, from left to right."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_bert._process._random import draw_seed
from sklearn_bert._process._sklearn import Interval, fit_context, validate_params
from sklearn_bert.estimators._fit import FitCall
from sklearn_bert.estimators._language_model import (
    LANGUAGE_MODEL_CONSTRAINTS,
    BaseLanguageModel,
    read_tokens,
    whole_documents,
)
from sklearn_bert.estimators._sampling import Sampling
from sklearn_bert.estimators._wordpiece_vocabulary import WordPieceVocabulary
from sklearn_bert.text._columns import excerpt
from sklearn_bert.text._corpus import causal_rows
from sklearn_bert.text._masking import MaskedTable, causal_targets, masked_table
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer, encode_texts
from sklearn_bert.training._examples import DrawnExamples
from sklearn_bert.training._losses import LanguageModelingLoss

# Prompts that are written on at a time: each has scores for a whole vocabulary.
PROMPTS_AT_ONCE = 64


class BertGenerator(BaseLanguageModel):
    """Write texts with BERT, from left to right.

    The encoder of BERT and its head for words run under a mask that lets each token see
    only those before it [1]_: `fit` trains them to predict the next token, `generate`
    writes on. A small model that has read few texts imitates their words and their
    manner for a few sentences, and knows nothing. Use it to see what a corpus is like,
    to make more texts of its kind, and to tell usual texts from unusual ones
    (`score_samples`). For answers use a large language model.

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
    pack : bool, default=True
        Whether rows are filled up to `max_length` with one text after the other. False:
        each text is read alone, in a row of its own.
    max_epochs : int, default=3
        Passes over the training texts.
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
        Seed of a new BERT's weights, of dropout, order and held-out part. None: a new
        one for each fit.
    verbose : int, default=0
        1 shows a progress bar on a terminal, and elsewhere a line per epoch, on stderr.

    Attributes
    ----------
    n_iter_ : int
        Epochs run, including those of earlier calls that this one went on with.
    history_ : list of dict
        One per epoch: `epoch`, `train_loss` (in nats per token), `valid_loss` and
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
    BertPretrainer : Reads in both directions; its `fill_mask` fills gaps in a text.

    Notes
    -----
    A checkpoint that was trained in both directions has to learn to do without the
    tokens that come later, and needs a learning rate and a number of texts to match.
    BERT, RoBERTa, XLM-R, ELECTRA and DistilBERT can be trained so. Nothing is kept from
    one new token to the next, so that the time of a text grows with the square of its
    length. The likeliest tokens alone make dull texts that repeat themselves [2]_.

    References
    ----------
    .. [1] L. Dong et al., "Unified Language Model Pre-training for Natural Language
       Understanding and Generation", NeurIPS 2019, section 2.3 (left-to-right LM).
    .. [2] A. Holtzman, J. Buys, L. Du, M. Forbes, Y. Choi, "The Curious Case of Neural
       Text Degeneration", ICLR 2020.
    .. [3] A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.

    Examples
    --------
    >>> from sklearn_bert import BertGenerator, WordPieceVocabulary
    >>> texts = ["the cat sleeps on the mat", "the dog runs in the rain"] * 50
    >>> generator = BertGenerator(
    ...     checkpoint=None, vocabulary=WordPieceVocabulary(vocab_size=80),
    ...     hidden_size=32, n_layers=2, n_heads=2, pack=False,
    ...     max_epochs=30, learning_rate=5e-3, random_state=0,
    ... ).fit(texts)
    >>> generator.generate(["the cat", "the dog"], temperature=0)
    ['the cat sleeps on the mat', 'the dog runs in the rain']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = LANGUAGE_MODEL_CONSTRAINTS

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
        pack: bool = True,
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
        self.pack = pack
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
        """Learn to write like some texts.

        Parameters
        ----------
        X : column of texts, or of lists of sentences, of length n_texts
            A list, tuple, array, or a pandas, polars or Arrow column or frame.
        y : ignored
            Here because a pipeline passes it on.
        X_val : as X, default=None
            Texts to validate on after each epoch, for `history_` and
            `early_stopping`. None: `early_stopping` holds out a part of X.

        Returns
        -------
        self : BertGenerator

        Raises
        ------
        TypeError, ValueError
            Where X or a parameter is wrong; before the checkpoint is read, except for
            what only the checkpoint tells (that it cannot read from left to right).
        CheckpointError
            Where the checkpoint is not found or cannot be read.
        FloatingPointError
            Where the loss is no longer finite, naming the update, or where scores are
            not finite after the last update.
        BertOutOfMemoryError
            Where not even one row fits into the device's memory.
        """
        self._check_shape()
        with FitCall(
            self,
            X,
            X_val=X_val,
            early_stopping=self.early_stopping,
            warm_start=self.warm_start,
        ) as call:
            # 1. Read X.
            documents, attributes = self._read_documents(X)
            train, valid = whole_documents(documents), self._read_X_val(X_val)
            if valid is None:
                train, valid = self._split_documents(call, train)
            # 2. Load the checkpoint, or the model of the earlier fit.
            call.reserve_device()
            model, tokenizer = call.go_on("all") or self._load_language_model(
                train, pooling="mean", left_to_right=True
            )
            # 3. Tokenise.
            train_rows = _causal_examples(tokenizer, train, pack=self.pack)
            valid_rows = None
            if valid is not None:
                # Documents of X_val are still lists of sentences.
                valid = whole_documents(valid)
                valid_rows = _causal_examples(tokenizer, valid, pack=self.pack)
            # 4. Train.
            fitted = call.train(
                model,
                tokenizer,
                LanguageModelingLoss(("train_loss",)),
                train_rows,
                valid_rows,
                {**attributes, "_layout": {"pack": self.pack}},
            )
            # 5. Publish.
            return self._publish(**fitted)

    # -- what has been learnt --------------------------------------------------------

    @validate_params(
        {
            "max_new_tokens": [Interval(Integral, 1, None, closed="left")],
            "temperature": [Interval(Real, 0, None, closed="left")],
            "top_k": [Interval(Integral, 1, None, closed="left"), None],
            "top_p": [Interval(Real, 0, 1, closed="right"), None],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def generate(
        self,
        prompts: ArrayLike,
        max_new_tokens: int = 50,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> list[str]:
        """Continue some prompts.

        A text ends where the model ends it, after `max_new_tokens`, or where it is as
        long as the model reads.

        Parameters
        ----------
        prompts : as X in `fit`, of length n_texts
            `""` to begin from nothing.
        max_new_tokens : int, default=50
            Most tokens that are added to each text.
        temperature : float, default=1.0
            What the scores are divided by before a token is drawn: below 1 likely ones
            become likelier. 0: always the likeliest.
        top_k : int, default=None
            Draw only from so many of the likeliest tokens. None: from all.
        top_p : float, default=None
            Draw from the likeliest tokens that together have this probability [1]_,
            among all, whatever `top_k` is. None: from all.
        random_state : int, RandomState or None, default=None
            Seed of what is drawn; each text has its own, whatever the others are. None:
            a new one for each call.

        Returns
        -------
        list of str
            The whole texts, beginnings included, as the tokenizer writes them (a
            tokenizer that lowers letters writes them low).

        Raises
        ------
        ValueError
            Where a prompt leaves no room in the model, naming the row.

        References
        ----------
        .. [1] A. Holtzman, J. Buys, L. Du, M. Forbes, Y. Choi, "The Curious Case of
           Neural Text Degeneration", ICLR 2020, section 3.1.
        """
        texts = self._read_X_again(self._joined(prompts)).first
        sequences = self._begin(texts)
        sampling = Sampling(
            self.tokenizer_,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=draw_seed(random_state),
            n_texts=len(texts),
        )
        # Every step computes whole sequences again: in groups, to bound the memory.
        for begin in range(0, len(texts), PROMPTS_AT_ONCE):
            group = range(begin, min(begin + PROMPTS_AT_ONCE, len(texts)))
            self._write_on(sequences, list(group), sampling, max_new_tokens)
        return [self._in_words(ids, sampling.ends) for ids in sequences]

    def _in_words(self, ids: list[int], ends: set[int]) -> str:
        """Decode a sequence; an unknown word is shown as the unknown token."""
        begin = len(self.tokenizer_.special_tokens().before)
        end = len(ids) - 1 if ids[-1] in ends else len(ids)
        decode = self.tokenizer_.backend.decode
        return decode(ids[begin:end], skip_special_tokens=False)

    def _begin(self, prompts: list[str]) -> list[list[int]]:
        """Tokenise the prompts, with the special tokens that stand before a text."""
        # Special tokens before, as the texts of `fit` have, and none after: they would
        # end the text.
        frame = self.tokenizer_.special_tokens()
        contents = encode_texts(
            self.tokenizer_.backend, prompts, add_special_tokens=False
        )
        sequences = [[*frame.before.tolist(), *content.ids] for content in contents]
        for row, ids in enumerate(sequences):
            self.tokenizer_.check_ids(np.array(ids, dtype=np.int64))
            if len(ids) >= self.max_length_:
                raise ValueError(
                    f"prompts[{row}] ({excerpt(prompts[row])}) has {len(ids)} tokens, "
                    f"special ones included, and the model reads {self.max_length_}; "
                    f"expected at most {self.max_length_ - 1}, to leave room for one "
                    "more. Shorten it."
                )
            if not ids:
                raise ValueError(
                    f"prompts[{row}] is empty, and the tokenizer puts nothing before a "
                    "text to begin from; give a word to begin with."
                )
        return sequences

    def _write_on(
        self,
        sequences: list[list[int]],
        rows: list[int],
        sampling: Sampling,
        max_new_tokens: int,
    ) -> None:
        """Add tokens to some sequences, in place."""
        for _ in range(max_new_tokens):
            rows = [r for r in rows if len(sequences[r]) < self.max_length_]
            if not rows:
                return
            scores = self.net_.next_token_logits(_to_go_on(sequences, rows))
            chosen = sampling(scores, rows)
            for row, token in zip(rows, chosen, strict=True):
                sequences[row].append(token)
            rows = [
                row
                for row, token in zip(rows, chosen, strict=True)
                if token not in sampling.ends
            ]

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Return the mean log-likelihood of a token, in nats; more is better.

        The perplexity of the texts is `exp(-score(X))`. They are laid out as in `fit`.

        Parameters
        ----------
        X : as in `fit`, of length n_texts
        y : ignored

        Returns
        -------
        float
            At most 0.
        """
        documents = whole_documents(self._read_documents_again(X))
        table = _causal_table(self.tokenizer_, documents, pack=self._layout["pack"])
        return float(self.net_.token_log_likelihood(table)[:, 0].mean(dtype=np.float64))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Return the log-likelihood of each text, in nats.

        It is the sum over the tokens, the end included, of the log-likelihood of each,
        given those before.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts,), float64
        """
        table, row_of = self._distinct_rows(X)
        asked = causal_targets(table, self.tokenizer_.special_tokens().before)
        gains = self.net_.token_log_likelihood(asked)[:, 0].astype(np.float64)
        text_of_word = np.repeat(np.arange(len(table)), asked.word_counts)
        return np.bincount(text_of_word, gains, minlength=len(table))[row_of]


def _causal_examples(
    tokenizer: TextTokenizer, documents: list[list[str]], *, pack: bool
) -> DrawnExamples:
    """Return the same rows for every epoch."""
    table = _causal_table(tokenizer, documents, pack=pack)
    return DrawnExamples.of(lambda: table)


def _causal_table(
    tokenizer: TextTokenizer, documents: list[list[str]], *, pack: bool
) -> MaskedTable:
    """Lay out texts in rows, of which every token is to be predicted."""
    (corpus,) = read_tokens(tokenizer, [documents])
    rows = causal_rows(tokenizer, corpus, pack=pack)
    return causal_targets(rows, tokenizer.special_tokens().before)


def _to_go_on(sequences: list[list[int]], rows: list[int]) -> MaskedTable:
    """Lay out sequences, each with its last token to go on from."""
    lengths = np.array([len(sequences[row]) for row in rows])
    ids = np.concatenate([np.array(sequences[row], dtype=np.int32) for row in rows])
    table = TokenTable(ids, np.cumsum(lengths) - lengths, lengths, lengths, None)
    # The labels are 0: no loss is computed, so nothing reads them.
    return masked_table(table, np.arange(len(rows)), lengths - 1, np.zeros(len(rows)))
