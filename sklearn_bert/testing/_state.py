"""Parameters, fitted state, and what copies of an estimator keep of them."""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
import warnings
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_html_repr, get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_bert.testing._data import new_rows, problem
from sklearn_bert.testing._registry import (
    is_deterministic,
    must_be_fitted,
    needs_target,
    reads_texts,
    text_check,
)
from sklearn_bert.testing._tools import (
    answers,
    assert_same_answers,
    fit,
    fitted,
    fresh,
    methods_of,
)

# -- before fit --------------------------------------------------------------------


@text_check(must_be_fitted)
def check_text_not_fitted(name: str, estimator: BaseEstimator) -> None:
    """Before fit, every method that reads X raises NotFittedError."""
    for method in methods_of(estimator):
        try:
            getattr(fresh(estimator), method)(new_rows(estimator))
        except NotFittedError:
            continue
        raise AssertionError(f"{method} works before fit; expected NotFittedError")


@text_check(must_be_fitted)
def check_text_is_fitted_by_fit(name: str, estimator: BaseEstimator) -> None:
    """`check_is_fitted` fails before fit and passes after it."""
    try:
        check_is_fitted(fresh(estimator))
    except NotFittedError:
        check_is_fitted(fitted(estimator))
    else:
        raise AssertionError("check_is_fitted passes before fit")


@text_check(reads_texts)
def check_text_tags_say_so(name: str, estimator: BaseEstimator) -> None:
    """Tags say that X holds strings and is no matrix, and tell what it is."""
    tags = get_tags(estimator)
    assert tags.input_tags.string, "tags.input_tags.string is False"
    assert not tags.input_tags.two_d_array, "tags.input_tags.two_d_array is True"
    if hasattr(estimator, "transform"):
        assert tags.transformer_tags is not None, "transforms without transformer_tags"
    if hasattr(estimator, "predict_proba"):
        assert tags.classifier_tags is not None, "has classes without classifier_tags"


@text_check()
def check_text_repr(name: str, estimator: BaseEstimator) -> None:
    """Text and HTML for humans name the class, and change nothing."""
    for model in (fresh(estimator), fitted(estimator)):
        before = pickle.dumps(model)
        assert name in repr(model), f"repr does not name {name}"
        assert name in estimator_html_repr(model), f"HTML does not name {name}"
        assert pickle.dumps(model) == before, "its repr or its HTML has changed it"


# -- fit ---------------------------------------------------------------------------


@text_check()
def check_text_fit_returns_self(name: str, estimator: BaseEstimator) -> None:
    """`fit` returns the estimator itself."""
    X, y = problem(estimator)
    model = fresh(estimator)
    assert model.fit(X, y) is model, "fit returns something else than self"


@text_check()
def check_text_fit_keeps_parameters(name: str, estimator: BaseEstimator) -> None:
    """`fit` changes no parameter, nor what is inside one."""
    X, y = problem(estimator)
    model = fresh(estimator)
    before = model.get_params(deep=False)
    # Both are compared: a copy has the same hash, and the same object may have changed.
    hashes = {key: joblib.hash(value) for key, value in before.items()}
    model.fit(X, y)
    after = model.get_params(deep=False)
    for key, value in before.items():
        assert after[key] is value, f"fit has replaced the parameter {key}"
        assert joblib.hash(value) == hashes[key], f"fit has changed the inside of {key}"


@text_check()
def check_text_fitted_names(name: str, estimator: BaseEstimator) -> None:
    """What fit adds has a name that ends or begins with an underscore."""
    added = vars(fitted(estimator)).keys() - vars(fresh(estimator)).keys()
    public = [key for key in added if not (key.startswith("_") or key.endswith("_"))]
    assert not public, f"fit sets {public}, which look like parameters"


@text_check(is_deterministic)
def check_text_fit_twice(name: str, estimator: BaseEstimator) -> None:
    """A second fit on the same data gives the same model."""
    X, y = problem(estimator)
    model = fitted(estimator)
    first = answers(model, new_rows(estimator))
    second = answers(model.fit(X, y), new_rows(estimator))
    assert_same_answers(second, first, "a second fit gives another model")


@text_check(is_deterministic)
def check_text_random_state(name: str, estimator: BaseEstimator) -> None:
    """One `random_state` gives one model, whatever was drawn in between."""
    first = answers(fitted(estimator), new_rows(estimator))
    # A fit that draws from NumPy's global generator gets other numbers now.
    np.random.seed(None)  # noqa: NPY002
    second = answers(fitted(estimator), new_rows(estimator))
    assert_same_answers(second, first, "the same random_state gives another model")


