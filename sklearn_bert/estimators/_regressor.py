"""`BertRegressor`: fine-tune BERT to predict numbers from texts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    RegressorMixin,
)
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._process._sklearn import StrOptions, fit_context
from sklearn_bert.estimators._base import (
    AUTO_CONSTRAINTS,
    CHECKPOINT_CONSTRAINTS,
    PAIR_CONSTRAINTS,
    TEXT_CONSTRAINTS,
    TRAINING_CONSTRAINTS,
    BertEstimator,
)
from sklearn_bert.estimators._fit import FitCall, check_adapter
from sklearn_bert.estimators._nested_pretraining import (
    pretrain_first,
    pretraining_history,
    read_unlabeled,
)
from sklearn_bert.estimators._pairs import compare_if_better, untrained_if_few
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.estimators._recipe import Recipe
from sklearn_bert.estimators._text_predictor import TextPredictor
from sklearn_bert.targets._numbers import Scale, read_numbers
from sklearn_bert.targets._probe import number_probe, variance_explained
from sklearn_bert.targets._sample_weight import read_sample_weight, with_mean_one
from sklearn_bert.targets._validation_split import Split
from sklearn_bert.text._input import Texts
from sklearn_bert.training._losses import RegressionLoss


class BertRegressor(RegressorMixin, TextPredictor):
    """Predict one or several numbers of texts, or pairs of texts, by fine-tuning BERT.

    As `BertClassifier`, with numbers instead of classes: a linear head on the pooled
    vectors of a pretrained encoder, trained with it as in [1]_. Targets are
    standardised inside, and predictions are in their units.

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
        quarter of the length from its beginning and the rest from its end [3]_; or all
        of it, in windows, whose predictions are averaged by the tokens that are new in
        each, in training as in prediction. Time grows in line with the length. The
        longer half of a pair is divided, and each window read with the other half.
    window_stride : int, default=None
        Tokens from the start of one window to the start of the next; fewer than a
        window holds make windows overlap. None: as many as it holds, so that every
        token is read once.
    pooling : str, default="auto"
        How the states of a text's tokens become one vector: "cls", "pooler", "mean",
        "max", "attention", or "similarity" of pairs. "auto": what the checkpoint was
        trained with; for pairs of texts "cls" instead of "mean" and "max". "attention":
        their mean, in which tokens weigh as the head learns that they matter (additive
        attention of D. Bahdanau et al., ICLR 2015, pooled as by Z. Yang et al., NAACL
        2016, equations 5 to 7); where the head learns alone, the states of all tokens
        are cached instead of one vector per text. "similarity": of a pair one number,
        the cosine of the vectors of its two texts, each read alone and pooled as the
        checkpoint was trained to (N. Reimers, I. Gurevych, "Sentence-BERT", EMNLP 2019,
        section 3); for checkpoints that tell the texts of a pair apart by token types.
        "auto" takes it for 10 to 6,000 pairs where a cross-validated regression on it
        explains more of y than one on the vector of both texts together, and more than
        0.01 (R2); up to 200 pairs train the head alone, unless a parameter says how to
        train. Not with `max_epochs` or `learning_rate` as a number,
        `head_init="random"` or `partial_fit`.
    trainable : {"all", "head"} or int, default="all"
        What learns: everything; the head alone, on vectors that are computed once per
        text and process; or the head and so many top layers, from states of the layers
        below that are computed once likewise. As many as there are layers: all but the
        embeddings. Layers that do not learn have no dropout.
    pretraining : BertPretrainer, default=None
        Adapts the checkpoint to the texts, without their labels, before it learns from
        these [6]_: to those of X that are trained on, and those of `unlabeled` in
        `fit`. A copy is fitted, which takes over checkpoint, precision and device.
        None: nothing is adapted.
    adapter : {"lora"}, default=None
        "lora": train low-rank additions [2]_ to the encoder's matrices instead of the
        matrices, with the extra `lora`; saves the memory of the optimizer, takes a
        learning rate about ten times as high, and is merged into the weights at the end
        of `fit`. None: train the weights themselves.
    adapter_rank : int, default=8
        Rank of the additions of `adapter`: a greater one learns more and takes more
        memory. They are scaled by 2, whatever the rank.
    head_init : {"probe", "random"}, default="probe"
        Where the head starts: "probe": as a linear model of the vectors of the
        unchanged checkpoint (logistic, or ridge regression of numbers, of up to 2,000
        texts), as in [7]_; "random": as small random weights, which take steps ten
        times as long, as any head does in a call that goes on from an earlier one. A
        head that learns alone takes steps a hundred times as long in each case.
    max_epochs : int or "auto", default="auto"
        Passes over the training texts. "auto": 3 at least, and otherwise so many that
        there are about 30 times the cube root of n / 48 updates, with n texts. 0 where
        `pooling` takes the similarity of up to 200 pairs.
    batch_size : int or "auto", default="auto"
        Texts per update. Where so many do not fit into the device's memory, they pass
        through it in parts, and the update stays the same. "auto": 32, or all where
        they are fewer.
    learning_rate : float or "auto", default="auto"
        Peak step size of the encoder's weights, reached after warm-up. "auto": 1e-4,
        and in inverse proportion less where the checkpoint is wider than 384.
    layer_decay : float, default=1.0
        What the learning rate is multiplied with from each layer to the one below [4]_:
        at 0.9 the top layer steps at 0.9 times `learning_rate`, the one below at 0.81
        times, and the embeddings, last, at the smallest. The head is not concerned.
    weight_decay : float, default=0.01
        Decay of the weight matrices, per update, times the learning rate.
    warmup : float, default=0.1
        Share of the updates in which the learning rate rises to its peak.
    dropout : float, default=None
        Dropout in encoder and head. None: the checkpoint's own.
    loss : {"squared_error", "huber"}, default="squared_error"
        What is minimised, of targets that are standardised inside. "huber" [5]_ is
        linear beyond one standard deviation, so that outliers weigh less.
    early_stopping : bool, default=False
        Whether to validate after each epoch, stop when the score no longer rises, and
        keep the weights of the best epoch. The score is that of `X_val`, or else of a
        part of the texts that is held out.
    validation_fraction : float, default=0.1
        Share of the texts (or of their groups) held out; used only with
        `early_stopping` and without `X_val`.
    n_iter_no_change : int, default=2
        Epochs without a better validation score after which training stops.
    scoring : str or callable, default=None
        The score that `early_stopping` watches, greater being better, and that
        `history_` has: a name of `sklearn.metrics.get_scorer_names()`, or a function of
        a fitted estimator, X and y, as of `make_scorer`. None: what `score` computes.
        Of no effect without validation.
    warm_start : bool, default=False
        Whether `fit` goes on with the weights of an earlier `fit`, of as many targets,
        instead of the checkpoint's; `history_` goes on as well.
    gradient_checkpointing : bool or "auto", default=False
        Whether to compute the insides of the layers a second time in the backward pass
        instead of keeping them: about a fifth slower, in a fraction of the memory.
        "auto": once memory has run out.
    precision : {"auto", "float32", "tf32", "bfloat16", "float16"}, default="auto"
        Number format of the encoder. "auto": bfloat16 where the hardware computes in it
        (GPUs since Ampere, CPUs with AMX or AVX512-BF16), float16 on older GPUs that
        are fast in it (Volta, Turing), else float32. In both the weights that are
        trained stay in float32; in float16 the loss is scaled. "tf32": float32 whose
        products are rounded to ten bits, on a GPU.
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
        Seed of head, dropout, order and held-out part. None: a new one for each fit.
    verbose : int, default=0
        1 shows a progress bar on a terminal, and elsewhere a line per epoch, on stderr.

    Attributes
    ----------
    target_mean_ : ndarray of shape (n_targets,)
        Of the targets that were trained on.
    target_scale_ : ndarray of shape (n_targets,)
        Their standard deviation; 1 where they are all the same.
    n_iter_ : int
        Epochs run, including those of earlier calls that this one went on with.
    history_ : list of dict
        One per epoch, if any: `epoch`, `train_loss`, `valid_loss` and `valid_score`
        (that of `score`, or of `scoring`) where there is validation, `learning_rate`
        (of the epoch's last update), `skipped_updates` (those that overflowed; in
        float16), `texts_per_second`, `seconds`.
    learning_rate_ : float
        The peak learning rate, as given or chosen; 0 where the head was fitted and
        nothing trained.
    max_epochs_ : int
        The most epochs, as given or chosen; 0 where the head was fitted and nothing
        trained.
    batch_size_ : int
        Texts per update, as given or chosen.
    max_length_ : int
        Tokens that are read of a text.
    pooling_ : str
        How texts are pooled, as given or chosen.
    pretraining_history_ : list of dict
        The `history_` of `pretraining`; only with it.
    batch_size_used_ : int
        Most texts that passed through the model at a time: `batch_size`, or less where
        memory ran out. On a CPU fewer pass where texts are long.
    truncation_report_ : dict
        Counts of the texts seen in fit: `n_texts`, `n_truncated`, `max_length` and
        `longest` (in tokens).
    unknown_report_ : dict
        Counts of what is read of the texts in fit: `n_texts`, `n_unknown_texts`
        (without a word that the checkpoint knows), `n_tokens` and `n_unknown`.
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
    BertClassifier : For classes, or several labels, instead of numbers.

    Notes
    -----
    After `fit` the weights rest in float32 on the CPU, and neither gradients nor
    optimizer are kept. Training holds the weights, their gradients and two moments of
    the optimizer: 16 bytes per weight in float32, 20 in bfloat16 or float16.

    References
    ----------
    .. [1] J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT: Pre-training of Deep
       Bidirectional Transformers for Language Understanding", NAACL 2019.
    .. [2] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models",
       ICLR 2022.
    .. [3] C. Sun, X. Qiu, Y. Xu, X. Huang, "How to Fine-Tune BERT for Text
       Classification?", CCL 2019, section 5.3.1.
    .. [4] K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators
       Rather Than Generators", ICLR 2020, appendix B.
    .. [5] P. J. Huber, "Robust Estimation of a Location Parameter", Annals of
       Mathematical Statistics 35, 1964.
    .. [6] S. Gururangan et al., "Don't Stop Pretraining: Adapt Language Models to
       Domains and Tasks", ACL 2020.
    .. [7] A. Kumar, A. Raghunathan, R. Jones, T. Ma, P. Liang, "Fine-Tuning Can Distort
       Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.

    Examples
    --------
    >>> from sklearn_bert import BertRegressor
    >>> texts = ["I love it", "Great!", "Awful", "I hate it"] * 4
    >>> stars = [5, 4, 2, 1] * 4
    >>> reg = BertRegressor(random_state=0).fit(texts, stars)
    >>> good, bad = reg.predict(["I really love it", "I really hate it"])
    >>> bool(good > 3 > bad)
    True
    """

    _private_state = (*BertEstimator._private_state, "_is_1d")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CHECKPOINT_CONSTRAINTS,
        **TEXT_CONSTRAINTS,
        **PAIR_CONSTRAINTS,
        **TRAINING_CONSTRAINTS,
        **AUTO_CONSTRAINTS,
        "scoring": [str, callable, None],
        "head_init": [StrOptions({"probe", "random"})],
        "pretraining": [BertPretrainer, None],
        "loss": [StrOptions({"squared_error", "huber"})],
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
        trainable: str | int = "all",
        pretraining: BertPretrainer | None = None,
        adapter: str | None = None,
        adapter_rank: int = 8,
        head_init: str = "probe",
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        dropout: float | None = None,
        loss: str = "squared_error",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        scoring: str | Callable[..., Any] | None = None,
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
        self.checkpoint = checkpoint
        self.revision = revision
        self.template = template
        self.missing = missing
        self.max_length = max_length
        self.long_text = long_text
        self.window_stride = window_stride
        self.pooling = pooling
        self.trainable = trainable
        self.pretraining = pretraining
        self.adapter = adapter
        self.adapter_rank = adapter_rank
        self.head_init = head_init
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.dropout = dropout
        self.loss = loss
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.scoring = scoring
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
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        unlabeled: ArrayLike | None = None,
    ) -> Self:
        """Fine-tune the checkpoint on texts and their numbers.

        Parameters
        ----------
        X : column of texts, or two columns of sentence pairs, of length n_texts
            A list, tuple, array, or a pandas, polars or Arrow column or frame; or a
            list of 2-tuples.
        y : array-like of shape (n_texts,) or (n_texts, n_targets)
            Finite numbers.
        sample_weight : array-like of shape (n_texts,), default=None
            How much each text weighs in the loss: 0 leaves it out, 2 weighs twice as
            much as 1. None: all weigh alike.
        groups : array-like of shape (n_texts,), default=None
            Texts of one group are not divided by `early_stopping`: they are all held
            out, or all trained on. None: each text is its own group.
        X_val, y_val : as X and y, default=None
            Texts to validate on after each epoch, for `history_` and
            `early_stopping`. None: `early_stopping` holds out a part of X.
        unlabeled : as X, of any length, default=None
            More texts that `pretraining` adapts to. None: there are none.

        Returns
        -------
        self : BertRegressor

        Raises
        ------
        TypeError, ValueError
            Where X, y or a parameter is wrong; before the checkpoint is read.
        CheckpointError
            Where the checkpoint is not found or cannot be read.
        FloatingPointError
            Where the loss is no longer finite, naming the update, or where answers are
            not after the last.
        BertOutOfMemoryError
            Where not even one text fits into the device's memory.
        """
        return self._fit(
            X,
            y,
            sample_weight,
            groups=groups,
            X_val=X_val,
            y_val=y_val,
            unlabeled=unlabeled,
        )

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn from some more texts: one epoch over them, at a steady rate.

        The first call begins with the checkpoint and standardises by its targets; the
        others go on with the weights they find, be they from `fit` or from
        `partial_fit`. AdamW's moments begin anew in each call, for a fitted estimator
        keeps no optimizer; the rate rises in the first ten updates, so hand in hundreds
        of texts at a time, not one batch.

        Parameters
        ----------
        X : as in `fit`, of length n_texts
        y : as in `fit`
        sample_weight : as in `fit`

        Returns
        -------
        self : BertRegressor
        """
        return self._fit(X, y, sample_weight, is_partial=True)

    def _fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        *,
        groups: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        unlabeled: ArrayLike | None = None,
        is_partial: bool = False,
    ) -> Self:
        check_adapter(self.adapter, self.trainable)
        with FitCall(
            self,
            X,
            y,
            sample_weight,
            X_val=X_val,
            y_val=y_val,
            early_stopping=self.early_stopping,
            warm_start=self.warm_start,
            is_partial=is_partial,
        ) as call:
            # 1. Read X and y: what is wrong with them is said before a weight is read.
            texts, attributes = self._read_X(X, is_like_before=call.goes_on)
            valid_texts = self._read_validation(X_val, y_val, texts)
            unlabeled_texts = read_unlabeled(self, call, unlabeled)
            numbers, is_1d = read_numbers(y, texts)
            n_valid = None if valid_texts is None else len(valid_texts)
            split = call.split(
                read_sample_weight(sample_weight, len(texts)), n_valid, groups=groups
            )
            if valid_texts is not None:
                numbers = _joined(numbers, y_val, valid_texts)
                texts = texts.joined(valid_texts)
            # Only the texts to train on: held-out ones must not leak into the scale.
            scale = self._choose_scale(call, numbers, split)
            adapted = pretrain_first(self, call, texts, split.train, unlabeled_texts)
            # 2. Load the checkpoint, or the model of the earlier fit.
            call.reserve_device()
            model, tokenizer = call.go_on(self.trainable) or self._load(
                numbers.shape[1], of_pairs=texts.second is not None, adapted=adapted
            )
            # 3. Tokenise.
            weights = with_mean_one(split.weights, split.train)
            targets = scale.standardise(numbers)
            train, valid = split.examples(tokenizer(texts), targets, weights)
            # 4. Train. The head starts as a linear model of the vectors.
            model = compare_if_better(
                self, call, texts, model, tokenizer, train, variance_explained
            )
            recipe = Recipe.of(self, len(train), model.width, call.is_partial)
            recipe = untrained_if_few(self, call, model, len(train), recipe)
            if self.head_init == "probe" and not call.goes_on:
                inputs = call.head_inputs(model, tokenizer, train)
                model.set_head(*number_probe(*inputs))
            attributes |= scale.attributes() | {"_is_1d": is_1d}
            fitted = call.train(
                model,
                tokenizer,
                RegressionLoss(self.loss),
                train,
                valid,
                attributes | pretraining_history(self, call, adapted),
                recipe=recipe,
                adapter=self.adapter,
                adapter_rank=self.adapter_rank,
                layer_decay=self.layer_decay,
            )
            # 5. Publish.
            return self._publish(**fitted)

    def _choose_scale(self, call: FitCall, numbers: np.ndarray, split: Split) -> Scale:
        """Return the scale of the targets; that of the earlier fit where it goes on.

        The head's weights are made for the old one.
        """
        if not call.goes_on:
            return Scale.of(numbers[split.train], split.weights[split.train])
        _check_width("y", numbers, len(self.target_mean_))
        return Scale(self.target_mean_, self.target_scale_)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the number, or numbers, of each text.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts,) or (n_texts, n_targets), float64
            As `y` in `fit`, in its units.
        """
        check_is_fitted(self)
        scores = self._compute_scores(X)
        numbers = Scale(self.target_mean_, self.target_scale_).in_units(scores)
        return numbers[:, 0] if self._is_1d else numbers

    def _compute_scores(self, X: ArrayLike) -> np.ndarray:
        return self._compute(X, self.net_.scores, RegressionLoss.merge_windows)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _joined(numbers: np.ndarray, y_val: Any, valid_texts: Texts) -> np.ndarray:
    """Return the numbers followed by those to validate on."""
    valid_numbers, _ = read_numbers(y_val, valid_texts, "y_val")
    _check_width("y_val", valid_numbers, numbers.shape[1])
    return np.concatenate([numbers, valid_numbers])


def _check_width(name: str, numbers: np.ndarray, width: int) -> None:
    if numbers.shape[1] != width:
        raise ValueError(
            f"{name} has {numbers.shape[1]} targets per text; expected {width}."
        )
