"""`BertClassifier`: fine-tune BERT to label texts."""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    ClassifierMixin,
)
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._process._sklearn import Interval, StrOptions, fit_context
from sklearn_bert.estimators._base import (
    AUTO_CONSTRAINTS,
    CHECKPOINT_CONSTRAINTS,
    PAIR_CONSTRAINTS,
    TEXT_CONSTRAINTS,
    TRAINING_CONSTRAINTS,
    BertEstimator,
)
from sklearn_bert.estimators._class_head import ClassHead
from sklearn_bert.estimators._fit import FitCall, check_adapter
from sklearn_bert.estimators._nested_pretraining import (
    pretrain_first,
    pretraining_history,
    read_unlabeled,
)
from sklearn_bert.estimators._pairs import (
    check_pooling,
    compare_if_better,
    untrained_if_few,
)
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.estimators._recipe import Recipe
from sklearn_bert.estimators._self_training import (
    count_rounds,
    self_train,
)
from sklearn_bert.estimators._text_predictor import TextPredictor
from sklearn_bert.estimators._zero_shot import (
    attributes_of_no_X,
    check_without_texts,
    check_words,
    read_beside,
    read_classes,
)
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets._descriptions import Descriptions
from sklearn_bert.targets._labels import (
    AnyOfSeveral,
    Labels,
    OneOfSeveral,
    is_indicator,
    read_labels,
)
from sklearn_bert.targets._new_classes import check_go_on
from sklearn_bert.targets._sample_weight import read_sample_weight, with_mean_one
from sklearn_bert.targets._temperature import information_of
from sklearn_bert.targets._validation_split import Split
from sklearn_bert.text._columns import as_python
from sklearn_bert.text._input import Texts


