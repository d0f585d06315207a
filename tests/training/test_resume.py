"""Fits that are killed, and go on: to the bit as if they had not been."""

import copy
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import time
import traceback
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
)
from sklearn_bert.estimators import _checkpoint_folder
from sklearn_bert.model._damage import DamagedCheckpointError
from sklearn_bert.model._tensor_folder import read_numbers, read_tensors, write_tensors
from sklearn_bert.training._resume import SLOTS, TrainingStates
from sklearn_bert.training._update import Updates

TIMES = ("seconds", "texts_per_second")
# Of "classifier", "tagger", "embedder" and "pretrainer" each in a few forms.
CASES = {
    "classifier": (BertClassifier, {}),
    "early_stopping": (BertClassifier, {"early_stopping": True, "max_epochs": 3}),
    "head": (BertClassifier, {"trainable": "head"}),
    "layers": (BertClassifier, {"trainable": 1, "layer_decay": 0.9}),
    "lora": (BertClassifier, {"adapter": "lora"}),
    "windows": (BertClassifier, {"long_text": "window", "max_length": 6}),
    "few_labels": (BertClassifier, {"max_epochs": "auto", "learning_rate": 1e-3}),
    "pretraining": (BertClassifier, {"pretraining": BertPretrainer(max_epochs=1)}),
    "regressor": (BertRegressor, {}),
    "tagger": (BertTokenClassifier, {}),
    "embedder": (BertEmbedder, {"objective": "simcse"}),
    "supervised": (BertEmbedder, {"objective": "supervised"}),
    "words": (BertEmbedder, {"objective": "mlm"}),
    "pretrainer": (BertPretrainer, {"pack": False, "early_stopping": True}),
    "next_sentence": (BertPretrainer, {"next_sentence": True}),
    "generator": (BertGenerator, {"pack": False}),
}


class Killed(BaseException):
    """Stands for a kill where a test has one process."""


@pytest.fixture
def after(monkeypatch):
    """Let the next fit, and no other, be killed after so many updates."""
    update = Updates.__call__
    done = SimpleNamespace(n=0, most=None)

    def count(self, *args):
        if done.n == done.most:
            done.most = None
            raise Killed
        done.n += 1
        return update(self, *args)

    monkeypatch.setattr(Updates, "__call__", count)

    def kill_after(n):
        done.n, done.most = 0, n
        return done

    return kill_after


@pytest.fixture
def fit(settings, data_for):
    """Fit a new estimator of a case, as the same call would in another process."""

    def fit_case(name, folder=None, minutes=0, **changes):
        cls, parameters = CASES[name]
        estimator = cls(
            **{**settings, "max_epochs": 2, **parameters, **changes},
            checkpoint_folder=folder,
            checkpoint_minutes=minutes,
        )
        return estimator.fit(*data_for(estimator))

    return fit_case


def digest(estimator):
    """The hash of what a fit has learnt, and of its history without its times."""
    hashed = hashlib.sha256()
    for name, value in estimator.net_.module.state_dict().items():
        hashed.update(name.encode() + value.numpy().tobytes())
    history = [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in estimator.history_
    ]
    attributes = [estimator.n_iter_, estimator.batch_size_used_]
    attributes.append(getattr(estimator, "temperature_", None))
    hashed.update(json.dumps([history, attributes]).encode())
    return hashed.hexdigest()


def kill(fit, after, n, *args, **kwargs):
    """Kill a fit after so many updates."""
    after(n)
    with pytest.raises(Killed):
        fit(*args, **kwargs)


# -- going on --------------------------------------------------------------------------


def test_a_fit_killed_before_each_update_is_as_if_it_were_not(fit, after, tmp_path):
    """Killed after each single update, a fit ends with the weights of a whole one."""
    whole = digest(fit("early_stopping"))
    for _ in range(8):  # of three epochs of three updates
        kill(fit, after, 1, "early_stopping", tmp_path)
    done = after(None)
    assert digest(fit("early_stopping", tmp_path)) == whole
    assert done.n == 1
    assert list(tmp_path.iterdir()) == []


