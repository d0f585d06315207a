"""The caller's skorch callbacks: which can work, and copies of them for a fit."""

from __future__ import annotations

import copy
import dis
import itertools
from collections import Counter
from collections.abc import Callable
from numbers import Real
from typing import Any

from sklearn.callback import FitCallback
from skorch import callbacks as skorch_callbacks
from skorch.callbacks import Callback

ONE_SCORE = (
    "no score is computed batch by batch, and the net knows no labels as skorch's does",
    "Set scikit-learn's ScoringMonitor by set_callbacks, or read valid_score in "
    "history_, which is there with early_stopping=True, or X_val and y_val",
)
OF_WEIGHTS = (
    "the net holds only the part that learns, in a layout that changes with the texts",
    "Save the fitted estimator by sklearn_bert.save; early_stopping=True keeps the "
    "weights of the best epoch",
)
WHAT_LEARNS = (
    "the optimizer and its float32 weights are made before an epoch begins",
    "Choose what learns by trainable and layer_decay",
)
# Why a kind of callback cannot work, and what to do instead.
REFUSED: dict[type[Callback], tuple[str, str]] = {
    skorch_callbacks.BatchScoring: ONE_SCORE,
    skorch_callbacks.EpochScoring: ONE_SCORE,
    skorch_callbacks.Checkpoint: OF_WEIGHTS,
    skorch_callbacks.TrainEndCheckpoint: OF_WEIGHTS,
    skorch_callbacks.LoadInitState: (
        OF_WEIGHTS[0],
        "Go on with a fitted estimator by warm_start=True, or by partial_fit",
    ),
    skorch_callbacks.ParamMapper: WHAT_LEARNS,  # Freezer, Unfreezer, Initializer
    skorch_callbacks.LRScheduler: (
        "the learning rate is set anew in each update",
        "Set learning_rate, warmup and layer_decay",
    ),
    skorch_callbacks.InputShapeSetter: (
        "texts have no number of columns",
        "Leave it out",
    ),
    skorch_callbacks.ProgressBar: (
        "it counts batches of skorch's own, and knows no loss before an epoch ends",
        "Set verbose=1",
    ),
}


def _is_set(value: Any) -> bool:
    return bool(value)


def _is_norm(value: Any) -> bool:
    return isinstance(value, Real) and 0 < float(value) <= 1


# Settings with which one of the others would do nothing, or fail: the classes, the
# parameter, whether a value of it is one of those, why, and what to do.
LIMITS: list[tuple[tuple[type[Callback], ...], str, Callable, str, str]] = [
    (
        (skorch_callbacks.EarlyStopping,),
        "load_best",
        _is_set,
        OF_WEIGHTS[0],
        "Set load_best=False, or early_stopping=True on the estimator, which keeps "
        "the weights of the best epoch",
    ),
    (
        (skorch_callbacks.GradientNormClipping,),
        "gradient_clip_value",
        lambda value: value is not None and not _is_norm(value),
        "every fit clips gradients to norm 1",
        "Set a number above 0 and up to 1, or leave it out",
    ),
    (
        (skorch_callbacks.PassthroughScoring,),
        "on_train",
        lambda value: not value,
        "validation is not computed by batches that history knows",
        "Set on_train=True",
    ),
    (
        (
            skorch_callbacks.MlflowLogger,
            skorch_callbacks.NeptuneLogger,
            skorch_callbacks.SacredLogger,
        ),
        "log_on_batch_end",
        _is_set,
        "losses are read once, at the end of an epoch",
        "Set log_on_batch_end=False",
    ),
    (
        (skorch_callbacks.MlflowLogger,),
        "create_artifact",
        _is_set,
        OF_WEIGHTS[0],
        "Set create_artifact=False, and log the folder that sklearn_bert.save writes",
    ),
    (
        (skorch_callbacks.WandbLogger,),
        "save_model",
        _is_set,
        OF_WEIGHTS[0],
        "Set save_model=False, and log the folder that sklearn_bert.save writes",
    ),
]
# What loggers write to is the caller's, and one: the copies share it.
SHARED = ("client", "experiment", "run", "wandb_run", "writer")
LOGGERS = (
    skorch_callbacks.MlflowLogger,
    skorch_callbacks.NeptuneLogger,
    skorch_callbacks.SacredLogger,
    skorch_callbacks.TensorBoard,
    skorch_callbacks.WandbLogger,
)
# What prints or writes, and learns nothing by it: of the processes that make a fit
# together one has these.
OF_ONE_PROCESS = (
    *LOGGERS,
    skorch_callbacks.EarlyStopping,
    skorch_callbacks.PrintLog,
)
# What `history` has at the end of an epoch; more only with validation.
ALWAYS = ("epoch", "train_loss", "learning_rate", "seconds", "texts_per_second")
VALIDATED = ("valid_loss", "valid_score")
# What `history` has of each batch.
OF_BATCHES = ("train_loss", "train_batch_size")


