"""skorch's callbacks in `callbacks=`: what works, what is refused, and Ctrl-C."""

import copy
import functools
import io
import pickle
import signal
import sys
import threading
import types
from unittest.mock import MagicMock

import numpy as np
import pytest
import skorch.callbacks
from rich.console import Console
from rich.live import _RefreshThread
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    MlflowLogger,
    NeptuneLogger,
    PassthroughScoring,
    PrintLog,
    SacredLogger,
    TensorBoard,
    WandbLogger,
)

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    load,
    save,
)
from sklearn_bert.training import _callbacks

HOOKS = [name for name in dir(Callback) if name.startswith("on_")]


class Sink:
    """Stands for the connection of a logger: notes what it is told, and is one."""

    def __init__(self):
        self.told = []
        self.lock = threading.Lock()  # cannot be copied
        self.info = types.SimpleNamespace(run_id="1")
        self.dir = "."

    def add_scalar(self, tag, scalar_value, global_step):
        self.told.append((tag, global_step))

    def log(self, values):
        self.told.extend((name, None) for name in values)

    def log_scalar(self, name, value, step):
        self.told.append((name, step))

    def log_metric(self, run_id, name, value, step):
        self.told.append((name, step))

    def watch(self, module):
        pass

    def close(self):
        pass

    def set_terminated(self, run_id):
        pass


@pytest.fixture(scope="module")
def data(reviews):
    """Sixteen texts, and their labels."""
    return reviews[0][:16], reviews[1][:16]


@pytest.fixture(scope="module")
def make(settings):
    """Make an estimator of two epochs of two updates each, of the head alone."""

    def make(cls=BertClassifier, **params):
        if cls is BertClassifier:
            params.setdefault("trainable", "head")
        return cls(**(settings | {"max_epochs": 2} | params))

    return make


# -- every callback of skorch ----------------------------------------------------------

WORKS = {
    "Callback": Callback,
    "EarlyStopping": lambda: EarlyStopping("train_loss"),
    "EpochTimer": EpochTimer,
    "GradientNormClipping": lambda: GradientNormClipping(0.5),
    "MlflowLogger": lambda: MlflowLogger(Sink(), Sink(), create_artifact=False),
    "NeptuneLogger": lambda: NeptuneLogger(MagicMock()),
    "PassthroughScoring": lambda: PassthroughScoring("train_loss", on_train=True),
    "PrintLog": PrintLog,
    "SacredLogger": lambda: SacredLogger(Sink()),
    "TensorBoard": lambda: TensorBoard(Sink()),
    "WandbLogger": lambda: WandbLogger(Sink(), save_model=False),
}
ARGUMENTS = {
    "BatchScoring": ["accuracy"],
    "EpochScoring": ["accuracy"],
    "Freezer": ["*"],
    "Initializer": ["*"],
    "LoadInitState": [skorch.callbacks.Checkpoint()],
    "ParamMapper": ["*"],
    "Unfreezer": ["*"],
}
NO_CALLBACKS = {"WarmRestartLR"}  # a schedule of torch's
REFUSED = sorted(set(skorch.callbacks.__all__) - set(WORKS) - NO_CALLBACKS)


@pytest.mark.parametrize("name", WORKS)
def test_a_callback_that_works(make, data, capsys, monkeypatch, name):
    """A fit with it gives what one without gives, and its copy is there afterwards."""
    for module in ("neptune", "neptune.types"):  # which are not installed
        monkeypatch.setitem(sys.modules, module, MagicMock())
    handler = types.SimpleNamespace(Handler=type("Handler", (), {}))
    monkeypatch.setitem(sys.modules, "neptune.handler", handler)
    callback = WORKS[name]()
    before = dict(vars(callback))
    clf = make(callbacks=[callback]).fit(*data)
    assert vars(callback) == before
    [(label, ran)] = clf.net_.callbacks_
    assert label == name
    assert type(ran) is type(callback)
    assert ran is not callback
    if name != "GradientNormClipping":
        plain = make().fit(*data)
        np.testing.assert_array_equal(
            clf.predict_proba(data[0]), plain.predict_proba(data[0])
        )
    assert (name == "PrintLog") == ("train_loss" in capsys.readouterr().out)


