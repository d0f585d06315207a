"""The package in a new process, in forked children, a worker of joblib, and threads."""

import gc
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import joblib
import numpy as np
import pytest
import torch
from joblib.externals import loky
from sklearn.model_selection import GridSearchCV
from transformers import AutoTokenizer, BertConfig, BertModel

from sklearn_bert import BertClassifier, save

# To tell a slow child from one that hangs for ever; an answer takes less than one.
SECONDS = 120

# Run as a process of its own, because a fork inherits whatever pytest has open, and
# because two threads of torch are set for the whole process. The import of the package
# takes most of its time, so what that does is seen here too.
PARENT = f"""
import gc, logging, os, socket, sys, warnings

def refuse(*args, **kwargs):
    raise AssertionError("the import connects to something")

gc.disable()  # collections would take a quarter of the import's time
handlers, socket.socket.connect = list(logging.getLogger().handlers), refuse
import sklearn_bert
import torch
assert not torch.cuda.is_initialized(), "the import starts CUDA"
assert logging.getLogger().handlers == handlers, "the import changes the logging"
gc.enable()
warnings.simplefilter("ignore")  # of a fork beside threads

import faulthandler, json, multiprocessing, random
import numpy as np
from sklearn_bert import load

folder, n_rounds, n_children = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fork = multiprocessing.get_context("fork" if n_rounds else None)
words = "the a film movie plot was is very not good great bad awful dull".split()
seeds = iter(range(10**6))

def new_texts():  # new to the token cache too, so that a child has all the work to do
    rng = random.Random(next(seeds))
    return [" ".join(rng.choices(words, k=240)) for _ in range(8)]

def ask_child():
    texts = new_texts()
    ours, theirs = fork.Pipe(duplex=False)
    fork.Process(target=answer, args=[texts, theirs], daemon=True).start()
    return texts, ours

def answer(texts, pipe):
    faulthandler.dump_traceback_later({SECONDS} - 5)  # where it hangs
    pipe.send(clf.predict_proba(texts))

def check_answer(texts, ours):
    if not ours.poll({SECONDS}):
        sys.exit(f"after {{n_answers}} answers a child was silent for {SECONDS} s")
    np.testing.assert_allclose(ours.recv(), clf.predict_proba(texts), atol=1e-5)

torch.set_num_threads(2)
clf = load(folder)
n_answers = 0
for _ in range(n_rounds):
    clf.predict(new_texts())
    for child in [ask_child() for _ in range(n_children)]:
        check_answer(*child)
        n_answers += 1
assert torch.get_num_threads() == 2, "a fork changed the threads of the parent"
print(json.dumps({{"answers": n_answers}}), flush=True)
os._exit(0)  # to take all down in order lasts a second
"""


@pytest.fixture(scope="module")
def saved(checkpoint, settings, tmp_path_factory):
    """The folder of a classifier wide enough for torch and tokenizers to use threads.

    It reads 256 tokens, through two layers of width 256.
    """
    folder = tmp_path_factory.mktemp("wide")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, model_max_length=256)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=256,
    )
    tokenizer.save_pretrained(folder / "checkpoint")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder / "checkpoint")
    wide = settings | {"checkpoint": str(folder / "checkpoint")}
    clf = BertClassifier(**wide, max_epochs=1).fit(["good", "bad"], ["pos", "neg"])
    save(clf, folder / "saved")
    return str(folder / "saved")


def run_parent(saved, *, n_rounds, n_children, parallelism=None):
    """Run `PARENT`, where a warning is an error; return what it has said."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "TOKENIZERS_PARALLELISM"
    }
    if parallelism is not None:
        environment["TOKENIZERS_PARALLELISM"] = parallelism
    options = ["-W", "error", "-c", PARENT]
    done = subprocess.run(
        [sys.executable, *options, saved, str(n_rounds), str(n_children)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


IS_LINUX = sys.platform == "linux"
forks = pytest.mark.skipif(not IS_LINUX, reason="forks, as Linux does")


@pytest.fixture(scope="module")
def parent(saved):
    """What a process has said that has forked two children twice."""
    return run_parent(saved, n_rounds=2 * IS_LINUX, n_children=2)


def test_importing_is_quiet(parent):
    """`import sklearn_bert` prints nothing, opens no socket, starts no CUDA."""
    assert parent.stderr == ""
    assert set(json.loads(parent.stdout)) == {"answers"}


@forks
def test_forked_children_predict(parent):
    """Children forked from a parent whose threads have predicted can predict.

    Several at once, too, as the workers of a web server are forked from one model.
    """
    assert json.loads(parent.stdout)["answers"] == 4


@forks
@pytest.mark.slow
@pytest.mark.parametrize(
    ("parallelism", "n_rounds"), [("true", 2), ("true", 200), (None, 200)]
)
def test_hundreds_of_forked_children_predict(saved, parallelism, n_rounds):
    """Of two hundred forked children none hangs, however tokenizers is set up."""
    done = run_parent(saved, n_rounds=n_rounds, n_children=1, parallelism=parallelism)
    assert json.loads(done.stdout)["answers"] == n_rounds


@pytest.fixture(scope="module")
def search(settings, reviews):
    """Fit a grid search over two learning rates in a given number of jobs."""

    def fit(n_jobs):
        return GridSearchCV(
            BertClassifier(**settings, max_epochs=2),
            {"learning_rate": [1e-5, 5e-3]},
            scoring=["neg_log_loss", "accuracy"],
            refit=False,
            cv=2,
            n_jobs=n_jobs,
            error_score="raise",
        ).fit(*reviews)

    return fit


@pytest.fixture(scope="module")
def alone(search):
    """The results of the search in one job."""
    return search(n_jobs=1).cv_results_


def assert_same_scores(found, expected):
    for score in ("neg_log_loss", "accuracy"):
        for split in ("split0", "split1"):
            name = f"{split}_test_{score}"
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4)


def test_search_in_threads(search, alone):
    """A search gives the same scores in two threads as in one."""
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert_same_scores(search(n_jobs=None).cv_results_, alone)


def test_search_in_a_worker_of_joblib(search, alone):
    """A search gives the same scores in a worker process of joblib as in this one.

    There is one worker, because to import the package is what takes time here.
    """
    # Collections would take a quarter of the import's time.
    worker = loky.get_reusable_executor(max_workers=1, initializer=gc.disable)
    try:
        assert_same_scores(worker.submit(search, n_jobs=1).result().cv_results_, alone)
    finally:
        worker.shutdown(kill_workers=True)


def test_threads_predict_at_once(settings, reviews):
    """Four threads that share a classifier get what one thread gets."""
    texts, labels = reviews
    clf = BertClassifier(**settings, max_epochs=2).fit(texts, labels)
    parts = [
        [f"{text} {count} {thread}" for text in texts for count in ("one", "two")]
        for thread in ("cat", "dog", "i", "you")
    ]
    at_once = Barrier(len(parts))

    def predict(part):
        at_once.wait()
        return clf.predict_proba(part)

    with ThreadPoolExecutor(len(parts)) as threads:
        together = list(threads.map(predict, parts))
    for part, proba in zip(parts, together, strict=True):
        np.testing.assert_allclose(proba, clf.predict_proba(part), rtol=1e-6)