class BertClassifier(ClassifierMixin, TextPredictor):
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
        warned about. More than the checkpoint has positions for is an error. None: the
        length that the checkpoint was made for.
    long_text : {"truncate", "head_tail", "window"}, default="truncate"
        What is read of a text that is longer than `max_length`: its beginning; a
        quarter of the length from its beginning and the rest from its end [3]_; or all
        of it, in windows, whose probabilities are averaged by the tokens that are new
        in each, in training as in prediction. Time grows in line with the length. The
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
        "auto" takes it for 10 to 6,000 pairs that have one label each where a
        cross-validated regression on it explains more of y than one on the vector of
        both texts together, and more than 0.01 (R2 [13]_); up to 200 pairs train the
        head alone, unless a parameter says how to train. Not with `max_epochs` or
        `learning_rate` as a number, `head_init="random"` or `partial_fit`.
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
    class_descriptions : dict or "auto", default=None
        What each class is: a text by label, or a list of texts. The head starts from
        these and the labelled texts, each class as if it had one text more, and
        `fit(None, labels)` classifies by these alone [11]_. "auto": the labels, where
        they are words that the checkpoint knows ("card_arrival" is read as "card
        arrival"), but not of pairs. Of an indicator by number of column (0, 1, ...): a
        text that has that label alone. Beside X it needs `head_init="probe"`. None:
        labels are names without a meaning.
    self_training : {"auto", False} or int, default="auto"
        How many rounds of self-training [12]_ follow the training where `unlabeled` is
        given to `fit`: the head, a logistic regression of the vectors, guesses the
        labels of these texts, and is fitted again with the labelled texts and the most
        confident guesses of each class, up to half of them in the last round. Of more
        than 2,000 of these texts so many are drawn. "auto": 3. False: `unlabeled` is
        for `pretraining` alone.
    max_epochs : int or "auto", default="auto"
        Passes over the training texts. "auto": 3 at least, and otherwise so many that
        there are about 30 times the cube root of n / 48 updates, with n texts; 0 where
        `pooling` takes the similarity of up to 200 pairs. Where labels are few, 64
        texts per class or less on average, or 2,000 in all of which each class has 64
        or more, and there is one label per text, it also chooses how they are learned:
        classes take turns, so that each is learned from equally often, whatever its
        texts weigh; a contrast of the texts is added to the loss [8]_, with the weight
        of the cross-entropy, or nine times that up to 64 texts per class of more than
        two classes; and the head is fitted again at the end, to the vectors as they are
        then and the classes as frequent, and of the weights, as they are [9]_. Where a
        regression on the vectors of the unchanged checkpoint, cross-validated, can
        hardly tell 64 texts per class or less apart, it leans to the classes that weigh
        more. With `long_text="window"`, with `trainable="head"` and where pairs are
        compared, there is no contrast, and labels are few up to 64 texts per class;
        with `trainable="head"` that last fit is all that counts.
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
    class_weight : dict, "balanced" or list of dict, default=None
        Weight of each class by label, or inversely to its share among the texts that
        are trained on. Where texts have several labels: "balanced" between 0 and 1 of
        each label, or a list of one dict `{0: ..., 1: ...}` per label. None: equal.
    label_smoothing : float, default=0.0
        Share of each target that is spread evenly over all classes [5]_.
    calibrate : bool, default=True
        Whether logits are divided by a temperature [10]_, so that probabilities say how
        often the predicted class is right; which one is predicted stays the same. It is
        fitted to the validation texts, where there are 32 or more. Without them it is
        set so that the model is as sure of the texts it was trained on as a regression
        on the vectors of the unchanged checkpoint, cross-validated, lets expect; with
        64 texts per class or less on average and `max_epochs="auto"`, so that it is as
        far from the shares of the classes, by the Kullback-Leibler divergence, as the
        R2 [13]_ of that regression lets expect, and between 1 and 5. Texts with several
        labels are left as they are.
    early_stopping : bool, default=False
        Whether to validate after each epoch, stop when the score no longer rises, and
        keep the weights of the best epoch. The score is that of `X_val`, or else of a
        part of the texts that is held out, stratified unless texts have several labels.
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
        Whether `fit` goes on with the weights of an earlier `fit`, of the same classes
        or fewer, instead of the checkpoint's; `history_` goes on as well.
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
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; of an indicator the numbers of its columns.
    multilabel_ : bool
        Whether `y` was an indicator, so that a text may have several labels.
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
    temperature_ : float
        What the logits were divided by; 1 where nothing was calibrated. A fit that goes
        on keeps that of the earlier one, unless there are new classes and enough texts
        to validate on.
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
    self_training_report_ : dict
        `n_rounds`, `n_texts` (distinct ones of `unlabeled` that are neither in X nor in
        `X_val`) and `n_guessed`, a list: the guesses of each of `classes_` that counted
        in the last round. Only with self-training.
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
    .. [5] C. Szegedy et al., "Rethinking the Inception Architecture for Computer
       Vision", CVPR 2016, section 7.
    .. [6] S. Gururangan et al., "Don't Stop Pretraining: Adapt Language Models to
       Domains and Tasks", ACL 2020.
    .. [7] A. Kumar, A. Raghunathan, R. Jones, T. Ma, P. Liang, "Fine-Tuning Can Distort
       Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    .. [8] B. Gunel, J. Du, A. Conneau, V. Stoyanov, "Supervised Contrastive Learning
       for Pre-trained Language Model Fine-tuning", ICLR 2021.
    .. [9] B. Kang et al., "Decoupling Representation and Classifier for Long-Tailed
       Recognition", ICLR 2020.
    .. [10] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern
       Neural Networks", ICML 2017, section 4.2.
    .. [11] M.-W. Chang, L. Ratinov, D. Roth, V. Srikumar, "Importance of Semantic
       Representation: Dataless Classification", AAAI 2008.
    .. [12] Y. Zou, Z. Yu, B. V. K. Vijaya Kumar, J. Wang, "Unsupervised Domain
       Adaptation for Semantic Segmentation via Class-Balanced Self-Training", ECCV
       2018.
    .. [13] D. McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior",
       in: Frontiers in Econometrics, 1974: the share of the log loss that is avoided.

    Examples
    --------
    >>> from sklearn_bert import BertClassifier
    >>> texts = ["I love it", "Great!", "Awful", "I hate it"] * 4
    >>> labels = ["good", "good", "bad", "bad"] * 4
    >>> clf = BertClassifier(random_state=0).fit(texts, labels)
    >>> clf.predict(["I really love it", "I really hate it"])
    array(['good', 'bad'], dtype='<U4')

    Several labels per text:

    >>> topics = [[1, 0], [1, 0], [0, 1], [1, 1]] * 4
    >>> several = BertClassifier(trainable="head").fit(texts, topics)
    >>> several.predict_proba(["I really love it"]).shape
    (1, 2)

    Without labelled texts:

    >>> topics = {"HUM": "a person", "LOC": "a place", "NUM": "a number"}
    >>> zero_shot = BertClassifier(class_descriptions=topics).fit(None, list(topics))
    >>> zero_shot.predict(["Who wrote Hamlet?", "Where is the Louvre?"])
    array(['HUM', 'LOC'], dtype='<U3')
    """

    _private_state = (*BertEstimator._private_state, "_indicator")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CHECKPOINT_CONSTRAINTS,
        **TEXT_CONSTRAINTS,
        **PAIR_CONSTRAINTS,
        **TRAINING_CONSTRAINTS,
        **AUTO_CONSTRAINTS,
        "scoring": [str, callable, None],
        "head_init": [StrOptions({"probe", "random"})],
        "class_descriptions": [dict, StrOptions({"auto"}), None],
        "self_training": [
            StrOptions({"auto"}),
            "boolean",
            Interval(Integral, 1, None, closed="left"),
        ],
        "pretraining": [BertPretrainer, None],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "calibrate": ["boolean"],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
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
        class_descriptions: dict[Any, str | list[str]] | str | None = None,
        self_training: str | bool | int = "auto",
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        dropout: float | None = None,
        class_weight: dict[Any, float] | list[dict[int, float]] | str | None = None,
        label_smoothing: float = 0.0,
        calibrate: bool = True,
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
        self.class_descriptions = class_descriptions
        self.self_training = self_training
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.dropout = dropout
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.calibrate = calibrate
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
        X: ArrayLike | None,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        unlabeled: ArrayLike | None = None,
    ) -> Self:
        """Fine-tune the checkpoint on labelled texts.

        Parameters
        ----------
        X : column of texts, or two columns of sentence pairs, of length n_texts
            A list, tuple, array, or a pandas, polars or Arrow column or frame; or a
            list of 2-tuples. None: there are `class_descriptions` alone, and nothing
            is trained; a text has the class whose description is the most similar.
        y : array-like of shape (n_texts,), or of 0 and 1, (n_texts, n_labels)
            Labels of any kind: str, int, bool, category. A 2-D indicator, dense or
            sparse, says which labels each text has: any number of them. Without X:
            the classes, each once.
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
            Texts without labels, for `self_training`, and for `pretraining` to adapt
            to. Refused where the fit goes on from an earlier one. None: there are none.

        Returns
        -------
        self : BertClassifier

        Raises
        ------
        TypeError, ValueError
            Where X, y or a parameter is wrong; before the checkpoint is read, which
            alone tells whether labels are words.
        CheckpointError
            Where the checkpoint is not found or cannot be read.
        FloatingPointError
            Where the loss is no longer finite, naming the update, or where answers are
            not after the last.
        BertOutOfMemoryError
            Where not even one text fits into the device's memory.
        """
        if X is None:
            given = {"sample_weight": sample_weight, "groups": groups}
            given |= {"X_val": X_val, "y_val": y_val, "unlabeled": unlabeled}
            check_without_texts(self, given)
            return self._fit_zero_shot(y)
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
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from some more texts: one epoch over them, at a steady rate.

        The first call begins with the checkpoint, the others go on with the weights
        they find, be they from `fit` or from `partial_fit`. AdamW's moments begin anew
        in each call, for a fitted estimator keeps no optimizer; the rate rises in the
        first ten updates, so hand in hundreds of texts at a time, not one batch.

        Unlike in scikit-learn's own estimators, a later call may bring new classes, in
        `classes`. The scores of the others stay as they are until something is learnt.
        What is not in X is forgotten, old classes first of all: hand in some texts of
        each with those of the new ones, as the guide measures.

        Parameters
        ----------
        X : as in `fit`, of length n_texts
        y : as in `fit`
        classes : array-like of shape (n_classes,), default=None
            All labels: those that are known, and any that this call or a later one
            will bring. Of an indicator the numbers of its columns, new ones behind the
            others. None: those of the first `y`.
        sample_weight : as in `fit`

        Returns
        -------
        self : BertClassifier

        Raises
        ------
        ValueError
            As in `fit`, where a label is not among the classes, a known class is not
            among `classes`, `class_weight` is "balanced", or `early_stopping` is True.

        Examples
        --------
        >>> from sklearn_bert import BertClassifier
        >>> texts = ["I love it", "Great!", "Awful", "I hate it"] * 8
        >>> labels = ["good", "good", "bad", "bad"] * 8
        >>> clf = BertClassifier(trainable="head").fit(texts, labels)

        A class more, with some of the texts that were learnt before:

        >>> texts = ["Where is it?", "Who are you?"] * 8 + texts[:8]
        >>> labels = ["question"] * 16 + labels[:8]
        >>> clf = clf.partial_fit(texts, labels, classes=[*clf.classes_, "question"])
        >>> clf.predict(["Who is it?", "I love this"])
        array(['question', 'good'], dtype='<U8')
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight is 'balanced', which partial_fit cannot do: it does not "
                "know the shares of what is to come. Pass a dict of weights."
            )
        return self._fit(X, y, sample_weight, classes=classes, is_partial=True)

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
        classes: ArrayLike | None = None,
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
            rounds = count_rounds(self, y, unlabeled)
            more = read_unlabeled(self, call, unlabeled, like=texts if rounds else None)
            labels, described = self._choose_labels(call, y, texts, classes)
            texts, targets, split = self._split(
                call, labels, texts, y, sample_weight, groups, valid_texts, y_val
            )
            adapted = pretrain_first(self, call, texts, split.train, more)
            # 2. Load the checkpoint, or the model of the earlier fit.
            call.reserve_device()
            model, tokenizer = call.go_on(self.trainable) or self._load(
                len(labels.classes), of_pairs=texts.second is not None, adapted=adapted
            )
            # 3. Tokenise.
            train, valid = split.examples(tokenizer(texts), targets, split.weights)
            # 4. Train. The head starts from the vectors, and comes back to them.
            if isinstance(labels, OneOfSeveral):
                model = compare_if_better(
                    self, call, texts, model, tokenizer, train, information_of
                )
            recipe = self._choose_recipe(call, labels, train.targets[train.rows], model)
            head = ClassHead(
                self, call, labels, model, tokenizer, train, recipe, described
            )
            head.start()
            attributes |= labels.attributes() | head.attributes()
            fitted = call.train(
                model,
                tokenizer,
                labels.loss(self.label_smoothing, recipe.contrast_weight),
                train,
                valid,
                attributes | pretraining_history(self, call, adapted),
                recipe=recipe,
                adapter=self.adapter,
                adapter_rank=self.adapter_rank,
                layer_decay=self.layer_decay,
            )
            head.refit()
            if rounds > 0:
                fitted |= self_train(call, head, texts, more, rounds)
            head.correct_prior(fitted["net_"])
            fitted |= head.calibrate(fitted["net_"], valid)
            # 5. Publish.
            return self._publish(**fitted)

    def _fit_zero_shot(self, y: ArrayLike) -> Self:
        """Make a classifier of the descriptions alone; y holds each class once."""
        with FitCall(self, None, y, n_epochs=0) as call:
            # 1. Read the classes and what they are.
            check_pooling(self, None)
            labels, descriptions = read_classes(self, y)
            attributes = attributes_of_no_X(self) | labels.attributes()
            attributes["temperature_"] = 1.0
            # 2. Load the checkpoint.
            call.reserve_device()
            model, tokenizer = self._load(
                len(labels.classes), of_pairs=False, adapted=None
            )
            check_words(descriptions, labels, tokenizer)
            # 3. Tokenise.
            table = tokenizer(descriptions.texts)
            # 4. Nothing is trained: the vectors of the descriptions are the head.
            vectors = call.head_vectors(model, tokenizer, table)
            model.set_head(*descriptions.head(vectors))
            recipe = self._choose_recipe(call, labels, descriptions.codes, model)
            # 5. Publish.
            return self._publish(
                **call.train_nothing(
                    model, tokenizer, table, attributes, recipe.untrained()
                )
            )

    def _choose_labels(
        self, call: FitCall, y: ArrayLike, texts: Texts, classes: ArrayLike | None
    ) -> tuple[Labels, Descriptions | None]:
        """Return the labels of y, and what says what they are.

        Those of the earlier fit are among them where this one goes on.
        """
        known = self._labels if call.goes_on else None
        # A wrong label in a portion of the texts must not become a class unasked.
        may_grow = classes is not None or not call.is_partial
        # A portion may lack some of the classes.
        if known is not None and not may_grow and not is_indicator(y):
            classes = known.classes
        labels = read_labels(y, texts, classes)
        if known is not None:
            check_go_on(known, labels, may_grow=may_grow)
        return labels, read_beside(self, labels, texts)

    def _split(
        self,
        call: FitCall,
        labels: Labels,
        texts: Texts,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        groups: ArrayLike | None,
        valid_texts: Texts | None,
        y_val: ArrayLike | None,
    ) -> tuple[Texts, np.ndarray, Split]:
        """Return all texts and their targets, and which of them are trained on.

        Validation texts stand behind the others, in one table.
        """
        own_targets = targets = labels.encode(y)
        n_valid = None
        if valid_texts is not None:
            targets = np.concatenate([targets, labels.encode(y_val, "y_val")])
            texts, n_valid = texts.joined(valid_texts), len(valid_texts)
        split = call.split(
            read_sample_weight(sample_weight, len(own_targets)),
            n_valid,
            groups=groups,
            # An indicator is not stratified: many of its rows occur once.
            codes=targets if targets.ndim == 1 else None,
            what=_described(labels, own_targets),
        )
        return texts, targets, self._weigh_classes(labels, targets, split)

    def _choose_recipe(
        self, call: FitCall, labels: Labels, targets: np.ndarray, model: TextModel
    ) -> Recipe:
        """Return how to train; few labels are for a fit that begins anew."""
        n_texts, class_counts = len(targets), None
        if isinstance(labels, OneOfSeveral) and not call.goes_on:
            class_counts = np.bincount(targets, minlength=len(labels.classes))
        recipe = Recipe.of(
            self,
            n_texts,
            model.width,
            call.is_partial,
            class_counts=class_counts,
            # Vectors that learn, and one per text.
            has_vectors=(
                self.trainable != "head"
                and self.long_text != "window"
                and model.pooling != "similarity"
            ),
        )
        return untrained_if_few(self, call, model, n_texts, recipe)

    @property
    def _labels(self) -> Labels:
        if self.multilabel_:
            return AnyOfSeveral(self.classes_, *self._indicator)
        return OneOfSeveral(self.classes_)

    def _weigh_classes(
        self, labels: Labels, targets: np.ndarray, split: Split
    ) -> Split:
        """Multiply sample weights with class weights, and scale their mean to 1.

        Classes are balanced over the rows to train on; held-out ones say nothing.
        """
        weights, train = split.weights, split.train
        if targets.ndim == 2:
            weights = weights[:, None]
        if self.class_weight is not None:
            # By a power of 2, which rounds nothing: great ones would become infinite.
            weights = np.ldexp(weights, -int(np.frexp(weights.max())[1]))
            flat = weights.reshape(len(weights), -1)[:, 0]
            factors = labels.class_weights(self.class_weight, targets, flat, train)
            is_trained = np.isin(np.arange(len(weights)), train)
            is_trained = is_trained.reshape(-1, *[1] * (factors.ndim - 1))
            # Others are validated on, and scored as `score` does.
            weights = np.where(is_trained, weights * factors, weights)
            trained = weights[train]
            if not (np.isfinite(trained).all() and trained.min() >= 0 < trained.max()):
                raise ValueError(
                    f"class_weight is {self.class_weight!r}; expected weights of 0 or "
                    "more, and more than 0 for some text."
                )
            # A class of weight 0 leaves its texts out, as `sample_weight` does.
            train = train[trained.reshape(len(trained), -1).max(axis=1) > 0]
        return Split(train, split.valid, with_mean_one(weights, train))

    def predict(self, X: ArrayLike) -> Any:
        """Predict the most probable label of each text, or all probable ones.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts,), or indicator of shape (n_texts, n_labels)
            Labels, of the kind that `fit` was given. Of several labels those whose
            probability is over one half.
        """
        # First: it raises NotFittedError where `_labels` would raise AttributeError.
        proba = self.predict_proba(X)
        return self._labels.decide(proba)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts, n_classes), float64
            Columns in the order of `classes_`. They add up to 1, but not where a text
            may have several labels: there each is a probability of its own.
        """
        check_is_fitted(self)
        return self._labels.proba(self._logits(X))

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Compute the logits: `predict_proba` is their softmax (binary: sigmoid).

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts,) for two classes, else (n_texts, n_classes), float32
            For two classes the logit of `classes_[1]` less that of `classes_[0]`. For
            several labels per text the logit of each, whose sigmoid is its probability.
        """
        check_is_fitted(self)
        return self._labels.decision(self._logits(X))

    def _logits(self, X: ArrayLike) -> np.ndarray:
        return self._compute_scores(X) / np.float32(self.temperature_)

    def _compute_scores(self, X: ArrayLike) -> np.ndarray:
        return self._compute(X, self.net_.scores, self._labels.merge_windows)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _described(labels: Labels, targets: np.ndarray) -> str:
    if targets.ndim == 2:
        return f"texts with {len(labels.classes)} labels"
    counts = np.bincount(targets, minlength=len(labels.classes))
    fewest = counts.argmin()
    return (
        f"texts in {len(counts)} classes (fewest: {counts[fewest]} of "
        f"{as_python(labels.classes[fewest])!r})"
    )