# Of these there is another here by default.
LIKE_OTHERS = ("classifier", "regressor", "supervised", "pretraining", "early_stopping")


@pytest.mark.parametrize("name", [name for name in CASES if name not in LIKE_OTHERS])
def test_what_learns_goes_on(name, fit, after, tmp_path):
    """Whatever learns goes on as a whole fit, when its second epoch was broken off."""
    whole = fit(name)
    n_updates = len(whole.net_.history[:, "batches"][0])
    kill(fit, after, n_updates + 2, name, tmp_path)
    done = after(None)
    assert digest(fit(name, tmp_path)) == digest(whole)
    n_all = n_updates * len(whole.net_.history)
    assert done.n == n_all - n_updates - 2
    assert list(tmp_path.iterdir()) == []


def falling(estimator, X, y):
    """A score by which the first epoch is the best one."""
    return -float(estimator.n_iter_)


def test_the_best_weights_go_on(fit, after, tmp_path):
    """The weights of the best epoch so far are kept, when a later one is broken off."""
    same = {"name": "early_stopping", "scoring": falling}
    whole = fit(**same)
    assert whole.n_iter_ == 3, "two epochs were worse than the first"
    kill(fit, after, 5, folder=tmp_path, **same)
    assert digest(fit(folder=tmp_path, **same)) == digest(whole)


@pytest.mark.parametrize("last", ["neg", "new"])
def test_a_warm_start_goes_on(fit, after, tmp_path, reviews, last):
    """A fit that goes on with an earlier one is not taken for that, nor mixed up."""
    X, y = reviews[0], [*reviews[1][:-1], last]  # "new": the head grows
    first = fit("head", tmp_path).set_params(warm_start=True)
    again = copy.deepcopy(first)
    whole = copy.deepcopy(first).set_params(checkpoint_folder=None).fit(X, y)
    kill(first.fit, after, 4, X, y)
    with pytest.raises(ValueError, match="differs from it: other weights to start"):
        fit("head", tmp_path, warm_start=True)
    assert digest(again.fit(X, y)) == digest(whole)


def test_pretraining_in_a_folder_of_its_own_is_not_done_again(fit, after, tmp_path):
    """A nested pretraining whose folder keeps it takes no update when a fit goes on."""
    nested = BertPretrainer(
        max_epochs=1, checkpoint_folder=tmp_path / "{fit}", checkpoint_minutes=0
    )
    done = after(None)
    whole = fit("pretraining", pretraining=nested)
    n_all = done.n
    shutil.rmtree(tmp_path)
    kill(fit, after, n_all - 2, "pretraining", tmp_path / "own", pretraining=nested)
    done = after(None)
    assert digest(fit("pretraining", tmp_path / "own", pretraining=nested)) == digest(
        whole
    )
    assert done.n == 2


def test_predictions_go_on(fit, after, tmp_path, reviews):
    """Probabilities of a fit that went on are those of a whole one."""
    kill(fit, after, 4, "classifier", tmp_path)
    proba = fit("classifier", tmp_path).predict_proba(reviews[0])
    np.testing.assert_array_equal(proba, fit("classifier").predict_proba(reviews[0]))


def test_bfloat16_goes_on(fit, after, tmp_path, emulated_bfloat16):
    """Of weights in bfloat16 the float32 masters go on."""
    whole = digest(fit("classifier", precision="bfloat16"))
    kill(fit, after, 4, "classifier", tmp_path, precision="bfloat16")
    assert digest(fit("classifier", tmp_path, precision="bfloat16")) == whole


@pytest.mark.parametrize("n", [1, 3, 4])
def test_float16_goes_on(n, fit, after, tmp_path, emulated_bfloat16, monkeypatch):
    """The scale of the losses goes on, and so does the count of skipped updates."""
    collect = Updates._collect

    def overflow_twice(self, scores, targets, weights, *sizes):
        if self.n_done == 2 and self.loss_scale.state()["n_bad"] < 2:
            weights = weights * torch.inf
        return collect(self, scores, targets, weights, *sizes)

    monkeypatch.setattr(Updates, "_collect", overflow_twice)
    whole = fit("classifier", precision="float16")
    assert sum(row["skipped_updates"] for row in whole.history_) >= 2
    kill(fit, after, n, "classifier", tmp_path, precision="float16")
    again = fit("classifier", tmp_path, precision="float16")
    assert digest(again) == digest(whole)


