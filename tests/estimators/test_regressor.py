"""Numbers of texts: their units, shapes and kinds, and what is refused as a number."""

import functools
import itertools
from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from sklearn_bert import BertClassifier, BertRegressor


@pytest.fixture(scope="module")
def stars(reviews):
    """One number per text, which one word decides."""
    return np.array([4.5 if label == "pos" else 1.0 for label in reviews[1]])


@pytest.fixture(scope="module")
def fit(settings, reviews, stars):
    """Fit a tiny regressor; the arguments are parameters that differ."""

    def fit(X=None, y=None, sample_weight=None, **params):
        X = reviews[0] if X is None else X
        y = stars if y is None else y
        params = {"max_epochs": 1, **params}
        return BertRegressor(**(settings | params)).fit(X, y, sample_weight)

    return fit


@pytest.fixture(scope="module")
def fit_fast(fit, reviews):
    """Fit on the first 8 texts, the head alone."""

    def fit_fast(y, sample_weight=None, **params):
        params = {"trainable": "head", "max_epochs": 2, **params}
        return fit(reviews[0][:8], y, sample_weight, **params)

    return fit_fast


@pytest.fixture(scope="module")
def expected_of(fit_fast, reviews):
    """What is predicted after a fit on a plain array, fitted once for each."""

    @functools.cache
    def predict(content, shape):
        y = np.frombuffer(content).reshape(shape)
        return fit_fast(y).predict(reviews[0])

    return lambda y: predict(np.asarray(y, dtype=float).tobytes(), np.shape(y))


@pytest.fixture
def no_reading(monkeypatch):
    """Fail if a checkpoint is read."""

    def refuse(*args, **kwargs):
        raise AssertionError("the checkpoint was read before the input was checked")

    monkeypatch.setattr("sklearn_bert.estimators._base.load_checkpoint", refuse)


@pytest.fixture(scope="module")
def fitted(fit):
    """A regressor that has learnt; not to be changed."""
    return fit(max_epochs=3, batch_size=8)


def test_regressor_learns(fitted, reviews, stars):
    """The numbers of the texts that it was trained on are told apart."""
    assert fitted.score(*[reviews[0], stars]) > 0.9
    assert fitted.history_[-1]["train_loss"] < fitted.history_[0]["train_loss"]


def test_is_a_regressor():
    """scikit-learn takes it for a regressor of one or several targets."""
    assert is_regressor(BertRegressor())
    assert get_tags(BertRegressor()).target_tags.multi_output


def test_predictions_are_head_and_scale(fitted, reviews, stars):
    """Predictions are the scores of the net, in the units of y."""
    np.testing.assert_allclose(fitted.target_mean_, [stars.mean()])
    np.testing.assert_allclose(fitted.target_scale_, [stars.std()])
    vectors = fitted.transform(reviews[0])
    scaled = StandardScaler().fit_transform(vectors.T.astype(float)).T
    head = fitted.net_.module.head
    scores = scaled @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    expected = scores[:, 0] * stars.std() + stars.mean()
    predicted = fitted.predict(reviews[0])
    assert predicted.dtype == np.float64
    np.testing.assert_allclose(predicted, expected, atol=1e-3)


def test_score_is_r2(fitted, reviews, stars):
    """`score` is R2, with sample weights too."""
    X = reviews[0]
    weight = np.arange(1.0, 41.0)
    predicted = fitted.predict(X)
    assert fitted.score(X, stars + 1) == r2_score(stars + 1, predicted)
    assert fitted.score(X, stars, weight) == r2_score(
        stars, predicted, sample_weight=weight
    )


# -- units ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_units_do_not_matter(fit, reviews, stars, loss):
    """Numbers in other units give the same predictions in those units."""
    plain = fit(loss=loss).predict(reviews[0])
    for factor, shift in [(1000, 5), (1e-3, 0), (1e-100, 0), (1e140, -1e140)]:
        other = fit(y=factor * stars + shift, loss=loss).predict(reviews[0])
        np.testing.assert_allclose(
            other, factor * plain + shift, rtol=0, atol=abs(factor) * 1e-3
        )


