"""Fits that several processes make together: as one process makes them.

The processes are children of the one that runs the tests, which have imported all that
they need, and know each other by the variables that torchrun sets.
"""

import functools
import io
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from contextlib import redirect_stderr
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, PrintLog
from torch import distributed as dist

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
from sklearn_bert._process._random import OWN, seeded
from sklearn_bert.distributed import alone
from sklearn_bert.training import _joined, _ranks
from sklearn_bert.training._ranks import Ranks
from sklearn_bert.training._update import Updates

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="it cannot fork")

TIMES = ("seconds", "texts_per_second")
CASES = {
    "plain": (BertClassifier, {"max_epochs": 2, "head_init": "random"}),
    "30 updates": (BertClassifier, {"max_epochs": 10}),
    "weights": (BertClassifier, {"class_weight": "balanced"}),
    "early_stopping": (BertClassifier, {"early_stopping": True, "max_epochs": 3}),
    "scoring": (BertClassifier, {"early_stopping": True, "scoring": "roc_auc"}),
    "head": (BertClassifier, {"trainable": "head", "max_epochs": 2}),
    "layers": (BertClassifier, {"trainable": 1, "layer_decay": 0.9}),
    "lora": (BertClassifier, {"adapter": "lora"}),
    "checkpointing": (BertClassifier, {"gradient_checkpointing": True}),
    "windows": (BertClassifier, {"long_text": "window", "max_length": 6}),
    "few_labels": (BertClassifier, {"max_epochs": "auto", "batch_size": "auto"}),
    "pretraining": (
        BertClassifier,
        {"pretraining": BertPretrainer(max_epochs=1, dropout=0.0)},
    ),
    "regressor": (BertRegressor, {"early_stopping": True}),
    "tagger": (BertTokenClassifier, {"early_stopping": True}),
    "supervised": (BertEmbedder, {"objective": "supervised"}),
    "pairs": (BertEmbedder, {"objective": "pairs"}),
    "words": (BertEmbedder, {"objective": "mlm"}),
    "pretrainer": (BertPretrainer, {"pack": False, "early_stopping": True}),
    "next_sentence": (BertPretrainer, {"next_sentence": True}),
    "generator": (BertGenerator, {"pack": False}),
}
# Of each kind of batch, loss and validation there is one here; the others take minutes.
QUICK = (
    *("30 updates", "weights", "early_stopping", "windows"),
    *("few_labels", "tagger", "supervised", "pretrainer"),
)
SECONDS = 300  # after which a process that waits for ever is ended