def test_a_scale_that_is_none_is_refused(fit, after, tmp_path, emulated_bfloat16):
    """Of a forged state not even the scale is taken."""
    kill(fit, after, 3, "classifier", tmp_path, precision="float16")
    for slot in SLOTS:
        state = tmp_path / slot
        if state.exists():
            numbers, tensors = read_numbers(state), read_tensors(state)
            numbers["loss_scale"]["scale"] = 0.0
            write_tensors(state, numbers, tensors)
    with pytest.raises(DamagedCheckpointError, match="the scale of its losses is none"):
        fit("classifier", tmp_path, precision="float16")


def test_small_parts_go_on(fit, after, tmp_path, monkeypatch):
    """Batches that memory has halved stay halved, and what is kept stays less."""
    attempt = Updates._try
    n_left = 0

    def try_in_vain(self, examples, rows):
        nonlocal n_left
        if n_left:
            n_left -= 1
            return None, "there was no memory"
        return attempt(self, examples, rows)

    monkeypatch.setattr(Updates, "_try", try_in_vain)
    same = {"name": "classifier", "gradient_checkpointing": "auto"}
    n_left = 2
    whole = fit(**same)
    assert whole.batch_size_used_ == 8
    n_left = 2
    kill(fit, after, 3, folder=tmp_path, **same)
    assert n_left == 0
    assert read_numbers(tmp_path / SLOTS[0])["keeps_less"]
    assert digest(fit(folder=tmp_path, **same)) == digest(whole)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(3)])
def test_random_numbers_go_on(random_state, fit, after, tmp_path):
    """Without a seed the killed call's goes on; a RandomState gives the same one."""
    seeds = [np.random.RandomState(3) if random_state else None for _ in range(3)]
    kill(fit, after, 4, "classifier", tmp_path / "1", random_state=seeds[0])
    shutil.copytree(tmp_path / "1", tmp_path / "2")
    one = fit("classifier", tmp_path / "1", random_state=seeds[1])
    two = fit("classifier", tmp_path / "2", random_state=seeds[2])
    assert digest(one) == digest(two)


