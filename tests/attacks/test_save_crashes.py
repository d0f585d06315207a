"""Processes are killed before and after each operation on files of a save."""

import errno
import functools
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_array_equal

from sklearn_bert import BertEmbedder, WordPieceVocabulary, load, save
from sklearn_bert._process import _atomic_folder as _folder
from sklearn_bert._process import _folder_journal as _journal
from sklearn_bert._process._atomic_folder import new_folder, whole_folder
from sklearn_bert.estimators._save import MANIFEST
from sklearn_bert.model._find import find_checkpoint

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are forked and killed"
)

# The events of `sys.audit` that change files; `open` does if it is for writing.
CHANGES = {
    f"os.{name}"
    for name in ("chmod", "chown", "link", "mkdir", "remove", "rename", "rmdir")
} | {"test.exchange", "test.exchanged"}
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WHEN = ["before", "after"]


# -- a process that is killed at an operation ----------------------------------------


def kill_at(number, when):
    """Let this process be killed before or after an operation on files."""
    numbers = itertools.count(1)

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_soon(frame, event, argument):
        # What Python does next, outside of the hook, comes after the operation.
        if frame.f_code is not hook.__code__:
            kill()

    def hook(event, arguments):
        is_change = event in CHANGES
        if event == "open" and isinstance(arguments[2], int):
            is_change = bool(arguments[2] & FOR_WRITING)
        if is_change and next(numbers) == number:
            if when == "before":
                kill()
            sys.setprofile(kill_soon)

    sys.addaudithook(hook)


def forked(step):
    """A process that does the step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads
        child = os.fork()
    if child == 0:
        try:
            step()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def exit_code(child):
    """How a process ends."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_killed(step, number, when):
    """Whether a process that does the step came to its operation of this number."""

    def step_until_killed():
        kill_at(number, when)
        step()

    code = exit_code(forked(step_until_killed))
    assert code in (0, -signal.SIGKILL), "the step failed"
    return code == -signal.SIGKILL


def crashes(step, prepare, numbers=None):
    """Yield after each kill of the step; the last time, after none.

    `numbers` are those of the operations, else it is each of them.
    """
    for number in numbers or itertools.count(1):
        for when in WHEN:
            prepare()
            goes_on = is_killed(step, number, when)
            yield number, when
        if not goes_on:
            return


# -- the ways in which a folder is replaced ------------------------------------------


def audited_exchange(one, other):
    """`exchange`, with an event before and one after."""
    sys.audit("test.exchange")
    is_done = exchange(one, other)
    sys.audit("test.exchanged")
    return is_done


exchange = _folder.exchange


def no_exchange(one, other):
    """What the system says where two folders cannot change places."""
    return False


def refuse(*args, **kwargs):
    """No hard links."""
    raise OSError(errno.EPERM, "Operation not permitted")


def rename_on_one_mount(path, target):
    """A draft cannot be moved into the folder."""
    if Path(target).name == "new":
        raise OSError(errno.EXDEV, "Invalid cross-device link")
    return rename(path, target)


rename = Path.rename


@pytest.fixture
def folder():
    """A path in memory where there is such a file system: much is written there."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as home:
        folder = Path(home) / "p" / "m"
        folder.mkdir(parents=True)
        yield folder


WAYS = {
    "exchange": {},
    "file by file": {"exchange": no_exchange},
    "no hard links": {"exchange": no_exchange, "link": refuse},
    "mount point": {"ismount": lambda path: Path(path).name == "m"},
    "bind mount": {"exchange": no_exchange, "rename": rename_on_one_mount},
}


FAST = ("exchange", "file by file")


@pytest.fixture(
    params=[w if w in FAST else pytest.param(w, marks=pytest.mark.slow) for w in WAYS]
)
def way(request, monkeypatch):
    """One of the ways."""
    patches = {"exchange": audited_exchange, **WAYS[request.param]}
    monkeypatch.setattr(_folder, "exchange", patches["exchange"])
    for name, patch in patches.items():
        if name == "rename":
            monkeypatch.setattr(Path, name, patch)
        elif name != "exchange":
            monkeypatch.setattr(os.path if name == "ismount" else os, name, patch)
    return request.param


# -- a folder of text files ------------------------------------------------------------


OTHERS = {"README.md": "mine", "sub/mine": "mine", ".git/config": "mine"}


def written(folder):
    """Return what `write` wrote."""
    try:
        return {"mark", *json.loads((folder / "mark").read_text())}
    except FileNotFoundError:
        return None


def write(folder, files):
    """Write the files, and one that says which they are."""
    with new_folder(folder, written=written, last="mark") as draft:
        for name, content in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(content)
        (draft / "mark").write_text(json.dumps(files))


def content_of(folder):
    """All files below a folder, by their path, but the mark."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "mark"
    }