@pytest.fixture(scope="module")
def in_processes(tmp_path_factory):
    """Run a function in processes that know each other; return what it returns.

    Of one that has ended by a signal, or an error, it is that number.
    """

    def run(work, size=2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder = tmp_path_factory.mktemp("answers")
        children = []
        for rank in range(size):
            pid = os.fork()
            if pid == 0:
                answer_from_child(work, rank, size, port, folder / str(rank))
            children.append(pid)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        return [
            code or pickle.loads((folder / str(rank)).read_bytes())
            for rank, code in enumerate(codes)
        ]

    return run


def answer_from_child(work, rank, size, port, path):
    signal.alarm(SECONDS)
    code = 1
    try:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        path.write_bytes(pickle.dumps(work(rank)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture(scope="module")
def fit(settings, data_for):
    """Fit a new estimator of a case, as the same call would in another process."""

    def fit_case(name="plain", X=None, y=None, **changes):
        cls, parameters = CASES[name]
        # Without dropout, whose masks are drawn by each process.
        some = {"max_epochs": 1, "dropout": 0.0, "learning_rate": 1e-3}
        estimator = cls(**{**settings, **some, **parameters, **changes})
        given = data_for(estimator)
        X, y = given[0] if X is None else X, given[1] if y is None else y
        weighs = {"sample_weight": np.linspace(0, 2, 40)} if name == "weights" else {}
        return estimator.fit(X, y, **weighs)

    return fit_case


def learnt(estimator):
    """What a fit has learnt, by name, and its history without its times."""
    state = estimator.net_.module.full_state()
    history = [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in estimator.history_
    ]
    attributes = {"temperature": getattr(estimator, "temperature_", 1.0)}
    weights = {name: value.detach().numpy() for name, value in state.items()}
    return weights | attributes, history


def check_same(found, expected, within=0.0):
    """Raise AssertionError where two fits have not learnt the same."""
    for name, value in expected[0].items():
        np.testing.assert_allclose(found[0][name], value, rtol=0, atol=within)
    for one, other in zip(found[1], expected[1], strict=True):
        assert one == pytest.approx(other, rel=0, abs=within)


def error_of(function, *args, **kwargs):
    """What a call raises, and after how many seconds."""
    start = time.monotonic()
    try:
        function(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}", time.monotonic() - start
    return "", time.monotonic() - start


# -- as one process --------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_two(in_processes, fit):
    """What each of two processes has learnt in some cases, one after the other."""

    @functools.cache
    def answers(names):
        return in_processes(lambda rank: {name: learnt(fit(name)) for name in names})

    return answers


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in CASES
    ],
)
def test_two_processes_learn_what_one_does(name, fit, of_two):
    """Whatever is fitted, two processes end as one does, and with the same bits."""
    names = QUICK if name in QUICK else tuple(CASES)
    first, second = (of_rank[name] for of_rank in of_two(names))
    check_same(second, first)
    check_same(first, learnt(fit(name)), within=1e-5)


def test_more_processes_than_texts_in_a_batch(fit, reviews, in_processes):
    """A process that has no text of a batch has a share in it all the same."""
    texts, labels = (values[:9] for values in reviews)

    def work(rank):
        cases = ("layers", "windows", "supervised")
        return [learnt(fit(name, texts, labels, batch_size=2)) for name in cases]

    first, second, third = in_processes(work, size=3)
    for one, two, three, expected in zip(first, second, third, work(0), strict=True):
        check_same(two, one)
        check_same(three, one)
        check_same(one, expected, within=1e-5)


@pytest.mark.slow
def test_bfloat16(fit, in_processes, emulated_bfloat16):
    """In bfloat16 gradients are added up in float32, alike in both processes."""
    first, second = in_processes(lambda rank: learnt(fit(precision="bfloat16")))
    check_same(second, first)
    check_same(first, learnt(fit(precision="bfloat16")), within=5e-3)


def test_partial_fit(fit, reviews, in_processes):
    """Portion by portion two processes learn what one does."""

    def work(rank):
        return learnt(fit().partial_fit(*reviews))

    first, second = in_processes(work)
    check_same(second, first)
    check_same(first, work(0), within=1e-5)


def test_dropout(fit, in_processes):
    """With dropout both learn the same, again with the same seed, and not as one."""

    def work(rank):
        return [learnt(fit("pairs", dropout=0.3)) for _ in range(2)]

    (first, again), (second, _) = in_processes(work)
    check_same(second, first)
    check_same(again, first)
    with pytest.raises(AssertionError):
        check_same(first, learnt(fit("pairs", dropout=0.3)), within=1e-5)


def test_draws_of_an_update():
    """Each process draws other numbers in each update, whatever was drawn before."""
    drawn = []
    with seeded(0, torch.device("cpu")):
        for rank, n_done in [(0, 0), (1, 0), (0, 1), (0, 0)]:
            Ranks(rank, 2).seed_update(7, n_done)
            drawn.append(torch.rand(3, generator=OWN.cpu).tolist())
    assert drawn[0] == drawn[3]
    assert len({tuple(numbers) for numbers in drawn}) == 3


@pytest.mark.parametrize("name", ["weights", "supervised"])
def test_a_shortage_of_memory_in_one_process(name, fit, in_processes, monkeypatch):
    """Where memory runs out in one process, all halve their parts, and none is lost."""
    collect = Updates._collect
    n_calls = itertools.count()

    def work(rank):
        def collect_or_fail(self, *args):
            if rank == 1 and next(n_calls) in (0, 4):
                raise MemoryError("none left")
            return collect(self, *args)

        monkeypatch.setattr(Updates, "_collect", collect_or_fail)
        estimator = fit(name)
        return learnt(estimator), estimator.batch_size_used_

    (first, size), (second, other_size) = in_processes(work)
    assert size == other_size < 16
    check_same(second, first)
    check_same(first, learnt(fit(name)), within=1e-5)


class Stop(Callback):
    """Stops the training of one process after four updates."""

    def on_batch_end(self, net, **kwargs):
        if net.updates_.n_done == 4:
            net.stop()


def test_who_stops_one_stops_all(fit, in_processes):
    """A callback that one process has ends the training of all after its update."""

    def work(rank):
        clf = fit("30 updates", callbacks=[Stop()] if rank == 1 else None)
        return len(clf.net_.history[-1]["batches"]), clf.n_iter_

    assert in_processes(work) == [(1, 2), (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_in_both(n_jobs, settings, reviews, in_processes):
    """A search finds the same in both, by fits of both or by workers that fit alone."""

    def work(rank):
        clf = BertClassifier(**settings, max_epochs=1)
        grid = {"learning_rate": [1e-4, 5e-3]}
        search = GridSearchCV(clf, grid, cv=2, n_jobs=n_jobs)
        search.fit(*reviews)
        return search.best_params_, search.cv_results_["mean_test_score"].tolist()

    first, second = in_processes(work)
    assert first == second


# -- one of them prints and writes -----------------------------------------------------


def test_the_first_prints_and_warns(fit, in_processes):
    """Progress, logs and warnings come from the first process alone."""

    def work(rank):
        lines = []
        with (
            redirect_stderr(io.StringIO()) as printed,
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            log = PrintLog(sink=lines.append)
            fit(max_length=5, verbose=1, callbacks=[log, Stop()])
        return printed.getvalue(), len(lines) > 0, len(warned)

    (printed, is_logged, n_warnings), silent = in_processes(work)
    assert "epoch 1/2" in printed
    assert is_logged
    assert n_warnings == 1
    assert silent == ("", False, 0)


def test_both_may_save_into_one_folder(fit, in_processes, tmp_path):
    """A script that saves in every process leaves one whole folder."""

    def work(rank):
        clf = fit()
        save(clf, tmp_path / "saved")
        return clf.predict_proba(["the film"]).tolist()

    first, second = in_processes(work)
    assert first == second
    assert load(tmp_path / "saved").predict_proba(["the film"]).tolist() == first


def kill_in_update(monkeypatch, n, rank):
    """Kill this process in update `n`, if it has that rank."""
    update = Updates.__call__

    def update_or_die(self, *args):
        if self.ranks.rank == rank and self.n_done == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(self, *args)

    monkeypatch.setattr(Updates, "__call__", update_or_die)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_fit_goes_on(killed, fit, in_processes, tmp_path, monkeypatch):
    """Whichever is killed, two processes go on to what they learn in one go."""
    folder = {"checkpoint_folder": tmp_path / "states", "checkpoint_minutes": 0}
    case = {"name": "early_stopping", "dropout": 0.2}

    def be_killed(rank):
        kill_in_update(monkeypatch, 4, killed)
        return error_of(fit, **folder, **case)

    codes = in_processes(be_killed)
    assert codes[killed] == -signal.SIGKILL
    assert "no answer from another" in codes[1 - killed][0]
    assert codes[1 - killed][1] < 30
    states = sorted(path.name for path in (tmp_path / "states").iterdir())
    assert states == ["state-0", "state-1"]
    counted = []
    update = Updates.__call__

    def count(self, *args):
        counted.append(self.n_done)
        return update(self, *args)

    def go_on(rank):
        monkeypatch.setattr(Updates, "__call__", count)
        # The folder is the first one's: another may have none such.
        if rank == 1:
            folder["checkpoint_folder"] = tmp_path / "none"
        return learnt(fit(**folder, **case)), counted[0]

    whole = in_processes(lambda rank: learnt(fit(**case)))
    for (found, begun), expected in zip(in_processes(go_on), whole, strict=True):
        check_same(found, expected)
        assert begun == 4
    assert list(tmp_path.rglob("*")) == [tmp_path / "states"]


@pytest.mark.slow
def test_one_process_goes_on_for_two(fit, in_processes, tmp_path, monkeypatch):
    """The states of two processes serve one, and those of one serve two."""
    folder = {"checkpoint_folder": tmp_path, "checkpoint_minutes": 0}

    def be_killed(rank):
        kill_in_update(monkeypatch, 4, 0)
        return error_of(fit, **folder)

    in_processes(be_killed)
    found = learnt(fit(**folder))
    check_same(found, learnt(fit()), within=1e-5)
    in_processes(be_killed, size=1)
    first, _ = in_processes(lambda rank: learnt(fit(**folder)))
    check_same(first, found, within=1e-5)


# -- what goes wrong -------------------------------------------------------------------


class Fail(Callback):
    """Fails in the second update."""

    def on_batch_end(self, net, **kwargs):
        if net.updates_.n_done == 2:
            raise ValueError("of my own")


def test_an_error_in_one_is_one_in_all(fit, in_processes):
    """Where one process fails the others are told at once, and all may fit again."""

    def work(rank):
        clock = error_of(fit, callbacks=[Fail()] if rank == 1 else None)
        return clock, learnt(fit())

    ((told, seconds), first), ((own, _), second) = in_processes(work)
    assert own == "ValueError: of my own"
    assert told.startswith("RuntimeError: process 0 of the 2")
    assert "its fit has failed" in told
    assert seconds < 30
    check_same(second, first)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"learning_rate": 1e-4}, "learning_rate"),
        ({"random_state": np.random.RandomState(1)}, "random numbers, random_state"),
        ({"X": [f"text {i}" for i in range(40)]}, "X"),
        ({"y": ["neg", "pos"] * 20}, "y"),
        ({"class_weight": {"pos": 2}}, "class_weight"),
    ],
)
def test_other_data_or_parameters_are_refused(change, what, fit, in_processes):
    """Processes that do not make the same call say so, before anything is learnt."""

    def work(rank):
        return error_of(fit, "weights", **(change if rank == 1 else {}))

    for told, _ in in_processes(work):
        assert told.startswith("ValueError: the 2 processes of one fit differ in: ")
        assert what in told
        assert "sklearn_bert.distributed.alone()" in told