def test_nothing_is_left_without_a_folder_before(fit, tmp_path):
    """A folder that a fit made is gone after it, unless something is in it."""
    fit("classifier", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_stay(fit, after, tmp_path):
    """Files of others, in the folder and in that of a state, are never touched."""
    (tmp_path / "notes.txt").write_text("mine")
    kill(fit, after, 3, "classifier", tmp_path)
    (tmp_path / SLOTS[0] / "more.txt").write_text("mine, too")
    fit("classifier", tmp_path)
    left = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert left == [tmp_path / "notes.txt", tmp_path / SLOTS[0] / "more.txt"]
    assert [path.read_text() for path in left] == ["mine", "mine, too"]
    kill(fit, after, 3, "classifier", tmp_path)  # in the same folders, without a word
    assert read_numbers(tmp_path / SLOTS[0])["n_done"] == 3


def test_drafts_of_the_dead_are_removed(fit, tmp_path):
    """What a process left that was killed as it wrote a state goes at the next fit."""
    draft = tmp_path / f".{SLOTS[0]}.0123.saving"
    draft.mkdir()
    (draft / "tensors.safetensors.tmp").write_text("half")
    fit("classifier", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_states_are_written_by_the_clock(fit, tmp_path, monkeypatch):
    """There is a state after so many minutes of training, and none before."""
    written = []
    monkeypatch.setattr(TrainingStates, "_write", lambda *a, **k: written.append(a))
    monkeypatch.setattr(time, "monotonic", lambda: 60.0 * len(ticks))
    ticks = []
    update = Updates.__call__

    def tick(self, *args):
        ticks.append(self.n_done)
        return update(self, *args)

    monkeypatch.setattr(Updates, "__call__", tick)
    fit("classifier", tmp_path, 2)
    assert [n_done for _, _, n_done in written] == [2, 4]
    written.clear()
    fit("classifier", tmp_path, 10)
    assert written == []


def test_partial_fit_writes_nothing(settings, reviews, tmp_path):
    """`partial_fit` takes no notice of the folder."""
    clf = BertClassifier(**settings, checkpoint_folder=tmp_path / "s")
    clf.set_params(checkpoint_minutes=0).partial_fit(*reviews)
    assert not (tmp_path / "s").exists()


# -- callbacks -------------------------------------------------------------------------


class Counting(Callback):
    """Keeps plain data, and something else."""

    def __init__(self):
        self.seen, self.sizes, self.said = 0, {}, lambda: None

    def on_batch_end(self, net, batch=None, **kwargs):
        self.seen += 1
        self.sizes[self.seen] = (len(batch), None)

    def on_epoch_end(self, net, **kwargs):
        net.history.record("seen", np.int64(self.seen))


def test_callbacks_go_on(fit, after, tmp_path):
    """Callbacks come back with their plain data, and stop where they would have."""
    callbacks = [
        Counting(),
        EarlyStopping("train_loss", patience=1, threshold=0.9, sink=lambda text: None),
    ]
    whole = fit("classifier", callbacks=callbacks, max_epochs=5)
    assert whole.n_iter_ == 4, "it was stopped"
    kill(fit, after, 7, "classifier", tmp_path, callbacks=callbacks, max_epochs=5)
    again = fit("classifier", tmp_path, callbacks=callbacks, max_epochs=5)
    assert digest(again) == digest(whole)
    assert again.net_.history[:, "seen"] == whole.net_.history[:, "seen"]
    counted = [
        dict(estimator.net_.callbacks_)["Counting"] for estimator in (again, whole)
    ]
    assert counted[0].sizes == counted[1].sizes
    assert counted[0].seen == 12


def test_history_that_is_no_data_is_told(fit, tmp_path, after):
    """Where history holds more than plain data there is no state, and one warning."""

    class Odd(Callback):
        def on_batch_end(self, net, **kwargs):
            net.history.record("odd", object())

    with pytest.warns(
        UserWarning, match="no state of the fit could be written"
    ) as told:
        fit("classifier", tmp_path, callbacks=[Odd()])
    assert len(told) == 1


# -- damage ----------------------------------------------------------------------------


def newest_of(folder):
    return max(SLOTS, key=lambda slot: read_numbers(folder / slot)["n_done"])


def make_endless(path, rng):
    path.unlink()
    path.symlink_to("/dev/zero")


def flip_bit(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


DAMAGES = {
    "endless": make_endless,
    "flipped": flip_bit,
    "cut": lambda path, rng: os.truncate(path, rng.randrange(path.stat().st_size)),
    "removed": lambda path, rng: path.unlink(),
    "replaced": lambda path, rng: path.write_text("{}"),
}


def check_falls_back(fit, after, folder, whole, rng):
    """Kill a fit, damage its newest state, and go on from the one before."""
    kill(fit, after, rng.randrange(3, 6), "classifier", folder)
    newest = folder / newest_of(folder)
    n_done = read_numbers(newest)["n_done"]
    path = newest / rng.choice(["state.json", "tensors.safetensors"])
    kind = rng.choice(sorted(DAMAGES))
    DAMAGES[kind](path, rng)
    done = after(None)
    with pytest.warns(UserWarning, match=f"after update {n_done - 1}\\.") as told:
        estimator = fit("classifier", folder)
    assert len(told) == 1
    assert str(path) in str(told[0].message)
    assert done.n == 6 - (n_done - 1)
    assert digest(estimator) == whole


def test_a_damaged_state_falls_back(fit, after, tmp_path):
    """Where the newest state is damaged, the one before serves, with one warning."""
    whole = digest(fit("classifier"))
    rng = random.Random(0)
    for number in range(3):
        check_falls_back(fit, after, tmp_path / str(number), whole, rng)


def test_two_damaged_states_begin_anew(fit, after, tmp_path):
    """Where both are damaged the fit begins anew, and says so."""
    kill(fit, after, 4, "classifier", tmp_path)
    for slot in SLOTS:
        (tmp_path / slot / "state.json").write_text("[]")
    done = after(None)
    with pytest.warns(UserWarning, match="state-0.*state-1.*begins anew"):
        fit("classifier", tmp_path)
    assert done.n == 6


def place_out_of_bounds(numbers, tensors):
    tensors["generator/cpu"][16:24] = torch.tensor([255, 1, 0, 0, 0, 0, 0, 0])


def not_finite(numbers, tensors):
    next(v for n, v in tensors.items() if n.startswith("weights/")).view(-1)[0] = np.nan


def other_shape(numbers, tensors):
    name = next(n for n in tensors if n.startswith("weights/"))
    tensors[name] = tensors[name][:1].clone()


def no_weight(numbers, tensors):
    del tensors[next(n for n in tensors if n.startswith("weights/"))]


def too_far(numbers, tensors):
    tensors["losses"] = torch.zeros(99, 1)


@pytest.mark.parametrize(
    "change",
    [
        place_out_of_bounds,
        not_finite,
        other_shape,
        no_weight,
        too_far,
        lambda numbers, tensors: tensors.pop("generator/cpu"),
        lambda numbers, tensors: numbers.update(history=[]),
        lambda numbers, tensors: numbers.update(part_size=0),
        lambda numbers, tensors: numbers["call"].pop("parameters"),
    ],
)
def test_a_forged_state_is_refused(change, fit, after, tmp_path):
    """A state with right checksums that does not fit is refused, with its folder."""
    kill(fit, after, 3, "classifier", tmp_path)
    shutil.rmtree(tmp_path / SLOTS[1])
    numbers, tensors = (
        read_numbers(tmp_path / SLOTS[0]),
        read_tensors(tmp_path / SLOTS[0]),
    )
    change(numbers, tensors)
    write_tensors(tmp_path / SLOTS[0], numbers, tensors)
    with pytest.raises(DamagedCheckpointError, match=r"(?s)state.*[Rr]emove"):
        fit("classifier", tmp_path)


# -- other calls -----------------------------------------------------------------------


def test_other_parameters_are_refused(fit, after, tmp_path):
    """A call with other parameters is refused: each by its name, old and new value."""
    kill(fit, after, 3, "classifier", tmp_path)
    wanted = r"batch_size was 16 and is 8; learning_rate was 0.005 and is 0.001"
    with pytest.raises(ValueError, match=wanted):
        fit("classifier", tmp_path, batch_size=8, learning_rate=1e-3)
    with pytest.raises(ValueError, match="class was BertClassifier and is BertRegr"):
        fit("regressor", tmp_path)
    fit("classifier", tmp_path, verbose=1)  # it changes nothing that is learnt


def test_other_data_are_refused(fit, after, tmp_path, settings, reviews):
    """A call with other texts, labels or weights is refused by name."""
    kill(fit, after, 3, "classifier", tmp_path)
    texts, labels = reviews
    clf = BertClassifier(**settings, max_epochs=2, checkpoint_folder=tmp_path)
    with pytest.raises(ValueError, match="differs from it: other X\\."):
        clf.fit([*texts[:-1], "a cat"], labels)
    with pytest.raises(ValueError, match="differs from it: other y\\."):
        clf.fit(texts, labels[::-1])
    with pytest.raises(ValueError, match="from it: other sample or class weights\\."):
        clf.fit(texts, labels, sample_weight=np.arange(1, 41))
    with pytest.raises(ValueError, match="other validation data"):
        clf.fit(texts, labels, X_val=texts, y_val=labels)
    clf.fit(texts, labels)


def test_other_weights_are_refused(fit, after, tmp_path, make_checkpoint, settings):
    """A call that starts with other weights of the same name is refused."""
    folder = make_checkpoint()
    kill(fit, after, 3, "classifier", tmp_path / "s", checkpoint=folder)
    shutil.copy(make_checkpoint(pooling="cls", n_layers=2) / "config.json", folder)
    other = make_checkpoint(n_layers=1)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    with pytest.raises(ValueError, match="other weights to start with"):
        fit("classifier", tmp_path / "s", checkpoint=folder)


def test_other_versions_are_refused(fit, after, tmp_path, monkeypatch):
    """A call with other libraries is refused by their names."""
    kill(fit, after, 3, "classifier", tmp_path)
    now = _checkpoint_folder.versions()
    monkeypatch.setattr(
        _checkpoint_folder, "versions", lambda: {**now, "torch": "9.9.9"}
    )
    with pytest.raises(ValueError, match=r"torch was \S+ and is 9\.9\.9"):
        fit("classifier", tmp_path)


def test_a_folder_serves_one_fit_at_a_time(fit, tmp_path):
    """A second fit in the folder of a running one is refused, and the first goes on."""

    class Second(Callback):
        def on_epoch_begin(self, net, **kwargs):
            with pytest.raises(ValueError, match="in use by another fit"):
                fit("classifier", tmp_path)

    fit("classifier", tmp_path, callbacks=[Second()])


def test_a_path_that_is_no_folder_is_refused(fit, tmp_path):
    """A path that cannot be a folder is refused by the parameter's name."""
    (tmp_path / "file").write_text("")
    wrong = "checkpoint_folder is .*cannot be written"
    for path in (tmp_path / "file", tmp_path / "file" / "sub", "a\0b", "a" * 9999):
        with pytest.raises(ValueError, match=wrong):
            fit("classifier", path)
    with pytest.raises(ValueError, match="checkpoint_folder is ''; expected a path"):
        fit("classifier", "")


def test_a_full_disk_stops_no_fit(fit, tmp_path):
    """Where no state can be written the fit goes on, and older states stay whole."""
    whole = digest(fit("classifier"))

    class Filling(Callback):
        def on_batch_end(self, net, **kwargs):
            if net.updates_.n_done == 3:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    def fit_to_the_end():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            clf = fit("classifier", tmp_path, callbacks=[Filling(), Dying()])
        assert digest(clf) == whole
        assert len(told) == 1
        assert "no state of the fit could be written" in str(told[0].message)

    class Dying(Callback):
        def on_train_end(self, net, **kwargs):
            done = [read_numbers(tmp_path / slot)["n_done"] for slot in SLOTS]
            assert sorted(done) == [1, 2]

    assert wait(start(fit_to_the_end)) == 0
    assert list(tmp_path.iterdir()) == []


# -- searches --------------------------------------------------------------------------


def test_a_search_keeps_finished_candidates(settings, reviews, after, tmp_path):
    """A search that was killed computes no fit again that had come to its end."""

    def search(**changes):
        clf = BertClassifier(**{**settings, "max_epochs": 1, **changes})
        grid = {"learning_rate": [1e-3, 5e-3]}
        return GridSearchCV(clf, grid, cv=2, error_score="raise").fit(*reviews)

    folder = {"checkpoint_folder": tmp_path / "{fit}", "checkpoint_minutes": 0}
    done = after(None)
    whole = search()
    n_all = done.n
    kill(search, after, 5, **folder)
    done = after(None)
    again = search(**folder)
    assert done.n == n_all - 5
    scores = [s.cv_results_["mean_test_score"].tolist() for s in (whole, again)]
    assert scores[0] == scores[1]
    assert digest(again.best_estimator_) == digest(whole.best_estimator_)
    done = after(None)
    assert digest(search(**folder).best_estimator_) == digest(whole.best_estimator_)
    assert done.n == 0
    assert len(list(tmp_path.iterdir())) == 5
    assert all(len(list(path.iterdir())) == 1 for path in tmp_path.iterdir())


def test_folders_of_many_fits_need_a_seed(fit, tmp_path):
    """Without a seed no fit would find its folder again, which is said."""
    with pytest.raises(ValueError, match="Set random_state to a number"):
        fit("classifier", tmp_path / "{fit}", random_state=None)


# -- real kills ------------------------------------------------------------------------


def start(work):
    """Run a function in a child of this process, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid):
    """Return how a child has ended: minus the signal, or its code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def logged(path):
    """The updates that a child has begun, with the time of each."""
    if not path.exists():
        return []
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(int(n_done), float(when)) for n_done, when in lines]


@pytest.fixture
def in_child(fit, tmp_path, monkeypatch):
    """Start a fit in a child, which notes each update and its result."""
    update = Updates.__call__

    def note(self, *args):
        os.write(log.file, f"{self.n_done} {time.monotonic()}\n".encode())
        return update(self, *args)

    log = SimpleNamespace(file=None)
    monkeypatch.setattr(Updates, "__call__", note)

    def run(name, place, *args, **kwargs):
        def work():
            log.file = os.open(place / "log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            (place / "digest").write_text(digest(fit(name, *args, **kwargs)))

        place.mkdir(parents=True)
        return start(work)

    return run


INTERVAL = 0.05  # seconds
# Fits of twenty updates.
LONG = {"batch_size": 4, "max_epochs": 2}


def check_kill(in_child, place, name, wholes, rng):
    """Kill a fit at a moment of its training; compare what the same call comes to.

    Returns the seconds lost beyond the interval and the longest time between two
    updates, and whether there was a state.
    """
    if name not in wholes:
        assert wait(in_child(name, place / "whole", **LONG)) == 0
        times = [when for _, when in logged(place / "whole" / "log")]
        text = (place / "whole" / "digest").read_text()
        wholes[name] = text, times[-1] - times[0]
    whole, seconds = wholes[name]
    same = {"folder": place / "states", "minutes": INTERVAL / 60, **LONG}
    child = in_child(name, place / "one", **same)
    while not logged(place / "one" / "log"):
        time.sleep(0.005)
    time.sleep(rng.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    assert wait(child) in (-signal.SIGKILL, 0)
    before = logged(place / "one" / "log")
    if (place / "one" / "digest").exists():  # it was as fast as that
        return 0.0, False
    assert wait(in_child(name, place / "two", **same)) == 0
    assert (place / "two" / "digest").read_text() == whole
    assert list((place / "states").iterdir()) == []
    first = logged(place / "two" / "log")[0][0]
    times = [when for _, when in before]
    if first > before[-1][0]:  # killed behind the last update that was noted
        return 0.0, True
    gap = max(np.diff(times), default=0.0)
    return times[-1] - times[first] - INTERVAL - gap, first > 0


@pytest.mark.parametrize("name", ["classifier", "pretrainer"])
def test_a_real_kill(name, in_child, tmp_path):
    """After SIGKILL the same call comes to what a whole one does."""
    lost, _ = check_kill(in_child, tmp_path, name, {}, random.Random(1))
    assert lost < INTERVAL


@pytest.mark.slow
def test_two_hundred_real_kills(in_child, tmp_path, record_property):
    """Each of 200 fits that were killed at random comes to what a whole one does."""
    rng, wholes, found = random.Random(0), {}, []
    names = ["classifier", "tagger", "embedder", "pretrainer"]
    for number in range(200):
        place = tmp_path / str(number)
        found.append(check_kill(in_child, place, names[number % 4], wholes, rng))
        shutil.rmtree(place)
    lost = np.array([seconds for seconds, _ in found])
    record_property("from_a_state", sum(went_on for _, went_on in found))
    record_property("seconds_beyond", lost.max())
    assert (lost < INTERVAL).all()


@pytest.mark.slow
def test_twenty_damaged_states(fit, after, tmp_path):
    """Each of 20 fits with a damaged newest state falls back to the one before."""
    whole = digest(fit("classifier"))
    rng = random.Random(1)
    for number in range(20):
        check_falls_back(fit, after, tmp_path / str(number), whole, rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_place_of_every_case(name, fit, after, tmp_path):
    """Whatever learns can be killed before each of its updates."""
    whole = digest(fit(name))
    for _ in range(100):
        after(1 if name != "pretraining" else 3)
        try:
            estimator = fit(name, tmp_path)
        except Killed:
            continue
        break
    assert digest(estimator) == whole