def test_standardised_targets_give_the_same_model(fit, reviews, stars, settings):
    """scikit-learn's TransformedTargetRegressor around it changes nothing."""
    reg = BertRegressor(**settings | {"max_epochs": 1})
    wrapped = TransformedTargetRegressor(reg, transformer=StandardScaler())
    np.testing.assert_allclose(
        wrapped.fit(reviews[0], stars).predict(reviews[0]),
        fit(max_epochs=1).predict(reviews[0]),
        atol=1e-3,
    )


def test_units_of_each_target(fit, reviews, stars):
    """Each of several targets is standardised by itself."""
    y = np.column_stack([stars, -stars])
    plain = fit(y=y, max_epochs=1)
    other = fit(y=y * [1e6, 1e-6] + [0, 3], max_epochs=1)
    expected = plain.predict(reviews[0]) * [1e6, 1e-6] + [0, 3]
    np.testing.assert_allclose(other.predict(reviews[0]), expected, rtol=1e-3)


@pytest.mark.parametrize("value", [0.1, 0, -3e140, 1e-320, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_is_predicted(fit_fast, reviews, value, weighted):
    """A target that never changes has the scale 1, and comes back but for a trifle."""
    weight = np.linspace(0.1, 0.9, 8) if weighted else None
    reg = fit_fast([value] * 8, weight, learning_rate=1e-6)
    np.testing.assert_array_equal(reg.target_scale_, [1.0])
    np.testing.assert_allclose(reg.target_mean_, [value], rtol=1e-12)
    np.testing.assert_allclose(reg.predict(reviews[0]), value, rtol=1e-12, atol=1)


@pytest.mark.parametrize("largest", [1e150, 1e-150], ids=str)
@pytest.mark.parametrize("sign", [1, -1])
def test_large_and_small_numbers_are_learnt(fit_fast, reviews, largest, sign):
    """Numbers of 1e150 and of 1e-150 are standardised as any others are."""
    y = np.array([largest, sign * largest / 2] * 4)
    reg = fit_fast(y, learning_rate=1e-4)
    np.testing.assert_allclose(reg.target_mean_, [y.mean()])
    np.testing.assert_allclose(reg.target_scale_, [y.std()])
    assert np.isfinite(reg.predict(reviews[0])).all()


def test_the_scale_is_of_the_texts_to_train_on(fit, reviews, stars):
    """What weighs 0 or is validated on does not count for mean and scale."""
    weight = np.where(stars > 2, 1.0, 0.0)
    y = np.where(stars > 2, np.arange(40.0), 1e6)
    reg = fit(y=y, sample_weight=weight, max_epochs=1)
    kept = y[weight > 0]
    np.testing.assert_allclose(reg.target_mean_, [kept.mean()])
    np.testing.assert_allclose(reg.target_scale_, [kept.std()])
    held_out = clone(reg).fit(reviews[0], y, weight, X_val=["a film"], y_val=[-1e9])
    np.testing.assert_array_equal(held_out.target_mean_, reg.target_mean_)
    np.testing.assert_array_equal(held_out.predict(["i"]), reg.predict(["i"]))


def test_what_weighs_nothing_may_be_of_any_size(fit, reviews, stars):
    """A number of weight 0 changes nothing, however far off it is."""
    y, weight = stars * 1e-30, np.ones(40)
    y[0], weight[0] = 1e140, 0.0
    outlier = fit(y=y, sample_weight=weight, max_epochs=1)
    removed = fit(reviews[0][1:], y[1:], max_epochs=1)
    np.testing.assert_array_equal(
        outlier.predict(reviews[0]), removed.predict(reviews[0])
    )


def test_the_scale_knows_weights(fit_fast):
    """Mean and deviation are weighted, as NumPy weighs them."""
    y, weight = np.arange(8.0) ** 2, np.arange(1.0, 9.0)
    reg = fit_fast(y, weight)
    mean = np.average(y, weights=weight)
    np.testing.assert_allclose(reg.target_mean_, [mean])
    expected = np.sqrt(np.average((y - mean) ** 2, weights=weight))
    np.testing.assert_allclose(reg.target_scale_, [expected])


def test_partial_fit_goes_on_in_the_same_units(settings, reviews, stars):
    """The first call chooses mean and scale; later ones keep them."""
    reg = BertRegressor(**settings | {"batch_size": 8}).partial_fit(reviews[0], stars)
    mean, scale = reg.target_mean_, reg.target_scale_
    for _ in range(3):
        reg.partial_fit(reviews[0], stars * 10)
        np.testing.assert_array_equal(reg.target_mean_, mean)
        np.testing.assert_array_equal(reg.target_scale_, scale)
    assert reg.predict(reviews[0]).max() > 10


def test_huber_is_moved_less(fit, reviews, stars):
    """One number far off moves the other predictions less with "huber"."""
    y = stars.copy()
    y[0] = 1000.0
    errors = {"squared_error": [], "huber": []}
    for loss, seed in itertools.product(errors, range(3)):
        regressor = fit(y=y, loss=loss, max_epochs=6, random_state=seed)
        errors[loss] += np.abs(regressor.predict(reviews[0][1:]) - y[1:]).tolist()
    assert np.median(errors["huber"]) < np.median(errors["squared_error"])


# -- shapes and kinds of y -----------------------------------------------------------


Y = np.array([3, -1, 2, 0, 3, -1, 2, 5])
KINDS = {
    "list": np.ndarray.tolist,
    "tuple": lambda y: tuple(y.tolist()),
    "float32": partial(np.asarray, dtype=np.float32),
    "float16": partial(np.asarray, dtype=np.float16),
    "int8": partial(np.asarray, dtype=np.int8),
    "object": partial(np.asarray, dtype=object),
    "Series": lambda y: pd.Series(y, index=range(80, 72, -1)),
    "nullable": partial(pd.Series, dtype="Int64"),
    "nullable float": partial(pd.Series, dtype="Float32"),
    "Arrow Series": partial(pd.Series, dtype="int64[pyarrow]"),
    "category": partial(pd.Series, dtype="category"),
    "polars": pl.Series,
    "Arrow": pa.array,
    "chunked Arrow": lambda y: pa.chunked_array([y[:3], y[3:]]),
    "Decimal": lambda y: [Decimal(v) for v in y.tolist()],
    "Fraction": lambda y: [Fraction(v) for v in y.tolist()],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_y_agree(fit_fast, expected_of, reviews, kind):
    """Every column of numbers is the same y, bit by bit."""
    predicted = fit_fast(KINDS[kind](Y)).predict(reviews[0])
    assert predicted.shape == (40,)
    np.testing.assert_array_equal(predicted, expected_of(Y))


@pytest.mark.parametrize(
    "kind", [list, np.array, partial(pd.Series, dtype="boolean"), pl.Series], ids=str
)
def test_booleans_are_0_and_1(fit_fast, reviews, kind):
    """True is 1 and False is 0, as for scikit-learn's regressors."""
    y = [True, False] * 4
    np.testing.assert_array_equal(
        fit_fast(kind(y)).predict(reviews[0]),
        fit_fast([1.0, 0.0] * 4).predict(reviews[0]),
    )


TABLES = {
    "array": np.array,
    "list of lists": np.ndarray.tolist,
    "list of tuples": lambda y: [tuple(row) for row in y.tolist()],
    "frame": lambda y: pd.DataFrame(y, index=range(50, 42, -1)),
    "polars frame": lambda y: pl.DataFrame(y, schema=list("abc")[: y.shape[1]]),
    "Arrow table": lambda y: pa.table(
        {name: y[:, i] for i, name in enumerate("abc"[: y.shape[1]])}
    ),
    "object": lambda y: y.astype(object),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("width", [1, 2, 3])
def test_tables_of_targets_come_back(fit_fast, expected_of, reviews, kind, width):
    """Several targets, or a table of one, give as many columns, as scikit-learn."""
    y = np.column_stack([Y, -Y, Y**2])[:, :width].astype(float)
    predicted = fit_fast(TABLES[kind](y)).predict(reviews[0])
    assert predicted.shape == (40, width)
    np.testing.assert_array_equal(predicted, expected_of(y))


def test_a_table_of_one_target_is_a_column(fit_fast, reviews):
    """(n, 1) differs from (n,) in nothing but the shape."""
    np.testing.assert_array_equal(
        fit_fast(Y[:, None]).predict(reviews[0])[:, 0], fit_fast(Y).predict(reviews[0])
    )


@hypothesis_settings(max_examples=15, deadline=None)
@given(
    y=st.lists(
        st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
        | st.integers(-(10**6), 10**6)
        | st.booleans(),
        min_size=8,
        max_size=8,
    ),
    kind=st.sampled_from(["list", "object", "Series", "tuple"]),
)
def test_any_column_of_numbers_is_learnt(fit_fast, reviews, y, kind):
    """Whatever numbers are mixed, mean, scale and shape are those of NumPy's floats."""
    array = np.array([float(v) for v in y])
    given_y = {
        "list": list(y),
        "tuple": tuple(y),
        "object": np.array(y, dtype=object),
        "Series": pd.Series(y, dtype=object),
    }[kind]
    reg = fit_fast(given_y, max_epochs=1)
    span = np.ptp(array)
    np.testing.assert_allclose(
        reg.target_mean_, [array.mean()], atol=1e-9 * span, rtol=1e-12
    )
    expected = array.std() or 1.0  # squares of tiny numbers are 0
    np.testing.assert_allclose(reg.target_scale_, [expected], rtol=1e-6)
    predicted = reg.predict(reviews[0])
    assert predicted.shape == (40,)
    assert predicted.dtype == np.float64


# -- weights ---------------------------------------------------------------------------


def test_weights_of_one_are_none(fit_fast, reviews):
    """Equal weights of any size are no weights, bit by bit."""
    expected = fit_fast(Y).predict(reviews[0])
    for weight in (np.ones(8), np.full(8, 0.25), 3.0):
        np.testing.assert_array_equal(fit_fast(Y, weight).predict(reviews[0]), expected)


def test_weight_zero_is_absent(fit, reviews, stars):
    """A text of weight 0 has no effect at all."""
    weight = np.array([1, 0, 1, 1] * 10)
    keep = np.flatnonzero(weight)
    zeroed = fit(sample_weight=weight, max_epochs=1)
    removed = fit([reviews[0][i] for i in keep], stars[keep], max_epochs=1)
    np.testing.assert_array_equal(
        zeroed.predict(reviews[0]), removed.predict(reviews[0])
    )


def test_weight_two_is_doubled(fit, reviews, stars):
    """A text of weight 2 counts as if it stood there twice, for the units too."""
    weight = np.array([1, 2, 1, 1, 2] * 8)
    rows = np.repeat(np.arange(40), weight)
    # A probe is a regression with a penalty, which doubled texts outweigh.
    params = {"batch_size": 1000, "dropout": 0.0, "max_epochs": 3}
    params["head_init"] = "random"
    weighted = fit(sample_weight=weight, **params)
    doubled = fit([reviews[0][i] for i in rows], stars[rows], **params)
    np.testing.assert_allclose(
        weighted.predict(reviews[0]), doubled.predict(reviews[0]), atol=1e-3
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(40), "zero"),
        (np.full(40, -1.0), "[Nn]egative"),
        (np.full(40, np.nan), "NaN"),
        (np.ones(39), "inconsistent|shape"),
    ],
)
@pytest.mark.usefixtures("no_reading")
def test_wrong_weights_are_refused(fit, weight, message):
    """Zero, negative, missing and too few weights are errors."""
    with pytest.raises(ValueError, match=message):
        fit(sample_weight=weight)


# -- scikit-learn ----------------------------------------------------------------------


def test_regressor_reads_pairs(fit, stars, reviews):
    """Pairs as tuples and frames train and predict alike."""
    halves = [(text, "a good film") for text in reviews[0]]
    reg = fit(halves, max_epochs=1)
    assert reg.n_features_in_ == 2
    frame = pd.DataFrame(halves, columns=["a", "b"])
    by_frame = fit(frame, max_epochs=1)
    np.testing.assert_array_equal(by_frame.predict(frame), reg.predict(halves))
    assert by_frame.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="X has 1 features, but .* expecting 2"):
        reg.predict(reviews[0])


def test_cross_validation(settings, reviews, stars):
    """cross_val_score gives R2, or a scorer's figure, of each fold."""
    reg = BertRegressor(**settings)
    scores = cross_val_score(reg, reviews[0], stars, cv=2)
    assert scores.shape == (2,)
    assert (scores > 0).all()
    two = np.column_stack([stars, -stars])
    errors = cross_val_score(
        reg, reviews[0], two, cv=2, scoring="neg_mean_absolute_error"
    )
    assert ((errors < 0) & (errors > -2)).all()


def test_several_targets_as_several_regressors(settings, reviews, stars):
    """Shapes and dtype are those of MultiOutputRegressor."""
    y = np.column_stack([stars, -stars])
    reg = BertRegressor(**settings | {"trainable": "head", "max_epochs": 1})
    ours = reg.fit(reviews[0], y).predict(reviews[0])
    theirs = MultiOutputRegressor(reg).fit(reviews[0], y).predict(reviews[0])
    assert ours.shape == theirs.shape == (40, 2)
    assert ours.dtype == theirs.dtype
    assert np.corrcoef(ours[:, 0], theirs[:, 0])[0, 1] > 0


def test_transform_in_a_frame(fit_fast, reviews):
    """The vectors before the head have names, and fit into a frame."""
    out = fit_fast(Y).set_output(transform="pandas")
    vectors = out.transform(reviews[0])
    assert vectors.shape == (40, 32)
    assert vectors.columns[0] == "bertregressor0"


def test_same_seed_same_bits(fit, reviews):
    """Two fits with one random_state are equal bit by bit; another seed differs."""
    one, two, other = [fit(max_epochs=1, random_state=s) for s in (0, 0, 1)]
    np.testing.assert_array_equal(one.predict(reviews[0]), two.predict(reviews[0]))
    assert not np.allclose(one.predict(reviews[0]), other.predict(reviews[0]))


@hypothesis_settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=st.lists(st.integers(0, 39), min_size=1, max_size=50))
def test_neighbours_do_not_matter(fitted, reviews, rows):
    """In float32, order and company of a text change no prediction beyond 1e-5."""
    np.testing.assert_allclose(
        fitted.predict([reviews[0][row] for row in rows]),
        fitted.predict(reviews[0])[rows],
        rtol=0,
        atol=1e-5,
    )


