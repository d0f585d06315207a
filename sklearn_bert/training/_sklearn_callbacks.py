"""The bridge from a training to scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.callback import CallbackContext
from skorch.callbacks import Callback


class FitTasks(Callback):
    """Tells scikit-learn's callbacks of every epoch and update, as tasks of a fit.

    One that returns True ends the fit: its epoch is recorded, and what it learnt kept.

    Parameters
    ----------
    estimator : estimator
        That is fitted.
    context : sklearn.callback.CallbackContext
        Of its fit.
    data : dict
        `X`, `y` and `metadata` of the fit.
    fitted_attributes : callable
        From the net to what makes a fitted estimator of the weights as they are.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        context: CallbackContext,
        data: dict[str, Any],
        fitted_attributes: Callable[[Any], dict[str, Any]],
    ) -> None:
        self.context = context
        self.given = {"estimator": estimator, **data}
        self.fitted_attributes = fitted_attributes

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a task of the fit."""
        epoch = self.context.subcontext("epoch", max_subtasks=len(net.batches_))
        self.epoch_ = epoch.call_on_fit_task_begin(**self.given)

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a task of the epoch."""
        update = self.epoch_.subcontext("update")
        self.update_ = update.call_on_fit_task_begin(**self.given)

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """End the task of an update.

        Without a fitted estimator: to make one takes longer than the update.
        """
        if self.update_.call_on_fit_task_end(**self.given):
            net.stop()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End the task of an epoch."""
        # A function: a fitted estimator is made only for callbacks that ask for it.
        wants_to_stop = self.epoch_.call_on_fit_task_end(
            **self.given,
            reconstruction_attributes=lambda: self.fitted_attributes(net),
        )
        if wants_to_stop:
            net.stop()