@pytest.mark.parametrize("name", REFUSED)
def test_a_callback_that_cannot_work(data, name):
    """It is refused by name and place, before the checkpoint is read."""
    callback = getattr(skorch.callbacks, name)(*ARGUMENTS.get(name, []))
    clf = BertClassifier("/nowhere", callbacks=[EpochTimer(), callback], device="cpu")
    message = rf"callbacks\[1\] is a skorch\.callbacks\.{name}, which cannot work"
    with pytest.raises(ValueError, match=message):
        clf.fit(*data)


@pytest.mark.parametrize(
    ("callback", "setting"),
    [
        (EarlyStopping("train_loss", load_best=True), "load_best=True"),
        (GradientNormClipping(2.0), "gradient_clip_value=2.0"),
        (GradientNormClipping(0), "gradient_clip_value=0"),
        (GradientNormClipping("a"), "gradient_clip_value='a'"),
        (PassthroughScoring("train_loss"), "on_train=False"),
        (MlflowLogger(1, 1), "create_artifact=True"),
        (MlflowLogger(1, 1, False, log_on_batch_end=True), "log_on_batch_end=True"),
        (NeptuneLogger(1, log_on_batch_end=True), "log_on_batch_end=True"),
        (SacredLogger(1, log_on_batch_end=True), "log_on_batch_end=True"),
        (WandbLogger(1), "save_model=True"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_setting_that_cannot_work(data, callback, setting):
    """A setting with which it would do nothing is refused by name."""
    message = rf"callbacks\[0\] is a .*{type(callback).__name__} with {setting}, which"
    with pytest.raises(ValueError, match=message):
        BertClassifier("/nowhere", callbacks=[callback], device="cpu").fit(*data)


def test_subclasses_are_refused_too(data):
    """A class made of one that cannot work cannot either."""

    class Mine(EpochScoring):
        pass

    clf = BertClassifier("/nowhere", callbacks=[("a", Mine("f1"))], device="cpu")
    with pytest.raises(ValueError, match=r"callbacks\[0\] is a Mine, which cannot"):
        clf.fit(*data)


class Best(EarlyStopping):
    """Sets a parameter for the class."""

    load_best = True

    def __init__(self):
        self.monitor = "train_loss"


class Bare(EarlyStopping):
    """Forgets the parameters of the class it is made of."""

    def __init__(self):
        self.monitor = "train_loss"


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Best, "a Best with load_best=True, which"),
        (Bare, "a Bare without the attribute 'load_best'"),
    ],
)
def test_parameters_of_subclasses(data, cls, message):
    """They are found wherever a subclass sets them; without one it is refused."""
    clf = BertClassifier("/nowhere", callbacks=[cls()], device="cpu")
    with pytest.raises(ValueError, match=rf"callbacks\[0\] is {message}"):
        clf.fit(*data)


def test_loggers_share_what_they_write_to(make, data):
    """The caller's writer, which cannot be copied, is told of each epoch."""
    writer = Sink()
    make(callbacks=[TensorBoard(writer, close_after_train=False)]).fit(*data)
    assert ("Loss/train_loss", 1) in writer.told
    assert ("Loss/train_loss", 2) in writer.told


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (BertClassifier, {}),
        (BertRegressor, {}),
        (BertTokenClassifier, {}),
        (BertPretrainer, {}),
        (BertGenerator, {}),
        (BertEmbedder, {}),
        (BertEmbedder, {"objective": "simcse"}),
        (BertEmbedder, {"objective": "mlm"}),
    ],
)
@pytest.mark.parametrize(
    "wrong", [1, len, "EpochTimer", None, ProgressBar(), int, (1, EpochTimer())]
)
def test_callback_of_another_kind_is_refused(data, cls, params, wrong):
    """It is refused with its place, before the checkpoint is read."""
    callbacks = [EpochTimer(), wrong]
    X = [text.split() for text in data[0]] if cls is BertTokenClassifier else data[0]
    estimator = cls("/nowhere", callbacks=callbacks, device="cpu", **params)
    with pytest.raises(TypeError, match=r"callbacks\[1\] is .*expected"):
        estimator.fit(X, data[1])


def test_a_scikit_learn_callback_is_shown_the_way(data):
    """One of scikit-learn's is sent to set_callbacks."""
    clf = BertClassifier("/nowhere", callbacks=[ProgressBar()], device="cpu")
    with pytest.raises(TypeError, match=r"scikit-learn's are set by set_callbacks"):
        clf.fit(*data)


