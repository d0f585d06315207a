"""`BertClassifier`: fine-tune BERT to tell classes of texts apart."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.model_selection import train_test_split
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length

from sklearn_bert._base import (
    INPUT_CONSTRAINTS,
    TRAINING_CONSTRAINTS,
    BertEstimator,
)
from sklearn_bert._random import seeded
from sklearn_bert._sklearn import StrOptions, check_sample_weight, fit_context
from sklearn_bert.text import is_missing, truncation_report, warn_if_cut
from sklearn_bert.training import Examples, resolve_device

HISTORY = (
    "epoch",
    "train_loss",
    "valid_loss",
    "valid_score",
    "learning_rate",
    "texts_per_second",
    "seconds",
)


class BertClassifier(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BertEstimator
):
    """Classify texts, or pairs of texts, by fine-tuning BERT.

    `fit` puts a linear head on the pooled vectors of a pretrained encoder (scaled to
    mean 0 and deviation 1) and trains both, as in [1]_: AdamW without decay on biases
    and norms, linear warm-up and decay, gradients clipped at norm 1. It needs labels
    in `y` and nothing else: length, padding, device and precision are found out.

    Parameters
    ----------
    checkpoint : str or path, default="sentence-transformers/all-MiniLM-L6-v2"
        A name on the Hugging Face Hub, or a folder. Looked for as a folder, then in the
        weight package of the extra `minilm` (which carries the default), then in the
        local Hub cache, then on the Hub. Only safetensors are read, and no code of a
        download is run.
    revision : str, default=None
        Branch, tag or commit on the Hub. None: what the local cache holds, or else the
        newest.
    template : str, default=None
        Joins columns of a data frame into one text, e.g. `"{title}. {body}"`; numbers
        are formatted as by `str.format`. None: X is one column of texts, or two of
        sentence pairs.
    missing : {"error", "empty"}, default="error"
        Whether None, NaN and NA in X are refused, or read as empty texts.
    max_length : int, default=None
        Longest text in tokens, special ones included; the rest is cut, counted and
        warned about. Never more than tokenizer and position table of the checkpoint
        allow. None: the length that the checkpoint was made for.
    pooling : {"auto", "cls", "pooler", "mean", "max"}, default="auto"
        How the states of a text's tokens become one vector. "auto": what the
        checkpoint was trained with.
    trainable : {"all", "head"} or int, default="all"
        What learns: everything; the head alone, on vectors that are computed once per
        text and process; or the head and so many top layers, from states of the layers
        below that are computed once likewise. As many as there are layers: all but the
        embeddings. What does not learn drops nothing either.
    adapter : {"lora"}, default=None
        "lora": train low-rank additions [2]_ to the encoder's matrices (rank 8) instead
        of the matrices, with the extra `lora`; saves the memory of the optimizer, takes
        a learning rate about ten times as high, and is merged into the weights at the
        end of `fit`. None: train the weights themselves.
    max_epochs : int, default=3
        Passes over the training texts.
    batch_size : int, default=32
        Texts per update. Where so many do not fit into the device's memory, they pass
        through it in parts, and the update stays the same.
    learning_rate : float, default=5e-5
        Peak step size of the encoder's weights, reached after warm-up. The head, which
        starts from nothing, takes steps ten times as long, and a hundred times where it
        learns alone.
    weight_decay : float, default=0.01
        Decay of the weight matrices, per update, times the learning rate.
    warmup : float, default=0.1
        Share of the updates in which the learning rate rises to its peak.
    dropout : float, default=None
        Dropout in encoder and head. None: the checkpoint's own.
    class_weight : dict or "balanced", default=None
        Weight of each class by label, or inversely to its share in `y`. None: equal.
    early_stopping : bool, default=False
        Whether to hold out a stratified part of the texts, stop when its score no
        longer rises, and keep the weights of the best epoch.
    validation_fraction : float, default=0.1
        Share of the texts held out; used only with `early_stopping`.
    n_iter_no_change : int, default=2
        Epochs without a better validation score after which training stops.
    gradient_checkpointing : bool or "auto", default=False
        Whether to compute the insides of the layers a second time in the backward pass
        instead of keeping them: about a fifth slower, in a fraction of the memory.
        "auto": once memory has run out.
    precision : {"auto", "float32", "tf32", "bfloat16"}, default="auto"
        Number format of the encoder. "auto": bfloat16 where the hardware computes in
        it (GPUs since Ampere, CPUs with AMX or AVX512-BF16), else float32. In bfloat16
        the weights that are trained stay in float32. "tf32": float32 whose products are
        rounded to ten bits, on a GPU.
    device : str, default="auto"
        "auto": the first GPU, or the CPU if there is none. Else "cpu", "cuda", ...
    callbacks : list of skorch callbacks, default=None
        Copied for each fit.
    random_state : int, RandomState or None, default=None
        Seed of head, dropout, order and held-out part. None: a new one for each fit.
    verbose : int, default=0
        1 shows a progress bar on a terminal.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_iter_ : int
        Epochs run.
    history_ : list of dict
        One per epoch: `epoch`, `train_loss`, `valid_loss` and `valid_score` (accuracy)
        where there is validation, `learning_rate` (of the epoch's last update),
        `texts_per_second`, `seconds`.
    max_length_ : int
        Tokens that are read of a text.
    batch_size_used_ : int
        Texts that passed through the model at a time: `batch_size`, or less where
        memory ran out.
    truncation_report_ : dict
        Of the texts seen in fit: `n_texts`, `n_truncated`, `max_length` and `longest`
        (in tokens).
    net_ : BertNet
        The skorch net with the trained network.
    tokenizer_ : TextTokenizer
        The tokenizer with its length limit.
    n_features_in_ : int
        1 for texts, 2 for pairs, with `template` the number of columns it names.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names; only with `template`, or where X was a data frame whose names are
        strings.

    See Also
    --------
    BertEmbedder : Texts to vectors, for any scikit-learn model; faster to fit.

    Notes
    -----
    After `fit` the weights rest in float32 on the CPU, and neither gradients nor
    optimizer are kept. Training holds the weights, their gradients and two moments of
    the optimizer: 16 bytes per weight in float32, 20 in bfloat16.

    References
    ----------
    .. [1] J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT: Pre-training of Deep
       Bidirectional Transformers for Language Understanding", NAACL 2019.
    .. [2] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models",
       ICLR 2022.

    Examples
    --------
    >>> from sklearn_bert import BertClassifier
    >>> texts = ["I love it", "Great!", "Awful", "I hate it"] * 8
    >>> labels = ["good", "good", "bad", "bad"] * 8
    >>> clf = BertClassifier(learning_rate=2e-4, random_state=0).fit(texts, labels)
    >>> clf.predict(["I really love it", "I really hate it"])
    array(['good', 'bad'], dtype='<U4')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **INPUT_CONSTRAINTS,
        **TRAINING_CONSTRAINTS,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        revision: str | None = None,
        template: str | None = None,
        missing: str = "error",
        max_length: int | None = None,
        pooling: str = "auto",
        trainable: str | int = "all",
        adapter: str | None = None,
        max_epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        dropout: float | None = None,
        class_weight: dict[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        gradient_checkpointing: bool | str = False,
        precision: str = "auto",
        device: str = "auto",
        callbacks: list[Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.checkpoint = checkpoint
        self.revision = revision
        self.template = template
        self.missing = missing
        self.max_length = max_length
        self.pooling = pooling
        self.trainable = trainable
        self.adapter = adapter
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.dropout = dropout
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.gradient_checkpointing = gradient_checkpointing
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fine-tune the checkpoint on labelled texts.

        Parameters
        ----------
        X : column of texts, or two columns of sentence pairs, of length n_texts
            A list, tuple, array, or a pandas, polars or Arrow column or frame; or a
            list of 2-tuples.
        y : array-like of shape (n_texts,)
            Labels of any kind: str, int, bool, category.
        sample_weight : array-like of shape (n_texts,), default=None
            How much each text weighs in the loss: 0 leaves it out, 2 weighs twice as
            much as 1. None: all weigh alike.

        Returns
        -------
        self : BertClassifier

        Raises
        ------
        TypeError, ValueError
            Where X, y or a parameter is wrong; before the checkpoint is read.
        CheckpointError
            Where the checkpoint is not found or cannot be read.
        FloatingPointError
            Where the loss is no longer finite, naming the update.
        BertOutOfMemoryError
            Where not even one text fits into the device's memory.
        """
        texts, seen = self._read_X(X)
        if self.adapter is not None and self.trainable != "all":
            raise ValueError(
                f"adapter is {self.adapter!r} and trainable is {self.trainable!r}; an "
                "adapter trains additions to all layers, so it takes trainable='all'."
            )
        classes, codes = _encode_labels(y, texts.first)
        weights = self._weigh_texts(classes, codes, sample_weight)
        rng = np.random.default_rng(self._draw_seed())
        train_rows, valid_rows = self._hold_out(classes, codes, weights, rng)

        with seeded(int(rng.integers(2**63)), resolve_device(self.device)):
            model, tokenizer, fingerprint = self._load_model(
                trainable=self.trainable,
                n_outputs=len(classes),
                dropout=self.dropout,
            )
            table = tokenizer(texts)
            report = truncation_report(table.whole_lengths, tokenizer.max_length)
            warn_if_cut(report)
            train = Examples(table, train_rows, codes, weights)
            valid = None
            if valid_rows is not None:
                valid = Examples(table, valid_rows, codes, weights)
            net = self._fit_net(
                model,
                tokenizer,
                fingerprint,
                train,
                valid,
                shuffle_seed=int(rng.integers(2**63)),
            )

        return self._publish(
            **seen,
            classes_=classes,
            net_=net,
            tokenizer_=tokenizer,
            n_iter_=len(net.history),
            history_=_tidy(net.history),
            max_length_=tokenizer.max_length,
            batch_size_used_=net.batch_size_used_,
            truncation_report_=report,
        )

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable label of each text.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts,)
            Labels, of the kind that `fit` was given.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts, n_classes), float64
            Columns in the order of `classes_`.
        """
        scores = self._compute(X, "scores")
        return softmax(scores.astype(np.float64), axis=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the logits: `predict_proba` is their softmax (binary: sigmoid).

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts,) for two classes, else (n_texts, n_classes), float32
            For two classes the logit of `classes_[1]` less that of `classes_[0]`.
        """
        scores = self._compute(X, "scores")
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def transform(self, X: Any) -> np.ndarray:
        """Compute the fine-tuned vector of each text: what the head sees.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts, width), float32
        """
        return self._compute(X, "vectors")

    @property
    def _n_features_out(self) -> int:
        return self.net_.module.width

    def _weigh_texts(
        self, classes: np.ndarray, codes: np.ndarray, sample_weight: Any
    ) -> np.ndarray:
        """Sample weight times class weight, scaled to a mean of 1 over the texts."""
        weights = np.ones(len(codes))
        if sample_weight is not None:
            weights = check_sample_weight(
                sample_weight, codes, dtype=np.float64, ensure_non_negative=True
            )
        if self.class_weight is not None:
            by_class = compute_class_weight(
                self.class_weight,
                classes=classes,
                y=classes[codes],
                sample_weight=weights,
            )
            weights = weights * by_class[codes]
            if not (np.isfinite(weights).all() and weights.min() >= 0 < weights.max()):
                raise ValueError(
                    f"class_weight is {self.class_weight!r}; expected weights of 0 or "
                    "more, and more than 0 for some text."
                )
        return (weights / weights[weights > 0].mean()).astype(np.float32)

    def _hold_out(
        self,
        classes: np.ndarray,
        codes: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows to train on and rows to validate on; a weight of 0 leaves a row out."""
        rows = np.flatnonzero(weights > 0)
        if not self.early_stopping:
            return rows, None
        try:
            train, valid = train_test_split(
                rows,
                test_size=self.validation_fraction,
                stratify=codes[rows],
                random_state=int(rng.integers(2**31)),
            )
        except ValueError as error:
            counts = np.bincount(codes[rows], minlength=len(classes))
            fewest = counts.argmin()
            raise ValueError(
                f"early_stopping cannot hold out validation_fraction="
                f"{self.validation_fraction} of {len(rows)} texts in {len(classes)} "
                f"classes (fewest: {counts[fewest]} of {_plain(classes[fewest])!r}): "
                f"{error} Raise validation_fraction or set early_stopping=False."
            ) from error
        return train, valid


def _encode_labels(y: Any, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sorted classes and the code of each label."""
    if y is None:
        raise ValueError(
            "BertClassifier requires y to be passed, but the target y is None."
        )
    check_consistent_length(texts, y)
    labels = _read_labels(y)
    check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class only ({_plain(classes[0])!r}); a classifier needs "
            "samples of at least 2 classes."
        )
    return classes, codes.astype(np.int64)


def _read_labels(y: Any) -> np.ndarray:
    """The labels as an array of one type, none of them missing or converted."""
    if not isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype):
        y = np.asarray(y, dtype=object)  # pandas' own types would turn into floats
    labels = column_or_1d(y, warn=True)
    missing = [i for i, label in enumerate(labels) if is_missing(label)]
    if missing:
        raise ValueError(
            f"y[{missing[0]}] is {labels[missing[0]]!r}; every text needs a label. "
            f"{len(missing)} of {len(labels)} labels are missing."
        )
    given = y if isinstance(y, (list, tuple)) else labels
    n_strings = sum(isinstance(label, str) for label in given)
    if labels.dtype.kind in "UO" and 0 < n_strings < len(labels):
        raise TypeError(
            "y mixes strings and other labels; convert them to one kind, e.g. "
            "[str(label) for label in y]."
        )
    if labels.dtype.kind == "T":  # NumPy's new strings, which scikit-learn cannot read
        return labels.astype(object)
    if labels.dtype.kind == "O" and n_strings == 0:
        return np.array(labels.tolist())  # numbers or booleans in an object array
    return labels


def _plain(label: Any) -> Any:
    """A label as Python shows it: 'b' instead of np.str_('b')."""
    return label.item() if isinstance(label, np.generic) else label


def _tidy(history: Any) -> list[dict[str, float]]:
    return [{name: row[name] for name in HISTORY if name in row} for row in history]