def test_without_a_seed_all_take_that_of_the_first(fit, in_processes):
    """With random_state=None the processes agree on what they draw."""
    first, second = in_processes(lambda rank: learnt(fit(random_state=None)))
    check_same(second, first)


def test_one_that_does_not_call_fit(fit, in_processes, monkeypatch):
    """Who waits in vain for the others says so, and how to fit alone."""
    for module in (_ranks, _joined):
        monkeypatch.setattr(module, "TIMEOUT", timedelta(seconds=1))

    def work(rank):
        if rank == 0:
            return error_of(fit)
        time.sleep(2)
        return None

    (told, seconds), _ = in_processes(work)
    assert told.startswith("RuntimeError: process 0 of 2 has called fit, and could not")
    assert "all have to call it. For a fit of each process's own" in told
    assert seconds < 20


class Hang(Callback):
    """Waits longer than the others do."""

    def on_batch_end(self, net, **kwargs):
        time.sleep(5)


@pytest.mark.slow
def test_one_that_hangs(fit, in_processes, monkeypatch):
    """Who waits too long in a fit for another says so."""
    for module in (_ranks, _joined):
        monkeypatch.setattr(module, "TIMEOUT", timedelta(seconds=2))

    def work(rank):
        return error_of(fit, callbacks=[Hang()] if rank == 1 else None)

    for told, seconds in in_processes(work):
        assert "had no answer from another" in told
        assert seconds < 20


