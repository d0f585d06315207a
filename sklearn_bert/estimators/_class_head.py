"""The head of a classifier in one call of fit: its start, its end, how sure it is."""

from __future__ import annotations

from typing import Any

from sklearn_bert.estimators._fit import FitCall
from sklearn_bert.estimators._recipe import Recipe
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets._descriptions import Descriptions, HeadInputs
from sklearn_bert.targets._labels import Labels, OneOfSeveral
from sklearn_bert.targets._temperature import (
    ENOUGH_TEXTS,
    confidence_to_have,
    temperature_of_confidence,
    temperature_of_held_out,
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
        descriptions: Descriptions | None = None,
    ) -> None:
        self.estimator = estimator
        self.call = call
        self.labels = labels
        self.model = model
        self.tokenizer = tokenizer
        self.train = train
        self.descriptions = descriptions
        self.described: TokenTable | None = None
        self.confidence: float | None = None

    def attributes(self) -> dict[str, Any]:
        """Return the temperature of the earlier fit where this one goes on, else 1."""
        before = getattr(self.estimator, "temperature_", 1.0)
        return {"temperature_": before if self.call.goes_on else 1.0}

    def start(self) -> None:
        """Look at the vectors of the unchanged model: the head may start from them.

        They also tell how sure the model may be when it has learned.
        """
        if self.call.goes_on:
            return
        is_probe = self.estimator.head_init == "probe"
        # An indicator has no one class to be sure of.
        calibrates = self.estimator.calibrate and isinstance(self.labels, OneOfSeveral)
        if not (is_probe or calibrates):
            return
        inputs = self.call.head_inputs(self.model, self.tokenizer, self.train)
        if is_probe:
            self._tokenise_descriptions()
            self._fit(inputs)
        if calibrates:
            vectors, codes, _ = inputs
            self.confidence = confidence_to_have(
                vectors, codes, self.call.seeds("calibrate")
            )

    def _tokenise_descriptions(self) -> None:
        """Read what the classes are, and warn where that is cut or unknown."""
        descriptions, tokenizer = self.descriptions, self.tokenizer
        if descriptions is not None and descriptions.can_be_read(tokenizer):
            self.described = tokenizer(descriptions.texts)
            warn_of(text_reports(tokenizer, self.described))

    def _fit(self, inputs: HeadInputs) -> None:
        """Fit the head to texts, and to the descriptions of their classes."""
        if self.descriptions is not None and self.described is not None:
            vectors = self.call.head_vectors(self.model, self.tokenizer, self.described)
            inputs = self.descriptions.after(inputs, vectors)
        self.model.set_head(*self.labels.probe(*inputs))

    def refit(self, recipe: Recipe) -> None:
        """Fit the head once more where labels are few.

        To the vectors as they are after the training. In that classes were equally
        frequent; here they are as frequent as they are.
        """
        if recipe.has_few_labels:
            self._fit(self.call.head_inputs(self.model, self.tokenizer, self.train))

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
        if self.confidence is None:
            return {}
        is_held_out = valid is not None and len(valid) >= ENOUGH_TEXTS
        examples = valid if valid is not None and is_held_out else self.train
        rows = self.call.some_of(examples.rows)
        assert isinstance(examples.table, TokenTable)
        logits = net.scores(
            examples.table.take(rows), self.labels.merge_windows, remember=False
        )
        if is_held_out:
            temperature = temperature_of_held_out(logits, examples.targets[rows])
        else:
            temperature = temperature_of_confidence(logits, self.confidence)
        return {"temperature_": temperature}
