"""The head of a classifier in one call of fit: its start, its end, how sure it is."""

from __future__ import annotations

from typing import Any

from sklearn_bert.estimators._fit import FitCall
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets._labels import Labels, OneOfSeveral
from sklearn_bert.targets._temperature import (
    ENOUGH_TEXTS,
    confidence_to_have,
    temperature_of_confidence,
    temperature_of_held_out,
)
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._net import BertNet


class ClassHead:
    """Starts the head before the training, and finishes it after.

    Parameters
    ----------
    call : FitCall
    labels : Labels
    model : TextModel
    tokenizer : TextTokenizer
    train : Examples
    """

    def __init__(
        self,
        call: FitCall,
        labels: Labels,
        model: TextModel,
        tokenizer: TextTokenizer,
        train: Examples,
    ) -> None:
        self.call = call
        self.labels = labels
        self.model = model
        self.tokenizer = tokenizer
        self.train = train
        self.confidence: float | None = None

    def start(self, *, is_probe: bool, calibrates: bool) -> None:
        """Look at the vectors of the unchanged model.

        Parameters
        ----------
        is_probe : bool
            Whether the head starts as a linear model of them.
        calibrates : bool
            Whether they are to say how sure the model may become.
        """
        # An indicator has no one class to be sure of.
        calibrates = calibrates and isinstance(self.labels, OneOfSeveral)
        if not (is_probe or calibrates):
            return
        inputs = self.call.head_inputs(self.model, self.tokenizer, self.train)
        if is_probe:
            self.model.set_head(*self.labels.probe(*inputs))
        if calibrates:
            vectors, codes, _ = inputs
            self.confidence = confidence_to_have(
                vectors, codes, self.call.seeds("calibrate")
            )

    def refit(self) -> None:
        """Fit the head to the vectors as they are after the training.

        In that training classes were equally frequent; here they are as they are.
        """
        inputs = self.call.head_inputs(self.model, self.tokenizer, self.train)
        self.model.set_head(*self.labels.probe(*inputs))

    def temperature(self, net: BertNet, valid: Examples | None) -> float:
        """Find what to divide the logits by; 1 where nothing is to be calibrated."""
        if self.confidence is None:
            return 1.0
        is_held_out = valid is not None and len(valid) >= ENOUGH_TEXTS
        examples = valid if valid is not None and is_held_out else self.train
        rows = self.call.some_of(examples.rows)
        assert isinstance(examples.table, TokenTable)
        logits = net.scores(
            examples.table.take(rows), self.labels.merge_windows, remember=False
        )
        if is_held_out:
            return temperature_of_held_out(logits, examples.targets[rows])
        return temperature_of_confidence(logits, self.confidence)

    def attributes(self, before: Any) -> dict[str, Any]:
        """Return the temperature of the earlier fit where this one goes on, else 1."""
        is_known = self.call.goes_on and hasattr(before, "temperature_")
        return {"temperature_": before.temperature_ if is_known else 1.0}
