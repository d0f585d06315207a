"""`BertEmbedder`: texts to vectors, as a scikit-learn transformer."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from sklearn_bert._base import (
    CHECKPOINT_CONSTRAINTS,
    TEXT_CONSTRAINTS,
    BertEstimator,
)
from sklearn_bert._sklearn import fit_context
from sklearn_bert.text import TokenTable, truncation_report, warn_if_cut


class BertEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BertEstimator):
    """Turn texts, or pairs of texts, into vectors with a pretrained BERT.

    `fit` reads the checkpoint and trains nothing; `transform` gives one vector per
    text: in float32 the same as sentence-transformers' `encode` gives for the same
    checkpoint [1]_, in bfloat16 close to it.

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
    long_text : {"truncate", "head_tail", "window"}, default="truncate"
        What is read of a text that is longer than `max_length`: its beginning; a
        quarter of the length from its beginning and the rest from its end [2]_; or all
        of it, in windows, whose vectors are averaged by the tokens that are new in each
        (with `pooling="max"` their maximum is taken). Time grows in line with the
        length. Of a pair the longer half is divided, and each window read with the
        other half.
    window_stride : int, default=None
        Tokens from the start of one window to the start of the next; fewer than a
        window holds make windows overlap. None: as many as it holds, so that every
        token is read once.
    pooling : {"auto", "cls", "pooler", "mean", "max"}, default="auto"
        How the states of a text's tokens become one vector. "auto": what the
        checkpoint was trained with, scaling to length 1 included.
    normalize : bool, default=False
        Whether to scale every vector to length 1. False leaves the vectors as the
        checkpoint makes them; one that was trained to end in unit vectors (as the
        default was) gives unit vectors with `pooling="auto"` in any case.
    precision : {"auto", "float32", "tf32", "bfloat16"}, default="auto"
        Number format of the encoder. "auto": bfloat16 where the hardware computes in
        it (GPUs since Ampere, CPUs with AMX or AVX512-BF16), else float32. "tf32":
        float32 whose products are rounded to ten bits, on a GPU. Vectors are float32 in
        any case.
    device : str, default="auto"
        "auto": the first GPU, or the CPU if there is none. Else "cpu", "cuda", ...
    random_state : int, RandomState or None, default=None
        Has no effect as long as nothing is trained.

    Attributes
    ----------
    max_length_ : int
        Tokens that are read of a text.
    truncation_report_ : dict
        Of the texts seen in fit: `n_texts`, `n_truncated`, `max_length` and `longest`
        (in tokens).
    net_ : BertNet
        The skorch net with the pretrained network.
    tokenizer_ : TextTokenizer
        The tokenizer with its length limit.
    n_features_in_ : int
        1 for texts, 2 for pairs, with `template` the number of columns it names.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names; only with `template`, or where X was a data frame whose names are
        strings.

    See Also
    --------
    BertClassifier : Fine-tunes the encoder itself; slower, and often more accurate.

    Notes
    -----
    A text is computed once per process and checkpoint, however often it occurs, over
    all calls, clones and folds, as far as memory allows: see `cache_info`. In float32 a
    text's vector does not depend on its neighbours or on their number (within 1e-6).

    References
    ----------
    .. [1] N. Reimers, I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019.
    .. [2] C. Sun, X. Qiu, Y. Xu, X. Huang, "How to Fine-Tune BERT for Text
       Classification?", CCL 2019, section 5.3.1.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_bert import BertEmbedder
    >>> texts = ["I love it", "Great!", "Awful", "I hate it"]
    >>> labels = ["good", "good", "bad", "bad"]
    >>> BertEmbedder().fit_transform(texts).shape
    (4, 384)
    >>> model = make_pipeline(BertEmbedder(), LogisticRegression()).fit(texts, labels)
    >>> model.predict(["Really great"])
    array(['good'], dtype='<U4')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CHECKPOINT_CONSTRAINTS,
        **TEXT_CONSTRAINTS,
        "normalize": ["boolean"],
    }

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        revision: str | None = None,
        template: str | None = None,
        missing: str = "error",
        max_length: int | None = None,
        long_text: str = "truncate",
        window_stride: int | None = None,
        pooling: str = "auto",
        normalize: bool = False,
        precision: str = "auto",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.revision = revision
        self.template = template
        self.missing = missing
        self.max_length = max_length
        self.long_text = long_text
        self.window_stride = window_stride
        self.pooling = pooling
        self.normalize = normalize
        self.precision = precision
        self.device = device
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Read the checkpoint, and check X.

        Parameters
        ----------
        X : column of texts, or two columns of sentence pairs, of length n_texts
            A list, tuple, array, or a pandas, polars or Arrow column or frame; or a
            list of 2-tuples.
        y : ignored
            Here because a pipeline passes it on.

        Returns
        -------
        self : BertEmbedder

        Raises
        ------
        TypeError, ValueError
            Where X or a parameter is wrong; before the checkpoint is read.
        CheckpointError
            Where the checkpoint is not found or cannot be read.
        """
        self._fit(X, y)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit, and compute the vectors of the same texts, tokenised once.

        Parameters
        ----------
        X : as in `fit`, of length n_texts
        y : ignored

        Returns
        -------
        ndarray of shape (n_texts, width), float32
        """
        table = self._fit(X, y)
        return self.net_.vectors(table)

    def _fit(self, X: Any, y: Any) -> TokenTable:
        told = self._begin_fit(X, y)
        texts, seen = self._read_X(X)
        model, tokenizer, fingerprint = self._load_model(
            trainable="head",
            pooling=self.pooling,
            long_text=self.long_text,
            window_stride=self.window_stride,
            normalize=self.normalize,
        )
        table = tokenizer(texts)
        report = truncation_report(
            table.whole_lengths, tokenizer.max_length, table.is_cut
        )
        warn_if_cut(report)
        self._publish(
            **seen,
            net_=self._build_net(model, tokenizer, fingerprint),
            tokenizer_=tokenizer,
            max_length_=tokenizer.max_length,
            truncation_report_=report,
        )
        self._end_fit(*told)
        return table

    def transform(self, X: Any) -> np.ndarray:
        """Compute one vector per text.

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