def test_callback_that_cannot_be_copied_is_refused(data):
    """A callback of the caller's that holds a lock is refused with its place."""

    class Locked(Callback):
        def __init__(self):
            self.lock = threading.Lock()

    clf = BertClassifier("/nowhere", callbacks=[Locked()], device="cpu")
    with pytest.raises(TypeError, match=r"callbacks\[0\] is a Locked that cannot be"):
        clf.fit(*data)


def test_classes_and_names(make, data):
    """As in skorch, a callback may be a class, and may have a name."""
    given = [EpochTimer, ("mine", EpochTimer()), ("print", PrintLog)]
    clf = make(callbacks=given).fit(*data)
    assert [name for name, _ in clf.net_.callbacks_] == ["EpochTimer", "mine", "print"]
    with pytest.raises(ValueError, match=r"callbacks\[1\] has the name 'a'"):
        make(callbacks=[("a", EpochTimer), ("a", PrintLog)]).fit(*data)
    with pytest.raises(TypeError, match=r"class TensorBoard, which cannot be called"):
        make(callbacks=[TensorBoard]).fit(*data)


@pytest.mark.parametrize(
    ("callbacks", "names"),
    [
        ([EpochTimer(), EpochTimer()], ["EpochTimer_1", "EpochTimer_2"]),
        ([("EpochTimer", EpochTimer()), EpochTimer()], ["EpochTimer", "EpochTimer_1"]),
        (
            [EpochTimer(), EpochTimer(), ("EpochTimer_1", PrintLog())],
            ["EpochTimer_2", "EpochTimer_3", "EpochTimer_1"],
        ),
        ([("FitProgress", EpochTimer())], ["FitProgress"]),
    ],
)
def test_names_that_are_taken(make, data, callbacks, names):
    """A name of the caller's stays; whoever else would have it gets another."""
    clf = make(callbacks=callbacks, verbose=1).fit(*data)
    assert [name for name, _ in clf.net_.callbacks_] == names


@pytest.mark.parametrize("name", ["net_", "best"])
def test_callback_keeps_what_it_collected(make, data, tmp_path, name):
    """It is in the net's callbacks_; a copy, a pickle and a saved folder drop it."""

    class Losses(Callback):
        def initialize(self):
            self.found = []
            return self

        def on_epoch_end(self, net, **kwargs):
            self.found.append(net.history[-1]["train_loss"])

    clf = make(callbacks=[("losses", Losses())])
    if name == "best":
        clf = GridSearchCV(clf, {"batch_size": [8]}, cv=2).fit(*data).best_estimator_
    else:
        clf.fit(*data)
    found = dict(clf.net_.callbacks_)["losses"].found
    assert found == [row["train_loss"] for row in clf.history_]
    clf.set_params(callbacks=None)
    save(clf, tmp_path / "model")
    loaded = load(tmp_path / "model")
    for other in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf)), loaded):
        assert other.net_.callbacks_ == []
        assert len(other.predict(data[0])) == 16


def test_the_embedder_hands_on_what_was_collected(make, data):
    """With objective="mlm" the copies are those that saw hidden words learnt."""
    params = {"objective": "mlm", "callbacks": [EpochTimer()]}
    embedder = make(BertEmbedder, **params).fit(data[0])
    assert [name for name, _ in embedder.net_.callbacks_] == ["EpochTimer"]
    assert embedder.net_.history[-1]["dur"] > 0


# -- stopping --------------------------------------------------------------------------


@pytest.mark.parametrize("monitor", ["train_loss", "valid_loss", "valid_score"])
def test_early_stopping_of_skorch(make, data, capsys, monitor):
    """It stops by what history has; the last epoch is recorded, and others told."""
    stopping = EarlyStopping(monitor, 1, threshold=1e9, threshold_mode="abs")
    clf = make(callbacks=[stopping, PrintLog()], max_epochs=5)
    clf.fit(*data, X_val=data[0], y_val=data[1])
    assert clf.n_iter_ == len(clf.history_) == 2
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.split()[0] == "2" for line in lines) == 1
    assert any(line.startswith("Stopping since") for line in lines)