@text_check(is_deterministic)
def check_text_refit_forgets(name: str, estimator: BaseEstimator) -> None:
    """A fit on other data leaves nothing of the fit before."""
    X, y = problem(estimator)
    half = slice(0, len(X) // 2)
    other_y = None if y is None else y[half]
    new = new_rows(estimator)
    anew = fit(estimator, X[half], other_y)
    after_another = fitted(estimator).fit(X[half], other_y)
    assert_same_answers(
        answers(after_another, new), answers(anew, new), "an earlier fit has an effect"
    )
    left = vars(after_another).keys() - vars(anew).keys()
    assert not left, f"an earlier fit leaves {sorted(left)}"


@text_check(must_be_fitted)
def check_text_failed_fit_keeps_the_model(name: str, estimator: BaseEstimator) -> None:
    """A fit that fails leaves the model of the fit before."""
    X, y = problem(estimator)
    model, new = fitted(estimator), new_rows(estimator)
    before = answers(model, new)
    faults = {"no rows": (X[:0], None if y is None else y[:0])}
    if reads_texts(estimator):
        faults["None among the texts"] = ([*X[:-1], None], y)
    if needs_target(estimator):
        faults["a y that is too short"] = (X[::2], y[:3])
    for what, (bad_X, bad_y) in faults.items():
        _fail_to_fit(model, bad_X, bad_y, what)
        try:
            after = answers(model, new)
        except Exception as error:
            raise AssertionError(
                f"after a fit on {what}, which failed, the model no longer works: "
                f"{error}"
            ) from error
        message = f"after a fit on {what}, which failed, the model has changed"
        assert_same_answers(after, before, message)


def _fail_to_fit(model: Any, X: Any, y: Any, what: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y)
    except Exception:
        return  # of whatever kind: other checks are about that
    raise AssertionError(f"fit accepts {what}, so it cannot be seen to fail")


@text_check(must_be_fitted)
def check_text_set_params_waits_for_fit(name: str, estimator: BaseEstimator) -> None:
    """Numbers and switches set after fit change no answer until the next fit."""
    model, new = fitted(estimator), new_rows(estimator)
    before = answers(model, new)
    for key, value in model.get_params(deep=True).items():
        other = _other(key, value)
        if other is None:
            continue
        model.set_params(**{key: other})
        message = f"{key}={other!r}, set after fit, has an effect before the next fit"
        assert_same_answers(answers(model, new), before, message)
        model.set_params(**{key: value})


def _other(key: str, value: Any) -> Any:
    """Return another value of the same kind; None where it could change no answer."""
    if key.split("__")[-1] in ("verbose", "n_jobs"):
        return None
    if isinstance(value, bool):  # before int, which bool is a subclass of
        return not value
    return value + 1 if isinstance(value, int) else None


# -- after fit ---------------------------------------------------------------------


@text_check()
def check_text_answers_change_nothing(name: str, estimator: BaseEstimator) -> None:
    """To answer does not change the fitted estimator."""
    model = fitted(estimator)
    for method in methods_of(estimator):
        names, before = set(vars(model)), pickle.dumps(model)
        getattr(model, method)(new_rows(estimator))
        # An estimator may leave attributes out of its pickle.
        assert set(vars(model)) == names, f"{method} adds or removes attributes"
        assert pickle.dumps(model) == before, f"{method} changes the estimator"


@text_check()
def check_text_clone(name: str, estimator: BaseEstimator) -> None:
    """A clone has the same parameters and nothing that fit has learnt."""
    model = fitted(estimator)
    copied = clone(model)
    # By hash, since parameters may be arrays; each `random_state` was set to 0.
    assert joblib.hash(copied.get_params()) == joblib.hash(
        clone(estimator).set_params(**_states(copied)).get_params()
    ), "a clone has other parameters"
    learnt = {key for key in vars(copied) if key.endswith("_") and key[0] != "_"}
    assert not learnt, f"a clone has {sorted(learnt)}, which fit has set"


def _states(estimator: BaseEstimator) -> dict[str, Any]:
    params = estimator.get_params(deep=True)
    return {key: value for key, value in params.items() if "random_state" in key}


@text_check()
def check_text_pickle(name: str, estimator: BaseEstimator) -> None:
    """Pickled and read again, it gives the same answers."""
    model, new = fitted(estimator), new_rows(estimator)
    again = pickle.loads(pickle.dumps(model))
    message = "answers differ after pickling"
    assert_same_answers(answers(again, new), answers(model, new), message)


@text_check()
def check_text_joblib_memory_map(name: str, estimator: BaseEstimator) -> None:
    """Dumped by joblib and mapped to read-only memory, it gives the same answers."""
    model, new = fitted(estimator), new_rows(estimator)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = os.path.join(folder, "model.joblib")
        joblib.dump(model, path)
        mapped = joblib.load(path, mmap_mode="r")
        message = "answers differ from memory that is mapped"
        assert_same_answers(answers(mapped, new), answers(model, new), message)
        del mapped  # Windows deletes no file that is mapped


@text_check()
def check_text_deepcopy(name: str, estimator: BaseEstimator) -> None:
    """A deep copy gives the same answers, and a refit of it leaves the original."""
    X, y = problem(estimator)
    model, new = fitted(estimator), new_rows(estimator)
    before = answers(model, new)
    copied = copy.deepcopy(model)
    assert_same_answers(answers(copied, new), before, "answers of a deep copy differ")
    copied.fit(X[:8], None if y is None else y[:8])
    assert_same_answers(answers(model, new), before, "a deep copy shares its state")


@text_check(is_deterministic)
def check_text_unfitted_pickle(name: str, estimator: BaseEstimator) -> None:
    """Pickled before fit, it is fitted as the original is."""
    X, y = problem(estimator)
    new = new_rows(estimator)
    again = pickle.loads(pickle.dumps(fresh(estimator))).fit(X, y)
    expected = answers(fitted(estimator), new)
    assert_same_answers(answers(again, new), expected, "an unpickled fit differs")
