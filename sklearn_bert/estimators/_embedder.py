"""`BertEmbedder`: texts to vectors, as a scikit-learn transformer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._process._sklearn import Interval, StrOptions, fit_context
from sklearn_bert.estimators._base import (
    CHECKPOINT_CONSTRAINTS,
    TEXT_CONSTRAINTS,
    TRAINING_CONSTRAINTS,
    BertEstimator,
)
from sklearn_bert.estimators._fit import FitCall, check_adapter
from sklearn_bert.estimators._language_model import Documents, check_content
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.estimators._texts import TextModelMixin
from sklearn_bert.estimators._whitening import Moments, whitening
from sklearn_bert.model._post_processing import First, Normalize, linear_map
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets._views import of_classes, of_pairs, same_twice
from sklearn_bert.text._corpus import check_single_texts
from sklearn_bert.text._input import Texts
from sklearn_bert.text._reports import (
    sum_reports,
    text_reports,
    warn_if_cut,
    warn_of,
)
from sklearn_bert.text._stream import StoredTexts, is_stream
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._losses import LanguageModelingLoss
from sklearn_bert.training._net import BertNet

NO_DROPOUT = (
    "objective='simcse' needs dropout, or the two views of a text are equal; neither "
    "the checkpoint nor the parameter dropout has any. Set dropout=0.1."
)
# Parameters of the training that are as in the other estimators.
TRAINING = (
    "adapter",
    "adapter_rank",
    "gradient_checkpointing",
    "max_epochs",
    "batch_size",
    "learning_rate",
    "layer_decay",
    "weight_decay",
    "warmup",
    "dropout",
    "callbacks",
    "checkpoint_folder",
    "checkpoint_minutes",
    "verbose",
)
# Parameters that a pretrainer takes over.
OF_PRETRAINER = (
    "checkpoint",
    "revision",
    "max_length",
    "gradient_checkpointing",
    "max_epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "warmup",
    "dropout",
    "precision",
    "device",
    "callbacks",
    "random_state",
    "verbose",
)


class BertEmbedder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, TextModelMixin, BertEstimator
):
    """Turn texts, or pairs of texts, into vectors with BERT.

    `fit` reads the checkpoint and trains none of its weights, unless it is given an
    `objective`; `transform` gives one vector per text: in float32 the same as
    sentence-transformers' `encode` gives for the same checkpoint [1]_, in bfloat16
    close to it.

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
        warned about. More than the checkpoint has positions for is an error. None: the
        length that the checkpoint was made for.
    long_text : {"truncate", "head_tail", "window"}, default="truncate"
        What is read of a text that is longer than `max_length`: its beginning; a
        quarter of the length from its beginning and the rest from its end [2]_; or all
        of it, in windows, whose vectors are averaged by the tokens that are new in each
        (with `pooling="max"` their maximum is taken). Time grows in line with the
        length. The longer half of a pair is divided, and each window read with the
        other half.
    window_stride : int, default=None
        Tokens from the start of one window to the start of the next; fewer than a
        window holds make windows overlap. None: as many as it holds, so that every
        token is read once.
    pooling : {"auto", "cls", "pooler", "mean", "max", "attention"}, default="auto"
        How the states of a text's tokens become one vector. "auto": what the
        checkpoint was trained with, scaling to length 1 included. "attention": by
        weights that `objective` learns, or that the saved estimator has learnt whose
        folder is the `checkpoint`.
    normalize : bool, default=False
        Whether to scale every vector to length 1. False leaves the vectors as the
        checkpoint makes them; one that was trained to end in unit vectors (as the
        default was) gives unit vectors with `pooling="auto"` in any case, unless they
        are whitened.
    n_components : int, default=None
        How many entries each vector has: the first so many of the checkpoint's, as a
        Matryoshka encoder [3]_ is made for, before they are scaled to length 1; with
        `whiten=True` the directions in which the texts of fit vary most. None: all.
    whiten : bool, default=False
        Whether to turn and scale the vectors so that over the texts of fit the entries
        have mean 0 and variance 1 and do not correlate [4]_, as scikit-learn's
        `PCA(whiten=True)` does. As a rule, this improves comparisons by cosine where
        the checkpoint was not trained for them. A direction in which the texts of fit
        do not vary becomes 0. Fit then computes the vectors, and needs at least as many
        texts as there are components.
    objective : {None, "simcse", "mlm", "supervised", "pairs"}, default=None
        What `fit` learns. None: nothing. "simcse": from texts alone, to find each among
        the others of a batch under another draw of dropout [5]_. "mlm": from texts
        alone, to guess hidden words, as `BertPretrainer` with `pack=False`.
        "supervised": from texts with their classes in `y`, to bring a class together
        and separate it from others [6]_. "pairs": from two columns; without `y` to find
        the second text of a pair among those of a batch [7]_, with scores in `y` to
        give pairs of higher scores the higher cosine [8]_.
    temperature : float, default=0.05
        What cosines are divided by in learning; a lower one gives more weight to the
        hardest cases. Has no effect with "mlm".
    trainable : {"all"} or int, default="all"
        What learns: everything, or so many top layers, from states of the layers below
        that are computed once.
    adapter : {"lora"}, default=None
        "lora": train low-rank additions to the encoder's matrices instead of the
        matrices, with the extra `lora`; saves the memory of the optimizer, takes a
        learning rate about ten times as high, and is merged into the weights at the end
        of `fit`. None: train the weights themselves.
    adapter_rank : int, default=8
        Rank of the additions of `adapter`: a greater one learns more and takes more
        memory. They are scaled by 2, whatever the rank.
    max_epochs : int, default=3
        Passes over the training texts.
    batch_size : int, default=32
        Texts, or pairs, per update; each is compared with the others of its batch, so
        that more teach more. Where so many do not fit into the device's memory, they
        pass through it in parts, and the update stays the same.
    learning_rate : float, default=5e-5
        Peak step size of the encoder's weights, reached after warm-up.
    layer_decay : float, default=1.0
        What the learning rate is multiplied with from each layer to the one below: at
        0.9 the top layer steps at 0.9 times `learning_rate`, the one below at 0.81
        times, and the embeddings, last, at the smallest.
    weight_decay : float, default=0.01
        Decay of the weight matrices, per update, times the learning rate.
    warmup : float, default=0.1
        Share of the updates in which the learning rate rises to its peak.
    dropout : float, default=None
        Dropout in the encoder, in learning. None: the checkpoint's own.
    gradient_checkpointing : bool or "auto", default=False
        Whether to compute the insides of the layers a second time in the backward pass
        instead of keeping them: about a fifth slower, in a fraction of the memory.
        "auto": once memory has run out.
    precision : {"auto", "float32", "tf32", "bfloat16", "float16"}, default="auto"
        Number format of the encoder. "auto": bfloat16 where the hardware computes in
        it (GPUs since Ampere, CPUs with AMX or AVX512-BF16), float16 on older GPUs that
        are fast in it (Volta, Turing), else float32. "tf32": float32 whose products are
        rounded to ten bits, on a GPU. Vectors are float32 in any case, and so are
        weights that are trained; in float16 the loss is scaled.
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
        Seed of dropout, order, partners and masks in learning. None: a new one for each
        fit.
    verbose : int, default=0
        1 shows a progress bar on a terminal, and elsewhere a line per epoch, on stderr.

    Attributes
    ----------
    n_iter_ : int
        Epochs run; only with an `objective`.
    history_ : list of dict
        One per epoch: `epoch`, `train_loss`, `learning_rate` (of the epoch's last
        update), `skipped_updates` (those that overflowed; in float16),
        `texts_per_second`, `seconds`; only with an `objective`.
    batch_size_used_ : int
        Most texts, or pairs, that passed through the model at a time: `batch_size`, or
        less where memory ran out; only with an `objective`. With "mlm", on a CPU, fewer
        pass where texts are long.
    max_length_ : int
        Tokens that are read of a text.
    truncation_report_ : dict
        Counts of the texts seen in fit: `n_texts`, `n_truncated`, `max_length` and
        `longest` (in tokens).
    unknown_report_ : dict
        Counts of what is read of the texts in fit: `n_texts`, `n_unknown_texts`
        (without a word that the checkpoint knows), `n_tokens` and `n_unknown`.
    net_ : BertNet
        The skorch net with the pretrained network.
    tokenizer_ : TextTokenizer
        The tokenizer with its length limit.
    n_features_in_ : int
        1 for texts, 2 for pairs, with `template` the number of columns it names. After
        learning from pairs 1: their texts are embedded one by one.
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
    text's vector does not depend on the other texts or on their number (within 1e-6).

    References
    ----------
    .. [1] N. Reimers, I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019.
    .. [2] C. Sun, X. Qiu, Y. Xu, X. Huang, "How to Fine-Tune BERT for Text
       Classification?", CCL 2019, section 5.3.1.
    .. [3] A. Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022.
    .. [4] J. Su, J. Cao, W. Liu, Y. Ou, "Whitening Sentence Representations for Better
       Semantics and Faster Retrieval", arXiv:2103.15316, 2021.
    .. [5] T. Gao, X. Yao, D. Chen, "SimCSE: Simple Contrastive Learning of Sentence
       Embeddings", EMNLP 2021.
    .. [6] P. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, eq. 2.
    .. [7] M. Henderson et al., "Efficient Natural Language Response Suggestion for
       Smart Reply", 2017, section 4.4.
    .. [8] X. Li, J. Li, "AnglE-optimized Text Embeddings", ACL 2024, eq. 4.

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
    >>> BertEmbedder(n_components=2, whiten=True).fit_transform(texts).shape
    (4, 2)

    Learning to tell the two classes apart:

    >>> embedder = BertEmbedder(objective="supervised", random_state=0)
    >>> embedder.fit_transform(texts, labels).shape
    (4, 384)
    """

    batch_size: int
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CHECKPOINT_CONSTRAINTS,
        **TEXT_CONSTRAINTS,
        "normalize": ["boolean"],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "whiten": ["boolean"],
        "objective": [StrOptions({"simcse", "mlm", "supervised", "pairs"}), None],
        # Beyond these no float32 tells similarities apart; a float16 is compared with
        # them as it is, and would overflow at 1e5.
        "temperature": [Interval(Real, 1e-6, 1e4, closed="both")],
        "trainable": [
            StrOptions({"all"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        **{name: TRAINING_CONSTRAINTS[name] for name in TRAINING},
    }
    # No early_stopping: the loss of a batch says little of how good vectors are.

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
        n_components: int | None = None,
        whiten: bool = False,
        objective: str | None = None,
        temperature: float = 0.05,
        trainable: str | int = "all",
        adapter: str | None = None,
        adapter_rank: int = 8,
        max_epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        dropout: float | None = None,
        gradient_checkpointing: bool | str = False,
        precision: str = "auto",
        device: str = "auto",
        callbacks: list[Any] | None = None,
        checkpoint_folder: str | os.PathLike[str] | None = None,
        checkpoint_minutes: float = 10,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
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
        self.n_components = n_components
        self.whiten = whiten
        self.objective = objective
        self.temperature = temperature
        self.trainable = trainable
        self.adapter = adapter
        self.adapter_rank = adapter_rank
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.dropout = dropout
        self.gradient_checkpointing = gradient_checkpointing
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.checkpoint_folder = checkpoint_folder
        self.checkpoint_minutes = checkpoint_minutes
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Read the checkpoint, learn the objective, and learn to whiten, as asked for.

        Parameters
        ----------
        X : column of texts, or two columns of sentence pairs, of length n_texts
            A list, tuple, array, or a pandas, polars or Arrow column or frame; or a
            list of 2-tuples. With "pairs" two columns, with other objectives one.
            Without an objective, and with "mlm", also an iterator of texts, such as a
            generator, for more than memory holds: it is read once, into temporary files
            of about twice its size.
        y : array-like of shape (n_texts,), default=None
            With "supervised" the class of each text; with "pairs" the score of each
            pair, higher for texts that are closer, or None where all pairs belong
            together. Otherwise ignored.

        Returns
        -------
        self : BertEmbedder

        Raises
        ------
        TypeError, ValueError
            Where X, y or a parameter is wrong; before the checkpoint is read.
        CheckpointError
            Where the checkpoint is not found or cannot be read.
        FloatingPointError
            Where the loss is no longer finite, naming the update, or where vectors are
            not finite after the last update.
        BertOutOfMemoryError
            Where not even one text fits into the device's memory.
        """
        self._fit(X, y)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: ArrayLike, y: ArrayLike | None = None) -> np.ndarray:
        """Fit, and compute the vectors of the same texts, tokenised once.

        Parameters
        ----------
        X : as in `fit`, of length n_texts
        y : as in `fit`

        Returns
        -------
        ndarray of shape (n_texts, n_features), float32

        Raises
        ------
        ValueError
            After learning from pairs, whose texts are embedded one by one.
        """
        if self.objective == "pairs":
            raise ValueError(
                "objective='pairs' learns from pairs and embeds single texts, so "
                "fit_transform cannot do both at once. Call fit on the pairs and "
                "transform on a column of texts; in a pipeline, save the fitted "
                "embedder and use its folder as checkpoint."
            )
        if is_stream(X):
            raise TypeError(
                f"X is a {type(X).__name__}, which is read only once; fit_transform "
                "reads it twice. Turn it into a list, list(X); or call fit, and then "
                "sklearn_bert.stream on batches of texts."
            )
        table = self._fit(X, y)
        assert table is not None
        return self.net_.vectors(table)

    def _fit(self, X: ArrayLike, y: ArrayLike | None) -> TokenTable | None:
        """Fit, and return the tokens of the texts to embed; None: of a stream."""
        if self.objective is None:
            return self._fit_nothing(X, y)
        self._check_objective()
        if self.objective == "mlm":
            return self._fit_words(X, y)
        check_adapter(self.adapter, self.trainable)
        if is_stream(X):
            raise ValueError(
                f"objective is {self.objective!r}, which takes the texts that go "
                f"together from all of X, but X is a {type(X).__name__}; expected a "
                "list, or objective='mlm'."
            )
        with FitCall(self, X, y) as call:
            # 1. Read X and y: what is wrong with them is said before a weight is read.
            texts, attributes = self._read_X(X)
            # After learning from pairs their texts are embedded one by one.
            self._check_enough_texts(len(texts) * (1 + (texts.second is not None)))
            if self.objective == "pairs":
                views = of_pairs(texts, y, self.temperature)
                # It learns from two columns, and embeds one.
                attributes = {"n_features_in_": 1, "_template": None}
            else:
                check_single_texts(texts)
                if self.objective == "supervised":
                    views = of_classes(texts, y, self.temperature)
                else:
                    views = same_twice(texts, self.temperature)
            # 2. Load the checkpoint.
            call.reserve_device()
            model, tokenizer = self._load(
                trainable=self.trainable, dropout=self.dropout
            )
            self._check_components(model, len(views.texts))
            # Only the loaded model tells what dropout=None means.
            if self.objective == "simcse" and not model.has_dropout:
                raise ValueError(NO_DROPOUT)
            # 3. Tokenise.
            table = tokenizer(views.texts)
            # 4. Train, and learn to whiten.
            fitted = call.train(
                model,
                tokenizer,
                views.loss,
                views.examples(table, call.seeds("views")),
                None,
                attributes,
                adapter=self.adapter,
                adapter_rank=self.adapter_rank,
                layer_decay=self.layer_decay,
            )
            moments = Moments()
            if self.whiten:
                moments.add(fitted["net_"].vectors(table))
            self._shape(fitted["net_"], moments)
            # 5. Publish.
            self._publish(**fitted)
        return table

    def _check_objective(self) -> None:
        """Raise ValueError where other parameters do not go with the objective."""
        if self.long_text == "window":
            raise ValueError(
                f"objective is {self.objective!r} and long_text is 'window'; an "
                "objective learns from one vector per text. Set long_text='head_tail' "
                "or 'truncate'; an embedder of the saved folder may read windows."
            )
        if self.objective != "mlm" and self.batch_size < 2:
            raise ValueError(
                f"objective is {self.objective!r} and batch_size is {self.batch_size}; "
                "the texts of a batch are compared with each other, so that there must "
                "be two or more. Raise batch_size."
            )
        if self.objective == "simcse" and self.dropout == 0:
            raise ValueError(NO_DROPOUT)
        changed = {"trainable": "all", "adapter": None, "layer_decay": 1.0}
        for name, only in changed.items():
            if self.objective == "mlm" and getattr(self, name) != only:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, but objective='mlm' trains "
                    f"all weights at one rate; set {name}={only!r}."
                )

    def _fit_words(self, X: ArrayLike, y: ArrayLike | None) -> TokenTable | None:
        """Learn as a pretrainer does, and embed with what has been learnt."""
        # The pretrainer is never fitted: it lends its way of loading and masking.
        shared = {name: getattr(self, name) for name in OF_PRETRAINER}
        pretrainer = BertPretrainer(pack=False, pooling="mean", **shared)
        with FitOfWords(self, X, y) as call:
            # 1. Read X.
            texts, attributes = self._read_texts(X)
            self._check_enough_texts(len(texts))
            call.texts = texts
            documents: Documents
            if isinstance(texts, StoredTexts):
                documents = texts
            else:
                check_single_texts(texts)
                documents = [[text] for text in texts.first]
            check_content(documents)
            # 2. Load the checkpoint.
            call.reserve_device()
            # What cannot become vectors is said before anything is trained.
            self._check_components(self._load(trainable="head")[0], len(texts))
            model, tokenizer = pretrainer._load_model_of_words(documents)
            # 3. Tokenise.
            rng = np.random.default_rng(call.seeds("masks"))
            train = pretrainer._masked_examples(tokenizer, documents, rng)
            # 4. Train.
            loss = LanguageModelingLoss(("mlm_loss",))
            fitted = call.train(model, tokenizer, loss, train, None, attributes)
            # Known only now: masked rows cut no text, but the rows to embed may.
            warn_if_cut(fitted["truncation_report_"])
            # 5. Publish.
            self._publish(**fitted)
        return call.table

    def _fit_nothing(self, X: ArrayLike, y: ArrayLike | None) -> TokenTable | None:
        """Take the encoder as it is."""
        # A fit without epochs: callbacks are told of it, and the device is checked.
        with FitCall(self, X, y, n_epochs=0):
            texts, attributes = self._read_texts(X)
            self._check_enough_texts(len(texts))
            fitted, table = self._embedding(texts)
            warn_of({name: fitted[name] for name in fitted if name.endswith("report_")})
            self._publish(**attributes, **fitted)
        return table

    def _read_texts(self, X: ArrayLike) -> tuple[Texts | StoredTexts, dict[str, Any]]:
        """Return the texts of a fit; those of a stream are kept in a file."""
        if not is_stream(X):
            return self._read_X(X)
        texts, attributes = self._read_stream(X)
        return StoredTexts(texts), attributes

    def _embedding(
        self, texts: Texts | StoredTexts, adapted: BertNet | None = None
    ) -> tuple[dict[str, Any], TokenTable | None]:
        """Return the fitted attributes of an encoder as it is, and the texts' table.

        A stream has no table of all its texts.
        """
        model, tokenizer = self._load(trainable="head", adapted=adapted)
        self._check_components(model, len(texts))
        net = self._build_net(model, tokenizer)
        is_stored = isinstance(texts, StoredTexts)  # too much to remember
        moments, reports = Moments(), []
        for part in parts_of_texts(texts):
            table = tokenizer(part, remember=not is_stored)
            reports.append(text_reports(tokenizer, table))
            if self.whiten:
                moments.add(net.vectors(table, remember=not is_stored))
        self._shape(net, moments)
        fitted = {
            "net_": net,
            "tokenizer_": tokenizer,
            "max_length_": tokenizer.max_length,
            **sum_reports(reports),
        }
        return fitted, None if is_stored else table

    def _load(self, **learning: Any) -> tuple[TextModel, TextTokenizer]:
        return self._load_model(
            pooling=self.pooling,
            long_text=self.long_text,
            window_stride=self.window_stride,
            reads_template=self.template is not None,
            # Whitening takes the vectors as the checkpoint makes them.
            normalize=self.normalize and not self.whiten,
            **learning,
        )

    def _shape(self, net: BertNet, moments: Moments) -> None:
        """Decide what becomes of the vectors that the encoder makes."""
        model = net.module
        if self.whiten:
            # The vectors that were whitened are those that the model gives now, so its
            # scaling to length 1 becomes a step before the map.
            if model.normalize:
                model.steps.append(Normalize())
            model.steps.append(linear_map(*whitening(moments, self.n_components)))
            # Whitened vectors no longer have length 1.
            model.normalize = bool(self.normalize)
        elif self.n_components is not None:
            model.steps.append(First(int(self.n_components)))

    def _check_components(self, model: TextModel, n_texts: int) -> None:
        """Raise ValueError where there cannot be as many components."""
        width = model.n_features
        if self.n_components is not None and self.n_components > width:
            raise ValueError(
                f"n_components is {self.n_components}, but the vectors of checkpoint "
                f"{os.fspath(self.checkpoint)!r} have {width} entries; expected 1 to "
                f"{width}, or None for all."
            )
        if self.whiten:
            self._check_enough(n_texts, self.n_components or width)

    def _check_enough_texts(self, n_texts: int) -> None:
        """Raise ValueError where there are too few texts to whiten, before loading."""
        # Without n_components the width of the checkpoint counts, which only loading
        # it tells.
        if self.whiten and self.n_components is not None:
            self._check_enough(n_texts, self.n_components)

    def _check_enough(self, n_texts: int, n_components: int) -> None:
        if n_texts < max(2, n_components):
            raise ValueError(
                f"whiten is True and X has {n_texts} texts, but the vectors are to "
                f"have {n_components} components (n_components is "
                f"{self.n_components}); expected at least as many texts, and two. Give "
                "more, set n_components to fewer, or set whiten=False."
            )

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Compute one vector per text.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts, width), float32
        """
        check_is_fitted(self)
        return self._compute(X, self.net_.vectors)

    @property
    def _n_features_out(self) -> int:
        return self.net_.module.n_features

    def __sklearn_text_input__(self) -> str:
        return "stream" if self.objective in (None, "mlm") else "texts"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def parts_of_texts(texts: Texts | StoredTexts) -> Iterator[Texts]:
    """Yield texts, so many at a time as may be in memory."""
    if isinstance(texts, Texts):
        yield texts
        return
    for part in texts.parts():
        yield Texts(part, None, n_features=1, is_2d=False)


class FitOfWords(FitCall):
    """One call of `fit` that trains a language model, and embeds with its encoder.

    Attributes
    ----------
    texts : Texts or StoredTexts
        To learn to whiten from.
    table : TokenTable or None
        Of these texts; None: they are a stream.
    """

    estimator: BertEmbedder
    texts: Texts | StoredTexts
    table: TokenTable | None

    def attributes_of(self, net: BertNet, trained: BertNet) -> dict[str, Any]:
        """Return all fitted attributes, of an embedder with the encoder of `net`."""
        fitted, self.table = self.estimator._embedding(self.texts, adapted=net)
        if net is trained:  # and not in the middle of its training, which goes on
            fitted["net_"].callbacks_ = trained.callbacks_
            fitted["net_"].history = trained.history
        # Ours come last: `super` has the tokenizer and the reports of the pretraining.
        return {**super().attributes_of(net, trained), **fitted}