@pytest.mark.parametrize("monitor", ["valid_loss", "valid_score"])
@pytest.mark.parametrize("cls", [BertPretrainer, BertGenerator])
def test_early_stopping_of_skorch_without_labels(make, data, cls, monitor):
    """What learns from raw texts is validated where X_val is given, and only there."""
    texts = data[0]
    stopping = EarlyStopping(monitor, 1, threshold=1e9, threshold_mode="abs", sink=len)
    reader = make(cls, callbacks=[stopping], max_epochs=3)
    assert reader.fit(texts, X_val=texts[:4]).n_iter_ == 2
    reader.set_params(early_stopping=True, max_epochs=1)
    assert monitor in reader.fit(texts).history_[0]
    reader.set_params(early_stopping=False, checkpoint="/nowhere")
    with pytest.raises(ValueError, match=f"'{monitor}', but there is no validation"):
        reader.fit(texts)


def test_early_stopping_of_skorch_by_a_scorer(make, data):
    """valid_score is that of `scoring`, for callbacks too."""
    scores = iter([-3.0, -2.0, -4.0, -5.0])
    stopping = EarlyStopping("valid_score", 1, lower_is_better=False, sink=len)
    clf = make(callbacks=[stopping], max_epochs=4, scoring=lambda *data: next(scores))
    clf.fit(*data, X_val=data[0], y_val=data[1])
    assert [row["valid_score"] for row in clf.history_] == [-3.0, -2.0, -4.0]


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("valid_loss", "but there is no validation"),
        ("valid_score", "but there is no validation"),
        ("valid_acc", "which history does not have"),
        ("mlm_loss", "which history does not have"),
        ("dur", "which history does not have"),
    ],
)
def test_early_stopping_without_its_figure(data, monitor, message):
    """What history will not have is said before the checkpoint is read."""
    clf = BertClassifier("/nowhere", callbacks=[EarlyStopping(monitor)], device="cpu")
    with pytest.raises(ValueError, match=rf"monitor='{monitor}', {message}"):
        clf.fit(*data)


@pytest.mark.parametrize("monitor", ["mlm_loss", "nsp_loss"])
def test_early_stopping_by_a_part_of_the_loss(make, data, monitor):
    """History has the parts only where the loss has several."""
    callbacks = [EarlyStopping(monitor)]
    documents = [[text, text] for text in data[0]]
    reader = make(BertPretrainer, callbacks=callbacks, max_epochs=1, next_sentence=True)
    assert reader.fit(documents).n_iter_ == 1
    reader.set_params(next_sentence=False, checkpoint="/nowhere")
    with pytest.raises(ValueError, match=f"'{monitor}', which history does not have"):
        reader.fit(documents)


class Writing(EpochTimer):
    """A callback of the caller's, made of one of skorch's, that writes more."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("mine", 1.0)


@pytest.mark.parametrize(
    ("before", "monitor"),
    [
        (EpochTimer(), "dur"),
        (PassthroughScoring("train_loss", on_train=True), "train_loss_best"),
        (PassthroughScoring("train_batch_size", on_train=True), "train_batch_size"),
        (Writing(), "mine"),
    ],
)
def test_early_stopping_by_what_another_writes(make, data, before, monitor):
    """What a callback before it writes into history can be looked at."""
    clf = make(callbacks=[before, EarlyStopping(monitor)], max_epochs=1)
    assert clf.fit(*data).n_iter_ == 1


@pytest.mark.parametrize(
    "before", [PrintLog(), EpochTimer(), PassthroughScoring("nope", on_train=True)]
)
def test_early_stopping_after_one_that_does_not_write_its_figure(data, before):
    """A callback of skorch's before it writes only what is known of it."""
    clf = BertClassifier("/nowhere", callbacks=[before, EarlyStopping("nope")])
    with pytest.raises(ValueError, match=r"callbacks\[1\] .*'nope', which history"):
        clf.fit(*data)


def test_net_stop(make, data):
    """A callback of the caller's stops by net.stop()."""

    class Stop(Callback):
        def on_batch_end(self, net, **kwargs):
            net.stop()

    assert make(callbacks=[Stop()]).fit(*data).n_iter_ == 1