def test_two_fits_at_a_time_in_one_process(fit, in_processes):
    """Two threads cannot fit together with other processes, which is said."""

    def work(rank):
        told = []
        in_fit = SimpleNamespace(begins=threading.Event(), ends=threading.Event())

        class Wait(Callback):
            def __deepcopy__(self, memo):
                return self

            def on_train_begin(self, net, **kwargs):
                in_fit.begins.set()
                assert in_fit.ends.wait(SECONDS)

        thread = threading.Thread(target=lambda: fit(callbacks=[Wait()]))
        thread.start()
        assert in_fit.begins.wait(SECONDS)
        told = error_of(fit)[0]
        in_fit.ends.set()
        thread.join()
        return told

    for told in in_processes(work):
        assert "they make one at a time. Set n_jobs=1" in told


# -- the way out, and how it begins and ends -------------------------------------------


def test_alone(fit, in_processes):
    """In a block of `alone` each process fits for itself, or does not."""

    def work(rank):
        with alone():
            own = learnt(fit(random_state=rank))
            if rank == 0:
                fit()
        return own, learnt(fit())

    for rank, (own, together) in enumerate(in_processes(work)):
        check_same(own, learnt(fit(random_state=rank)))
        check_same(together, learnt(fit()), within=1e-5)


def test_after_a_fit(fit, in_processes):
    """History has one time for all, no process group is left, and each predicts."""

    def work(rank):
        before = sys.excepthook
        clf = fit()
        is_as_before = not dist.is_initialized() and sys.excepthook is before
        found = clf.predict(["the film"]).tolist() if rank else None
        return clf.history_, is_as_before, found

    first, second = in_processes(work)
    assert first == (second[0], True, None)
    assert second[1:] == (True, fit().predict(["the film"]).tolist())