OLD = {"head": "old", "config": "old", "sub/file": "old", "old/only": "old"}
NEW = {"head": "new", "config": "new", "sub/file": "new", "new/only": "new"}
NEXT = {"head": "next", "next/only": "next"}


def check_next(folder, files, others):
    """The next writing leaves nothing of what killed ones have left."""
    write(folder, files)
    assert content_of(folder) == files | others
    assert sorted(os.listdir(folder.parent)) == [folder.name]
    assert not [path for path in folder.iterdir() if path.name.startswith(".skl")]


@pytest.mark.parametrize(
    "numbers", [range(1, 10**6, 5), pytest.param(None, marks=pytest.mark.slow)]
)
def test_a_kill_at_any_operation(way, folder, numbers):
    """The old content or the new one is there, and what is of others, and no more."""
    seen = set()

    def prepare():
        write(folder, OLD)
        for name, content in OTHERS.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content)

    prepare()
    for crash in crashes(lambda: write(folder, NEW), prepare, numbers):
        source = whole_folder(folder, "mark")
        files = json.loads((source / "mark").read_text())
        assert files in (OLD, NEW), crash
        seen.add((source == folder, files["head"]))
        there = content_of(source)
        assert {name: there[name] for name in files} == files, crash
        if source == folder:
            assert not there.keys() & (OLD.keys() ^ NEW.keys()) - files.keys(), crash
        assert {name: (folder / name).read_text() for name in OTHERS} == OTHERS, crash
        check_next(folder, NEXT, OTHERS)
    expected = {(True, "old"), (True, "new")}
    if way != "exchange" and numbers is None:
        expected.add((False, "new"))
    if numbers is None:
        assert seen == expected
    else:
        assert {(True, "old")} < seen


def test_a_kill_at_any_operation_of_the_first_writing(folder):
    """There is the whole folder or none, and the next writing leaves no more."""

    def prepare():
        if folder.exists():
            shutil.rmtree(folder)

    seen = set()
    for crash in crashes(lambda: write(folder, NEW), prepare):
        seen.add(folder.exists())
        if folder.exists():
            assert content_of(folder) == NEW, crash
        check_next(folder, NEXT, {})
    assert seen == {True, False}


@pytest.mark.slow
def test_a_kill_at_any_operation_of_the_recovery(way, folder, monkeypatch):
    """A save that finishes what a killed one has left can be killed, too."""
    if way == "exchange":
        pytest.skip("nothing is half done")

    def prepare():
        write(folder, OLD)
        with monkeypatch.context() as patch:
            # Killed when all but the last file is in place.
            patch.setattr(_journal, "_place", place_some)
            assert is_killed(lambda: write(folder, NEW), 10**6, "after")

    def place_some(new, path, journal):
        if path.name == "mark":
            os.kill(os.getpid(), signal.SIGKILL)
        place(new, path, journal)

    place = _journal._place
    for crash in crashes(lambda: write(folder, NEXT), prepare):
        source = whole_folder(folder, "mark")
        files = json.loads((source / "mark").read_text())
        assert files in (NEW, NEXT), crash
        assert content_of(source).items() >= files.items(), crash
        check_next(folder, OLD, {})


# -- estimators ------------------------------------------------------------------------