# -- Ctrl-C ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def default_handler():
    """Python's own handler of SIGINT, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def strike(*args, **kwargs):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("hook", HOOKS)
def test_ctrl_c_in_a_callback(make, data, hook):
    """A signal in any hook of a callback reaches the caller, and nothing is fitted."""
    callback = type("Struck", (Callback,), {hook: strike})()
    clf = make(callbacks=[callback])
    before = set(vars(clf))
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*data)
    assert set(vars(clf)) == before


@pytest.mark.parametrize("handler", [signal.default_int_handler, None])
def test_ctrl_c_in_early_stopping(make, data, handler):
    """A signal while skorch's own callback runs is no stop, by any handler."""

    def raising(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler or raising)
    stopping = EarlyStopping("train_loss", patience=1, threshold=0.9, sink=strike)
    with pytest.raises(KeyboardInterrupt):
        make(callbacks=[stopping], max_epochs=5).fit(*data)


def test_a_callers_own_interrupt(make, data):
    """A callback of the caller's that raises KeyboardInterrupt is heard, not obeyed."""

    class Interrupting(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(callbacks=[Interrupting()]).fit(*data)


class Struck:
    """A callback of scikit-learn's, struck at the end of a kind of task."""

    def __init__(self, task_name):
        self.task_name = task_name
        self.is_torn_down = False

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        self.is_torn_down = True

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == self.task_name:
            strike()


@pytest.mark.parametrize("task_name", ["fit", "epoch", "update"])
def test_ctrl_c_in_a_callback_of_scikit_learn(make, data, task_name):
    """A signal in one of scikit-learn's reaches the caller, and it is torn down."""
    struck = Struck(task_name)
    with pytest.raises(KeyboardInterrupt):
        make().set_callbacks(struck).fit(*data)
    assert struck.is_torn_down


def test_ctrl_c_in_a_search(make, data):
    """A signal in a callback ends the whole search, not one of its fits."""
    callback = type("Struck", (Callback,), {"on_epoch_end": strike})()
    search = GridSearchCV(make(callbacks=[callback]), {"batch_size": [4, 8]}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*data)
    assert not hasattr(search, "cv_results_")


def test_an_interrupt_is_not_hidden(make, data):
    """What a callback raises at the end of an interrupted fit does not replace it."""

    class Both(Callback):
        on_epoch_begin = strike

        def on_train_end(self, net, **kwargs):
            net.history[-1]["no such figure"]

    with pytest.raises(KeyboardInterrupt):
        make(callbacks=[Both()]).fit(*data)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_batch_end", "on_train_end"])
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_the_bar_is_closed(make, data, monkeypatch, hook, error):
    """Whatever a callback raises, and also at the end: the terminal is left alone."""
    console = functools.partial(Console, file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(_callbacks, "Console", lambda stderr: console())

    def raises(*args, **kwargs):
        raise error("of the caller's")

    callback = type("Raising", (Callback,), {hook: raises, "on_train_end": raises})()
    before = sys.stdout, sys.stderr
    with pytest.raises(error, match="of the caller's"):
        make(callbacks=[callback], verbose=1, max_epochs=1).fit(*data)
    assert (sys.stdout, sys.stderr) == before
    drawing = [t for t in threading.enumerate() if isinstance(t, _RefreshThread)]
    assert all(thread.done.is_set() for thread in drawing)


# -- signs of life ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (BertClassifier, {}),
        (BertRegressor, {}),
        (BertPretrainer, {}),
        (BertGenerator, {}),
        (BertEmbedder, {"objective": "simcse"}),
        (BertEmbedder, {"objective": "mlm"}),
        (BertEmbedder, {"objective": "supervised"}),
    ],
)
def test_lines_off_a_terminal(make, data, capsys, cls, params):
    """verbose=1 says what begins, and then every epoch, on stderr."""
    y = np.arange(16.0) if cls is BertRegressor else data[1]
    make(cls, verbose=1, **params).fit(data[0], y)
    out, err = capsys.readouterr()
    begins = [line.partition(",")[0] for line in err.splitlines()]
    assert out == ""
    assert begins[0].startswith(f"{cls.__name__}: ")
    assert begins[1:] == [f"{cls.__name__}: epoch {n}/2" for n in (1, 2)]


def test_lines_of_partial_fit_and_of_pretraining(make, data, capsys):
    """partial_fit and a pretraining inside of a fit give signs as well."""
    nested = BertPretrainer(max_epochs=1, verbose=1)
    clf = make(verbose=1, max_epochs=1, pretraining=nested).fit(*data)
    names = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert names == ["BertPretrainer"] * 2 + ["BertClassifier"] * 2
    clf.partial_fit(*data)
    assert "BertClassifier: epoch 1/1, loss" in capsys.readouterr().err
