"""Early stopping: the weights of the best epoch."""

from __future__ import annotations

from typing import Any

from skorch.callbacks import Callback

from sklearn_bert.training._trainable_view import Snapshot


class BestWeights(Callback):
    """Remember the weights of the best epoch; stop when no better one comes.

    Better is a higher validation score, or an equal score at a lower validation loss.

    Parameters
    ----------
    n_iter_no_change : int
        Epochs without a better one after which training stops.
    """

    def __init__(self, n_iter_no_change: int) -> None:
        self.n_iter_no_change = n_iter_no_change
        self.snapshot_: Snapshot | None = None

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget what an earlier run found."""
        self.best_: tuple[float, float] = (-float("inf"), -float("inf"))
        self.best_epoch_ = 0
        self.snapshot_ = None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Compare the epoch that has just ended."""
        epoch = net.history[-1]
        # Tuples compare by score first, then by loss; a tie of both is no better.
        reached = (epoch["valid_score"], -epoch["valid_loss"])
        if reached > self.best_:
            self.best_, self.best_epoch_ = reached, epoch["epoch"]
            self.snapshot_ = net.snapshot()
        elif epoch["epoch"] - self.best_epoch_ >= self.n_iter_no_change:
            net.stop()