def test_in_processes_that_the_caller_has_brought_together(fit, in_processes):
    """The caller's own process group is used, and serves the caller afterwards."""

    def work(rank):
        dist.init_process_group("gloo")
        for name in ("WORLD_SIZE", "RANK"):  # who is there torch knows by now
            del os.environ[name]
        with alone():
            own = learnt(fit(random_state=rank))
        found = learnt(fit())
        n_there = torch.ones(1)
        dist.all_reduce(n_there)
        dist.destroy_process_group()
        return own, found, n_there.item()

    for rank, (own, found, n_there) in enumerate(in_processes(work)):
        check_same(own, learnt(fit(random_state=rank)))
        check_same(found, learnt(fit()), within=1e-5)
        assert n_there == 2


@pytest.mark.parametrize(("gpus", "n_groups"), [(("a", "b"), 1), (("a", "a"), 0)])
def test_gpus(gpus, n_groups, in_processes, monkeypatch):
    """Where each process has a GPU of its own, NCCL carries what is on GPUs."""
    asked = []

    def work(rank):
        with monkeypatch.context() as patch:
            own = SimpleNamespace(uuid=gpus[rank])
            patch.setattr(torch.cuda, "get_device_properties", lambda device: own)
            patch.setattr(dist, "is_nccl_available", lambda: True)
            with _joined.joined() as ranks:
                patch.setattr(dist, "new_group", lambda **given: asked.append(given))
                ranks.work_on(torch.device("cuda", 0))
        return [given["backend"] for given in asked]

    assert in_processes(work) == [["nccl"] * n_groups] * 2


# -- by torchrun -----------------------------------------------------------------------

SCRIPT = """
import os, sys, time
import numpy as np
from sklearn_bert import BertClassifier, save

checkpoint, folder, dies = sys.argv[1:]
if dies == "dies":
    from sklearn_bert.training._update import Updates
    update = Updates.__call__

    def update_or_die(self, *args):
        if self.ranks.rank == 1 and self.n_done == 2:
            os._exit(7)
        return update(self, *args)

    Updates.__call__ = update_or_die
texts = [f"a {w} film" for w in ["good", "bad", "great", "poor"] * 5]
clf = BertClassifier(
    checkpoint, max_epochs=2, batch_size=4, random_state=0, dropout=0.0, device="cpu",
    verbose=1, precision="float32",
)
clf.fit(texts, ["pos", "neg"] * 10)
save(clf, folder)
print("score", clf.score(texts, ["pos", "neg"] * 10))
"""


@pytest.mark.slow
def test_torchrun(checkpoint, tmp_path):
    """A script under torchrun makes one fit; where a process dies all end in time."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def run(dies):
        command = [sys.executable, "-m", "torch.distributed.run"]
        command += ["--standalone", "--nproc-per-node=2", str(script)]
        return subprocess.run(
            [*command, checkpoint, str(tmp_path / "saved"), dies],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    done = run("lives")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("score") == 2
    assert done.stderr.count("epoch 2/2") == 1
    assert len(load(tmp_path / "saved").history_) == 2
    done = run("dies")
    assert done.returncode != 0
    assert "exitcode  : 7" in done.stderr  # as torchrun says it
