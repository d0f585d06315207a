"""`BertTokenClassifier`: fine-tune BERT to tag every word of a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._process._sklearn import fit_context
from sklearn_bert.estimators._base import (
    AUTO_CONSTRAINTS,
    CHECKPOINT_CONSTRAINTS,
    TRAINING_CONSTRAINTS,
    BertEstimator,
)
from sklearn_bert.estimators._fit import FitCall, check_adapter, refuse_name
from sklearn_bert.estimators._recipe import Recipe
from sklearn_bert.estimators._texts import check_validation_lengths
from sklearn_bert.targets._answers import Rows
from sklearn_bert.targets._sample_weight import read_sample_weight, with_mean_one
from sklearn_bert.targets._tags import TagSet, read_tag_set, read_tags
from sklearn_bert.text._reports import text_reports, warn_of
from sklearn_bert.text._words import check_words, tokenize_words
from sklearn_bert.training._losses import TokenCrossEntropy


class BertTokenClassifier(BertEstimator):
    """Tag every word: names in texts, parts of speech, by fine-tuning BERT.

    X holds sentences that are split into words already, and y a tag for each word. A
    linear head on the state of each word's first piece is trained with the encoder, as
    in [1]_, section 5.3. Pieces are aligned with words inside, and a sentence that is
    longer than the model is read in windows, so that every word gets its tag. `score`
    is the F1 of entities, as seqeval [3]_ computes it.

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
    max_length : int, default=None
        Tokens that are read at a time, special ones included; a longer sentence is read
        in windows that overlap by half. More than the checkpoint has positions for is
        an error. None: the length that the checkpoint was made for.
    trainable : {"all", "head"} or int, default="all"
        What learns: everything; the head alone; or the head and so many top layers. As
        many as there are layers: all but the embeddings. What does not learn drops
        nothing either.
    adapter : {"lora"}, default=None
        "lora": train low-rank additions [2]_ to the encoder's matrices instead of the
        matrices, with the extra `lora`; saves the memory of the optimizer, takes a
        learning rate about ten times as high, and is merged into the weights at the end
        of `fit`. None: train the weights themselves.
    adapter_rank : int, default=8
        Rank of the additions of `adapter`: a greater one learns more and takes more
        memory. They are scaled by 2, whatever the rank.
    max_epochs : int or "auto", default="auto"
        Passes over the training sentences. "auto": 3 at least, and otherwise so many
        that there are about 30 times the cube root of n / 48 updates, with n sentences.
    batch_size : int or "auto", default="auto"
        Sentences per update. Where so many do not fit into the device's memory, they
        pass through it in parts, and the update stays the same. "auto": 32, or all
        where they are fewer.
    learning_rate : float or "auto", default="auto"
        Peak step size of the encoder's weights, reached after warm-up. The head, which
        starts from nothing, takes steps ten times as long, and a hundred times where it
        learns alone. "auto": 1e-4, and in inverse proportion less where the checkpoint
        is wider than 384.
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
    early_stopping : bool, default=False
        Whether to validate after each epoch, stop when the score no longer rises, and
        keep the weights of the best epoch. The score is that of `X_val`, or else of a
        part of the sentences that is held out.
    validation_fraction : float, default=0.1
        Share of the sentences (or of their groups) held out; used only with
        `early_stopping` and without `X_val`.
    n_iter_no_change : int, default=2
        Epochs without a better validation score after which training stops.
    scoring : str or callable, default=None
        The score that `early_stopping` watches, greater being better, and that
        `history_` has: a name of `sklearn.metrics.get_scorer_names()` (computed of all
        words, each with its tag), or a function of a fitted estimator, X and y, as of
        `make_scorer`. None: what `score` computes. Of no effect without validation.
    warm_start : bool, default=False
        Whether `fit` goes on with the weights of an earlier `fit`, of the same tags,
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
    classes_ : ndarray of shape (n_tags,)
        The tags, sorted.
    n_iter_ : int
        Epochs run, including those of earlier calls that this one went on with.
    history_ : list of dict
        One per epoch, if any: `epoch`, `train_loss`, `valid_loss` and `valid_score`
        (that of `score`, or of `scoring`) where there is validation, `learning_rate`
        (of the epoch's last update), `skipped_updates` (those that overflowed; in
        float16), `texts_per_second` (sentences), `seconds`.
    learning_rate_ : float
        The peak learning rate, as given or chosen.
    max_epochs_ : int
        The most epochs, as given or chosen.
    batch_size_ : int
        Sentences per update, as given or chosen.
    max_length_ : int
        Tokens that are read at a time.
    batch_size_used_ : int
        Most sentences that passed through the model at a time: `batch_size`, or less
        where memory ran out. On a CPU fewer pass where sentences are long.
    unknown_report_ : dict
        Of the sentences in fit: `n_texts`, `n_unknown_texts` (without a word that the
        checkpoint knows), `n_tokens` and `n_unknown`.
    net_ : BertNet
        The skorch net with the trained network.
    tokenizer_ : TextTokenizer
        The tokenizer with its length limit.
    n_features_in_ : int
        1: X is one column of sentences.

    See Also
    --------
    BertClassifier : One label, or several, for a whole text.

    Notes
    -----
    After `fit` the weights rest in float32 on the CPU, and neither gradients nor
    optimizer are kept.

    A word that the tokenizer makes nothing of, such as `""`, is read as an unknown one
    and gets a tag as well.

    Do not pass `y` itself to scikit-learn's
    `cross_val_predict(..., method="predict_proba")`: where all sentences are of one
    length it encodes `y` column by column, and the tagger learns scrambled tags. Pass
    it by `params`, as `predict_proba` shows.

    References
    ----------
    .. [1] J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT: Pre-training of Deep
       Bidirectional Transformers for Language Understanding", NAACL 2019.
    .. [2] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models",
       ICLR 2022.
    .. [3] H. Nakayama, "seqeval: A Python framework for sequence labeling evaluation",
       2018.
    .. [4] K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators
       Rather Than Generators", ICLR 2020, appendix B.

    Examples
    --------
    >>> from sklearn_bert import BertTokenClassifier
    >>> X = [["Ada", "went", "to", "Oslo"], ["Oslo", "knows", "Ada"]] * 8
    >>> y = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "O", "B-PER"]] * 8
    >>> tagger = BertTokenClassifier(learning_rate=2e-4, max_epochs=8, random_state=0)
    >>> tagger.fit(X, y).predict([["Ada", "knows", "Oslo"]])
    [['B-PER', 'O', 'B-LOC']]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CHECKPOINT_CONSTRAINTS,
        **TRAINING_CONSTRAINTS,
        **AUTO_CONSTRAINTS,
        "scoring": [str, callable, None],
    }

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        revision: str | None = None,
        max_length: int | None = None,
        trainable: str | int = "all",
        adapter: str | None = None,
        adapter_rank: int = 8,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        dropout: float | None = None,
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
        self.max_length = max_length
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
    ) -> Self:
        """Fine-tune the checkpoint on tagged sentences.

        Parameters
        ----------
        X : sequence of n_sentences sequences of words
            A list, tuple, array, or a pandas, polars or Arrow column, of lists of str.
            A list may be empty.
        y : sequence of n_sentences sequences of tags
            One tag per word: in BIO (`"B-PER"`, `"I-PER"`, `"O"`) or flat (`"NOUN"`, or
            numbers).
        sample_weight : array-like of shape (n_sentences,), default=None
            How much each sentence weighs in the loss: 0 leaves it out, 2 weighs twice
            as much as 1. None: all weigh alike.
        groups : array-like of shape (n_sentences,), default=None
            Sentences of one group (a document, say) are not divided by
            `early_stopping`. None: each sentence is its own group.
        X_val, y_val : as X and y, default=None
            Sentences to validate on after each epoch, for `history_` and
            `early_stopping`. None: `early_stopping` holds out a part of X.

        Returns
        -------
        self : BertTokenClassifier

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
            Where not even one sentence fits into the device's memory.

        Warns
        -----
        UserWarning
            Where an entity begins with an `I-` tag; it is read as it is written.
        """
        return self._fit(X, y, sample_weight, groups=groups, X_val=X_val, y_val=y_val)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from some more sentences: one epoch over them, at a steady rate.

        The first call begins with the checkpoint, the others go on with the weights
        they find, be they from `fit` or from `partial_fit`. AdamW's moments begin anew
        in each call, for a fitted estimator keeps no optimizer; the rate rises in the
        first ten updates, so hand in hundreds of sentences at a time, not one batch.

        Parameters
        ----------
        X : as in `fit`
        y : as in `fit`
        classes : array-like of shape (n_tags,), or set, default=None
            All tags that any call will bring. None: those of the first `y`.
        sample_weight : as in `fit`

        Returns
        -------
        self : BertTokenClassifier
        """
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
            own_sentences = sentences = check_words(X)
            own_tags = tags = read_tags(y, sentences)
            n_valid = None
            if X_val is not None:
                valid_sentences = _read_validation(X_val, y_val)
                n_valid = len(valid_sentences)
                sentences = sentences + valid_sentences
                tags = tags + read_tags(y_val, valid_sentences, "y_val")
            # A tag that only X_val has could not be learnt: `encode` refuses it.
            tag_set = self._choose_tags(call, own_tags, classes)
            targets = tag_set.encode(tags, len(own_sentences))
            n_words = np.array([len(sentence) for sentence in sentences])
            weights = _weigh_sentences(sample_weight, n_words[: len(own_sentences)])
            split = call.split(weights, n_valid, groups=groups, what="sentences")
            # 2. Load the checkpoint, or the model of the earlier fit.
            call.reserve_device()
            model, tokenizer = call.go_on(self.trainable) or self._load_model(
                trainable=self.trainable,
                pooling="mean",  # of no effect: each word has a state of its own
                n_outputs=len(tag_set.classes),
                dropout=self.dropout,
            )
            # 3. Tokenise: targets and weights are those of words.
            # The loss is a mean over words, so their weights are scaled to mean 1.
            sentence_of_word = np.repeat(np.arange(len(sentences)), n_words)
            is_trained = np.isin(sentence_of_word, split.train)
            train, valid = split.examples(
                tokenize_words(tokenizer, sentences),
                targets,
                with_mean_one(split.weights[sentence_of_word], is_trained),
            )
            # 4. Train.
            fitted = call.train(
                model,
                tokenizer,
                TokenCrossEntropy(tag_set.score),
                train,
                valid,
                {"n_features_in_": 1, "classes_": tag_set.classes},
                recipe=Recipe.of(self, len(train), model.width, call.is_partial),
                adapter=self.adapter,
                adapter_rank=self.adapter_rank,
                layer_decay=self.layer_decay,
            )
            # 5. Publish.
            return self._publish(**fitted)

    def _choose_tags(
        self, call: FitCall, tags: list[list[Any]], classes: ArrayLike | None
    ) -> TagSet:
        """Return the tags of y; those of the earlier fit where this one goes on."""
        is_known = call.goes_on
        # A portion of the sentences may lack some of the tags.
        if is_known and call.is_partial and classes is None:
            return TagSet(self.classes_)
        found = TagSet.of(tags) if classes is None else read_tag_set(classes)
        if is_known and not np.array_equal(found.classes, self.classes_):
            raise ValueError(
                f"the tags are {found.classes.tolist()}, but those of the earlier call "
                f"were {self.classes_.tolist()}; training can only go on with the same "
                "ones. Pass all of them as classes in the first call of partial_fit, "
                "or set warm_start=False."
            )
        return found

    def predict(self, X: ArrayLike) -> list[list[Any]]:
        """Predict the most probable tag of each word.

        Parameters
        ----------
        X : as in `fit`, of n_sentences sentences

        Returns
        -------
        list of n_sentences lists of tags
            As many as the sentence has words. NumPy reads it as an array of n_sentences
            lists, of any lengths, so that `cross_val_predict` takes it.
        """
        probabilities = self.predict_proba(X)
        return Rows(self.classes_[p.argmax(axis=1)].tolist() for p in probabilities)

    def predict_proba(self, X: ArrayLike) -> list[np.ndarray]:
        """Predict the probability of each tag for each word.

        Parameters
        ----------
        X : as in `fit`, of n_sentences sentences

        Returns
        -------
        list of n_sentences ndarrays of shape (n_words, n_tags), float64
            Columns in the order of `classes_`. NumPy reads it as an array of
            n_sentences arrays.

        Notes
        -----
        `cross_val_predict` of scikit-learn cannot encode lists of tags, which it does
        with `y` for probabilities alone; pass them by `params`:
        `cross_val_predict(tagger, X, method="predict_proba", params={"y": y})`.
        """
        check_is_fitted(self)
        sentences = check_words(X)
        n_words = [len(sentence) for sentence in sentences]
        scores = self._compute_scores(sentences)
        probabilities = softmax(scores.astype(np.float64), axis=1)
        return Rows(np.split(probabilities, np.cumsum(n_words)[:-1]))

    def _compute_scores(self, sentences: list[list[str]]) -> np.ndarray:
        # Sentences without any word make a table without rows, which nothing computes.
        if not any(sentences):
            return np.zeros((0, len(self.classes_)))
        table = tokenize_words(self.tokenizer_, sentences)
        warn_of(text_reports(self.tokenizer_, table))
        return self.net_.scores(table)

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compute the entity F1 of the predictions, or the share of right tags.

        Parameters
        ----------
        X : as in `fit`
        y : as in `fit`
            The true tags.
        sample_weight : array-like of shape (n_sentences,), default=None
            Only for tags without entities. None: all sentences weigh alike.

        Returns
        -------
        float
            In BIO: F1 over the entities of all sentences (micro), as seqeval
            computes it: an entity counts where its kind, beginning and end are right.
            Flat tags with an `"O"`: likewise, where words of the same tag that follow
            each other make an entity. Other flat tags: the share of words whose tag is
            right.
        """
        check_is_fitted(self)
        refuse_name(y, "y")  # which `FitCall` does in a fit
        sentences = check_words(X)
        true = read_tags(y, sentences, warns=False)
        if sample_weight is not None:
            sample_weight = read_sample_weight(sample_weight, len(sentences))
        return TagSet(self.classes_).compare(
            true, self.predict(sentences), sample_weight
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def __sklearn_text_input__(self) -> str:
        """Tell `check_text_estimator` to hand in sentences of words."""
        return "words"


def _weigh_sentences(
    sample_weight: ArrayLike | None, n_words: np.ndarray
) -> np.ndarray:
    """Return the sample weights, with 0 for sentences without a word."""
    weights = read_sample_weight(sample_weight, len(n_words))
    weights[n_words == 0] = 0.0  # nothing is learnt from them
    if not weights.any():
        raise ValueError(
            f"none of the {len(weights)} sentences in X has a word and a weight over "
            "0; nothing could be learnt."
        )
    return weights


def _read_validation(
    X_val: ArrayLike | None, y_val: ArrayLike | None
) -> list[list[str]]:
    """Return the sentences to validate on, some of which have words."""
    check_validation_lengths(X_val, y_val)
    sentences = check_words(X_val, "X_val")
    if not any(sentences):
        raise ValueError(
            f"none of the {len(sentences)} sentences in X_val has a word; nothing "
            "could be validated."
        )
    return sentences
