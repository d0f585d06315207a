"""The head of a classifier in one call of fit: its start, its end, how sure it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax

from sklearn_bert.estimators._fit import FitCall
from sklearn_bert.estimators._recipe import Recipe
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets._descriptions import Descriptions, HeadInputs
from sklearn_bert.targets._labels import Labels, OneOfSeveral
from sklearn_bert.targets._new_classes import rows_of_new
from sklearn_bert.targets._temperature import (
    ENOUGH_TEXTS,
    confidence_to_have,
    information_to_have,
    temperature_of_confidence,
    temperature_of_held_out,
    temperature_of_information,
)
from sklearn_bert.text._reports import text_reports, warn_of
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._net import BertNet


class ClassHead:
    """Starts the head before the training, and finishes it after.

    Parameters
    ----------
    estimator : BertClassifier
    call : FitCall
    labels : Labels
    model : TextModel
    tokenizer : TextTokenizer
    train : Examples
    recipe : Recipe
    descriptions : Descriptions or None
        Of the classes; None: there are none.
    """

    def __init__(
        self,
        estimator: Any,
        call: FitCall,
        labels: Labels,
        model: TextModel,
        tokenizer: TextTokenizer,
        train: Examples,
        recipe: Recipe,
        descriptions: Descriptions | None = None,
    ) -> None:
        self.estimator = estimator
        self.call = call
        self.labels = labels
        self.model = model
        self.tokenizer = tokenizer
        self.train = train
        self.has_few_labels = recipe.has_few_labels
        self.leans = recipe.leans
        self.descriptions = descriptions
        self.grows = call.goes_on and len(labels.classes) > len(estimator.classes_)
        # An indicator has no one class to be sure of.
        has_one_label = isinstance(labels, OneOfSeveral)
        starts = self.grows or not call.goes_on
        self.calibrates = estimator.calibrate and has_one_label and starts
        self.is_trained = recipe.max_epochs > 0
        self.described: TokenTable | None = None
        # How sure the model may be when it has learned, and how much it may know.
        self.confidence: float | None = None
        self.information: float | None = None
        # Vectors of all texts after the training, where the head was fitted to them.
        self.learned: np.ndarray | None = None
        # What its logits are divided by because it knows less than it seems to.
        self.prior_temperature: float | None = None

    def attributes(self) -> dict[str, Any]:
        """Return the temperature of the earlier fit where this one goes on, else 1."""
        before = getattr(self.estimator, "temperature_", 1.0)
        return {"temperature_": before if self.call.goes_on else 1.0}

    def start(self) -> None:
        """Look at the vectors of the unchanged model: the head may start from them.

        They also tell how much of new texts it can know when it has learned. The head
        of an earlier fit stays, and grows where there are more classes than that knew.
        """
        if self.call.goes_on:
            if self.grows:
                self._grow()
            return
        is_probe = self.estimator.head_init == "probe"
        if not (is_probe or self.calibrates or self.leans):
            return
        inputs = self.call.head_inputs(self.model, self.tokenizer, self.train)
        if is_probe:
            self._tokenise_descriptions()
            self.model.set_head(*self.labels.probe(*self._with_descriptions(inputs)))
        vectors, codes, _ = inputs
        seed = self.call.seeds("calibrate")
        if self.leans:
            self.information = information_to_have(vectors, codes, seed)
        elif self.calibrates and self.is_trained:
            learns = not self.model.freezes_vectors
            self.confidence = confidence_to_have(vectors, codes, seed, learns=learns)

    def _grow(self) -> None:
        """Give the head a row for each new class, and leave the others as they are."""
        is_new = ~np.isin(self.labels.classes, self.estimator.classes_)
        rows = None
        if self.estimator.head_init == "probe":
            self._tokenise_descriptions()
            inputs = self.call.head_inputs(self.model, self.tokenizer, self.train)
            rows = rows_of_new(self._with_descriptions(inputs), is_new)
        self.model.grow_head(is_new, rows)

    def _tokenise_descriptions(self) -> None:
        """Read what the classes are, and warn where that is cut or unknown."""
        descriptions, tokenizer = self.descriptions, self.tokenizer
        if descriptions is not None and descriptions.can_be_read(tokenizer):
            self.described = tokenizer(descriptions.texts)
            warn_of(text_reports(tokenizer, self.described))

    def _with_descriptions(self, inputs: HeadInputs) -> HeadInputs:
        """Add the descriptions of the classes to the texts, where there are."""
        if self.descriptions is None or self.described is None:
            return inputs
        vectors = self.call.head_vectors(self.model, self.tokenizer, self.described)
        return self.descriptions.after(inputs, vectors)

    def refit(self) -> None:
        """Fit the head once more where labels are few.

        To the vectors as they are after the training. In that classes were equally
        frequent; here they are as frequent as they are.
        """
        if self.has_few_labels:
            self.model.set_head(*self.labels.probe(*self.learned_inputs()))

    def learned_inputs(self) -> HeadInputs:
        """Return what the head gets, after the training, of texts and descriptions.

        Of all texts to train on: a class that lacked a text would be forgotten.
        """
        most = len(self.train)
        inputs = self.call.head_inputs(self.model, self.tokenizer, self.train, most)
        self.learned = inputs[0]
        return self._with_descriptions(inputs)

    def correct_prior(self, net: BertNet) -> None:
        """Let the head lean to the more frequent classes where the recipe says so.

        The model has overfitted its texts, and seems to know more of them than it can
        know of others. So its logits z are shrunk to the shares p of the classes:
        log p + (z - log p) / T = (z + (T - 1) log p) / T. The head gets the bias, less
        its mean (of equal shares it is 0), and `calibrate` the T. Where a text has
        several windows, that holds for each of them.

        Parameters
        ----------
        net : BertNet
            With the model.
        """
        if not self.leans:
            return
        assert self.information is not None
        rows = self.train.rows
        shares = np.bincount(
            self.train.targets[rows],
            self.train.weights[rows],
            minlength=len(self.labels.classes),
        )
        if self.described is not None:  # a description counts as a text
            shares += 1
        # A class without a text to train on has some share, for a logarithm.
        prior = log_softmax(np.log(np.maximum(shares, np.finfo(np.float32).eps)))
        logits, rows = self._logits(net, self.train)
        self.prior_temperature = temperature_of_information(
            logits, self.train.weights[rows], prior, self.information
        )
        mean = np.exp(prior) @ prior
        net.shift_head((self.prior_temperature - 1) * (prior - mean))

    def calibrate(self, net: BertNet, valid: Examples | None) -> dict[str, Any]:
        """Return the temperature of the trained net, where it is to be calibrated.

        Parameters
        ----------
        net : BertNet
        valid : Examples or None
            Texts that were not trained on.

        Returns
        -------
        dict
            The fitted attribute that changes.
        """
        is_held_out = valid is not None and len(valid) >= ENOUGH_TEXTS
        # What a model that has learnt them knows of texts says nothing of others.
        if not self.calibrates or (self.grows and not is_held_out):
            return {}
        if valid is not None and is_held_out:
            logits, rows = self._logits(net, valid)
            temperature = temperature_of_held_out(logits, valid.targets[rows])
        elif self.prior_temperature is not None:
            temperature = self.prior_temperature
        elif self.confidence is None:
            return {}  # a regression alone is no surer of its texts than of others
        else:
            logits, _ = self._logits(net, self.train)
            temperature = temperature_of_confidence(logits, self.confidence)
        return {"temperature_": temperature}

    def _logits(
        self, net: BertNet, examples: Examples
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the logits of some of the examples; return them and their rows."""
        assert isinstance(examples.table, TokenTable)
        # A text in windows has the mean of what the head says of each.
        is_whole = examples.table.windows is None
        if examples is self.train and self.learned is not None and is_whole:
            return self.model.scores_of(self.learned), examples.rows
        rows = self.call.some_of(examples.rows)
        logits = net.scores(
            examples.table.take(rows), self.labels.merge_windows, remember=False
        )
        return logits, rows