def copy_callbacks(
    callbacks: list[Any] | None, *, is_validated: bool, parts: tuple[str, ...] = ()
) -> list[tuple[str, Callback] | Callback]:
    """Copy the caller's callbacks for one fit.

    Parameters
    ----------
    callbacks : list or None
        Of skorch callbacks: instances, classes, or pairs of a name and one of these.
    is_validated : bool
        Whether the fit has validation.
    parts : tuple of str
        Names of the losses that add up to that of the fit, where there are several.

    Raises
    ------
    TypeError
        Where one is no skorch callback, naming its place.
    ValueError
        Where one cannot work, saying why and what to do instead.
    """
    copies: list[tuple[str, Callback] | Callback] = []
    names: list[str] = []
    for place, item in enumerate(callbacks or []):
        where = f"callbacks[{place}]"
        name = None
        if isinstance(item, (tuple, list)) and len(item) == 2:
            name, item = item
            _check_name(name, names, where)
            names.append(name)
        callback = _copy(item, where)
        _check_works(callback, where)
        copies.append(callback if name is None else (name, callback))
    found = [one[1] if isinstance(one, tuple) else one for one in copies]
    for place, callback in enumerate(found):
        if isinstance(callback, skorch_callbacks.EarlyStopping):
            _check_monitor(
                callback, f"callbacks[{place}]", found[:place], is_validated, parts
            )
    return copies


def of_every_process(
    callbacks: list[tuple[str, Callback] | Callback],
) -> list[tuple[str, Callback] | Callback]:
    """Return the callbacks that a process has which is not the first of a fit."""
    return [
        item
        for item in callbacks
        if not isinstance(item[1] if isinstance(item, tuple) else item, OF_ONE_PROCESS)
    ]


def with_free_names(
    callbacks: list[tuple[str, Callback] | Callback],
) -> list[tuple[str, Callback]]:
    """Name the callbacks that have no name after their class.

    The name is numbered where there are several, as skorch does, or where it is taken,
    because skorch refuses a name that occurs twice.
    """
    taken = {item[0] for item in callbacks if isinstance(item, tuple)}
    kinds = Counter(type(item).__name__ for item in callbacks)
    named = []
    for item in callbacks:
        if not isinstance(item, tuple):
            kind = type(item).__name__
            as_python = [kind] if kinds[kind] == 1 else []
            numbered = (f"{kind}_{number}" for number in itertools.count(1))
            names = itertools.chain(as_python, numbered)
            name = next(name for name in names if name not in taken)
            taken.add(name)
            item = name, item
        named.append(item)
    return named


def _check_name(name: Any, names: list[str], where: str) -> None:
    if not isinstance(name, str):
        raise TypeError(
            f"{where} is a pair that begins with {name!r} of type "
            f"{type(name).__name__}; expected a name and a skorch callback."
        )
    if name in names:
        raise ValueError(
            f"{where} has the name {name!r}, and so has one before it; expected "
            "another name."
        )


def _copy(item: Any, where: str) -> Callback:
    """Copy a callback, or make an instance of a class of callbacks."""
    if isinstance(item, type) and issubclass(item, Callback):
        try:
            return item()
        except TypeError as error:
            raise TypeError(
                f"{where} is the class {item.__name__}, which cannot be called without "
                f"arguments ({error}); expected an instance of it."
            ) from error
    if not isinstance(item, Callback):
        raise TypeError(f"{where} is {item!r} of type {_kind(item)}; {_remedy(item)}")
    shared = {}
    if isinstance(item, LOGGERS):
        held = [vars(item)[name] for name in SHARED if name in vars(item)]
        shared = {id(value): value for value in held}
    try:
        return copy.deepcopy(item, shared)
    except Exception as error:
        raise TypeError(
            f"{where} is a {_kind(item)} that cannot be copied for the fit ({error}). "
            "Open files and connections in its on_train_begin, or give it a "
            "__deepcopy__."
        ) from error