TEXTS = ["a film", "a good film", "a bad plot"]


@pytest.fixture(scope="module")
def two(embedder_settings):
    """Two embedders of one shape that differ in `verbose` and in their vectors."""
    first, second = (
        BertEmbedder(**embedder_settings, verbose=verbose).fit(TEXTS)
        for verbose in (0, 1)
    )
    with torch.no_grad():
        for weight in second.net_.module.parameters():
            weight.mul_(1.5)
    return first, second


def mark_of(embedder):
    """A number that tells the weights of the two apart."""
    weights = embedder.net_.module.parameters()
    return float(sum(weight.detach().double().abs().sum() for weight in weights))


@pytest.mark.parametrize(
    "numbers", [range(1, 10**6, 11), pytest.param(None, marks=pytest.mark.slow)]
)
def test_a_killed_save_leaves_a_model(two, way, folder, numbers):
    """After a kill at any operation `load` and `checkpoint=` find a whole model."""
    first, second = two
    marks = [mark_of(embedder) for embedder in two]
    save(first, folder)
    (folder / "README.md").write_text("mine")
    seen = set()
    for crash in crashes(
        lambda: save(second, folder), lambda: save(first, folder), numbers
    ):
        loaded = load(folder)
        assert mark_of(loaded) == marks[loaded.verbose], crash
        assert (find_checkpoint(str(folder), None) / MANIFEST).is_file()
        seen.add(loaded.verbose)
        assert (folder / "README.md").read_text() == "mine"
        save(first, folder)
        assert os.listdir(folder.parent) == ["m"], crash
        left = {path.name for path in folder.iterdir() if path.name[0] == "."}
        assert not left, crash
    assert seen == {0, 1}


def test_a_checkpoint_is_found_after_a_kill(two, folder, monkeypatch):
    """An estimator reads the model that a killed save has not yet put in place."""
    first, second = two
    save(first, folder)
    expected = second.transform(TEXTS)
    monkeypatch.setattr(_folder, "exchange", no_exchange)
    monkeypatch.setattr(
        _journal, "_place", lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    )
    assert is_killed(lambda: save(second, folder), 10**6, "after")
    assert not (folder / MANIFEST).exists()
    params = second.get_params() | {"checkpoint": str(folder)}
    assert_array_equal(BertEmbedder(**params).fit(TEXTS).transform(TEXTS), expected)
    monkeypatch.undo()
    save(first, folder)
    assert mark_of(load(folder)) == mark_of(first)


def test_a_vocabulary_is_whole_after_the_next_save(folder, way):
    """A save finishes what a kill has left of a vocabulary, and replaces it."""
    vocabularies = [WordPieceVocabulary(vocab_size=n).fit(TEXTS) for n in (30, 31)]
    kills = crashes(
        lambda: vocabularies[1].save(folder),
        lambda: vocabularies[0].save(folder),
        range(1, 10**6, 15),
    )
    for crash in kills:
        vocabularies[0].save(folder)
        assert len(os.listdir(folder)) == 3, crash
        assert os.listdir(folder.parent) == ["m"], crash


@pytest.mark.parametrize("seconds", [1, pytest.param(60, marks=pytest.mark.slow)])
def test_savers_and_readers_at_a_time(two, way, folder, seconds):
    """Two processes save to one folder, two load from it: each look finds a model."""
    marks = [mark_of(embedder) for embedder in two]
    save(two[0], folder)
    end = time.monotonic() + seconds

    def go_on(step):
        while time.monotonic() < end:
            step()

    def look():
        loaded = load(folder)
        assert mark_of(loaded) == marks[loaded.verbose]

    steps = [functools.partial(save, embedder, folder) for embedder in two]
    steps += [look, look]
    children = [forked(functools.partial(go_on, step)) for step in steps]
    assert [exit_code(child) for child in children] == [0, 0, 0, 0]
    assert os.listdir(folder.parent) == ["m"]
    assert not [name for name in os.listdir(folder) if name.startswith(".")]