# -- bad input -------------------------------------------------------------------------


def masked(y, row):
    return np.ma.array(y, mask=np.arange(len(y)) == row)


BAD = {
    "none": (None, ValueError, "BertRegressor requires y to be passed"),
    "too few": ([1.0], ValueError, "inconsistent numbers of samples"),
    "None": ([1.0, 2.0, None], ValueError, r"y\[2\] is None .*needs a number. Drop"),
    "NaN": ([1.0, np.nan, 2.0], ValueError, r"y\[1\] is nan .*NaN"),
    "NA": (pd.array([1, None, 2], "Int64"), ValueError, r"y\[1\] is <NA>"),
    "NaT": (pd.to_datetime([None] * 3), ValueError, r"y\[0\] is NaT"),
    "polars null": (pl.Series([1, 2, None]), ValueError, r"y\[2\] is"),
    "Arrow null": (pa.array([1, None, 2]), ValueError, r"y\[1\] is"),
    "masked": (masked([1.0, 2.0, 3.0], 1), ValueError, r"y\[1\]"),
    "infinite": ([1.0, 2.0, -np.inf], ValueError, r"y\[2\] is -inf.*finite"),
    "too large": ([1, 10**400, 2], ValueError, r"y\[1\] is 1000*"),
    "word": ([1.0, "two", 3.0], ValueError, r"y\[1\] is 'two' of type str.*expected a"),
    "number as a word": (["1", "2", "3"], ValueError, r"y\[0\] is '1'.*BertClassifier"),
    "bytes": ([b"1", b"2", b"3"], ValueError, r"y\[0\] is b'1' of type bytes"),
    "complex": ([1.0, 2j, 3.0], ValueError, r"y\[1\] is 2j of type complex"),
    "date": (
        np.array([1, 2, 3], "M8[D]"),
        ValueError,
        r"y\[0\] is .*expected a number",
    ),
    "datetime": (np.array([1, 2, 3], "M8[ns]"), ValueError, r"y\[0\] is .*expected a"),
    "timedelta": (np.array([1, 2, 3], "m8[ns]"), ValueError, r"y\[0\] is .*expected a"),
    "Timestamp": (
        pd.Series(pd.date_range("2020", periods=3)),
        ValueError,
        r"y\[0\] is Timestamp.*expected a number",
    ),
    "dict": ([{}, {}, {}], ValueError, r"y\[0\] is \{\} of type dict"),
    "ragged": ([[1, 2], [3], [4, 5]], ValueError, "y.*(length|list)"),
    "three dimensions": (np.zeros((3, 2, 2)), ValueError, r"shape \(3, 2, 2\)"),
    "no columns": (np.zeros((3, 0)), ValueError, r"shape \(3, 0\)"),
    "sparse": (csr_array(np.eye(3)), TypeError, r"sparse matrix.*y.toarray\(\)"),
    "place in a table": ([[1, 2], [3, 4], [5, "x"]], ValueError, r"y\[2, 1\] is 'x'"),
    "frame with NaN": (
        pd.DataFrame({"a": [1, 2, 3], "b": [1, None, 3]}),
        ValueError,
        r"y\[1, 1\] is nan",
    ),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.usefixtures("no_reading")
def test_bad_targets_are_refused_at_once(name, method):
    """What is no number is named with its place before the checkpoint is read."""
    y, error, message = BAD[name]
    with pytest.raises(error, match=message):
        getattr(BertRegressor(), method)(["a", "b", "c"], y)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (["a", None], ValueError, r"X\[1\] is None"),
        (["a", 5], TypeError, r"X\[1\] is 5 of type int"),
        ("ab", TypeError, "single str"),
        ([], ValueError, "0 sample|inconsistent"),
    ],
)
@pytest.mark.usefixtures("no_reading")
def test_bad_texts_are_refused_at_once(X, error, message):
    """Wrong X is named before the checkpoint is read."""
    with pytest.raises(error, match=message):
        BertRegressor().fit(X, [1.0, 2.0])


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("loss", "absolute_error"),
        ("loss", None),
        ("max_epochs", 0),
        ("warm_start", "yes"),
        ("long_text", "drop"),
        ("window_stride", 0),
        ("validation_fraction", 1.0),
    ],
)
@pytest.mark.usefixtures("no_reading")
def test_bad_parameters_are_refused_at_once(reviews, stars, parameter, value):
    """A parameter out of range is named before the checkpoint is read."""
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of BertRegressor"):
        BertRegressor(**{parameter: value}).fit(reviews[0], stars)