def _kind(item: Any) -> str:
    kind = type(item).__name__
    return f"skorch.callbacks.{kind}" if _is_of_skorch(item) else kind


def _remedy(item: Any) -> str:
    if isinstance(item, FitCallback) and not isinstance(item, type):
        return "expected skorch's callbacks; scikit-learn's are set by set_callbacks."
    return (
        "expected an instance of skorch.callbacks.Callback, or a pair of a name and "
        "one. Write a class with a method such as on_epoch_end(self, net, **kwargs)."
    )


def _check_works(callback: Callback, where: str) -> None:
    """Raise ValueError where a callback would fail, or do nothing."""
    for kind in type(callback).__mro__:
        if kind in REFUSED:
            raise ValueError(_refusal(callback, where, "", *REFUSED[kind]))
    for kinds, parameter, is_wrong, reason, remedy in LIMITS:
        if not isinstance(callback, kinds):
            continue
        if not hasattr(callback, parameter):
            raise ValueError(
                f"{where} is a {_kind(callback)} without the attribute {parameter!r}, "
                "which the class it is made of needs. Call super().__init__ in its "
                "__init__."
            )
        value = getattr(callback, parameter)
        if is_wrong(value):
            setting = f" with {parameter}={value!r}"
            raise ValueError(_refusal(callback, where, setting, reason, remedy))


def _refusal(
    callback: Callback, where: str, setting: str, reason: str, remedy: str
) -> str:
    return (
        f"{where} is a {_kind(callback)}{setting}, which cannot work here: {reason}. "
        f"{remedy}."
    )


def _check_monitor(
    stopping: skorch_callbacks.EarlyStopping,
    where: str,
    before: list[Callback],
    is_validated: bool,
    parts: tuple[str, ...],
) -> None:
    """Raise ValueError where history will not have what EarlyStopping looks at."""
    monitor = stopping.monitor
    known = [*ALWAYS, *parts, *(VALIDATED if is_validated else ()), *_written(before)]
    if monitor in VALIDATED and not is_validated:
        raise ValueError(
            f"{where} is a {_kind(stopping)} with monitor={monitor!r}, but there is no "
            "validation. Set early_stopping=True on the estimator, which stops without "
            "a callback; pass X_val and y_val to fit; or set monitor='train_loss'."
        )
    # A callback of the caller's own may write anything into history.
    if monitor not in known and all(_is_of_skorch(callback) for callback in before):
        raise ValueError(
            f"{where} is a {_kind(stopping)} with monitor={monitor!r}, which history "
            f"does not have; expected one of {known}, or what a callback before it "
            "writes into net.history."
        )


def _is_of_skorch(callback: Any) -> bool:
    return type(callback).__module__.partition(".")[0] == "skorch"


def _written(callbacks: list[Callback]) -> list[str]:
    """Return what skorch's own write into history at the end of an epoch."""
    names = []
    for callback in callbacks:
        if isinstance(callback, skorch_callbacks.EpochTimer):
            names.append("dur")
        is_passed = isinstance(callback, skorch_callbacks.PassthroughScoring)
        if is_passed and callback.name in OF_BATCHES:
            names.append(callback.name)
            if callback.lower_is_better is not None:
                names.append(f"{callback.name}_best")
    return names


def is_raised_by_skorch(interrupt: KeyboardInterrupt) -> bool:
    """Return whether a KeyboardInterrupt is skorch's signal to stop, and no Ctrl-C.

    skorch's callbacks stop a training by a `raise` statement of their own. Python
    raises that of a signal at calls and jumps, never at such a statement, wherever it
    strikes.
    """
    trace = interrupt.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    frame = trace.tb_frame
    is_skorch = frame.f_globals.get("__name__", "").startswith("skorch.")
    is_raise = frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return is_skorch and is_raise