@pytest.mark.parametrize("method", ["predict", "transform"])
def test_not_fitted(method):
    """Everything but fit needs a fitted estimator."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(BertRegressor(), method)(["a text"])


def test_failed_refit_keeps_the_old_model(fit_fast, reviews):
    """A refit with a wrong y leaves the model and its shape as they were."""
    reg = fit_fast(Y)
    state = {name: id(value) for name, value in vars(reg).items()}
    before = reg.predict(reviews[0])
    with pytest.raises(ValueError, match=r"y\[7, 1\] is None"):
        reg.fit([(t, t) for t in reviews[0][:8]], [[1, 2]] * 7 + [[1, None]])
    assert {name: id(value) for name, value in vars(reg).items()} == state
    np.testing.assert_array_equal(reg.predict(reviews[0]), before)


def test_failed_first_fit_leaves_it_unfitted():
    """A first fit that fails publishes nothing."""
    reg = BertRegressor()
    parameters = set(vars(reg))
    with pytest.raises(ValueError, match=r"y\[1\] is nan"):
        reg.fit(["a", "b"], [1.0, np.nan])
    assert set(vars(reg)) == parameters


def test_parameters_and_targets_are_untouched(settings, reviews):
    """fit changes no parameter and no number."""
    y = pd.DataFrame({"a": Y, "b": -Y})
    y_before = y.copy(deep=True)
    reg = BertRegressor(**settings, max_epochs=1)
    before = reg.get_params()
    reg.fit(reviews[0][: len(y)], y)
    pd.testing.assert_frame_equal(y, y_before)
    after = reg.get_params()
    assert all(after[name] is value for name, value in before.items())


def test_shares_parameters_with_the_classifier():
    """The same words with the same defaults, but for those of classes and of losses."""
    ours, theirs = BertRegressor().get_params(), BertClassifier().get_params()
    assert set(ours) - set(theirs) == {"loss"}
    of_classes = {
        "class_weight",
        "class_descriptions",
        "label_smoothing",
        "calibrate",
        "self_training",
    }
    assert set(theirs) - set(ours) == of_classes
    assert all(ours[name] == theirs[name] for name in set(ours) & set(theirs))
