"""SIGINT waits for short work to end, and none is lost."""

import signal
import threading
import weakref

import pytest

from sklearn_bert._process._interrupts import check_heard, heard, interrupts_wait


def strike():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    """Python's own handler, which has to be there at the end as well."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def strike_in_vain():
    """Strike in a callback of weakref, of which Python drops what is raised."""

    class Anything:
        pass

    thing = Anything()
    reference = weakref.ref(thing, lambda reference: strike())
    del thing
    assert reference() is None


ignored = pytest.mark.filterwarnings("ignore:Exception ignored in")


@pytest.mark.parametrize("n_nested", [1, 2])
def test_an_interrupt_waits(n_nested):
    """It is raised at the end of the outermost block, after all of its work."""
    done = []

    def work(depth):
        with interrupts_wait():
            if depth > 1:
                work(depth - 1)
            strike()
            done.append(depth)

    with pytest.raises(KeyboardInterrupt):
        work(n_nested)
    assert done == [*range(1, n_nested + 1)]


def test_an_interrupt_replaces_an_error():
    """It is not forgotten where the block fails."""

    def fail():
        with interrupts_wait():
            strike()
            raise ValueError("of the block")

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert isinstance(caught.value.__context__, ValueError)


@ignored
def test_an_interrupt_in_vain_is_raised_at_the_end():
    """What Python has dropped comes after the work, or where it is asked for."""
    done = []

    def work(*, asks):
        with heard():
            strike_in_vain()
            if asks:
                check_heard()
            done.append(asks)

    for asks in (False, True):
        with pytest.raises(KeyboardInterrupt):
            work(asks=asks)
    assert done == [False]
    check_heard()


def test_an_interrupt_is_heard_at_once():
    """Where nothing is lost, nothing changes."""
    done = []

    def work():
        with heard():
            strike()
            done.append("the work")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == []


def test_a_handler_that_does_not_raise_is_the_callers_own():
    """A caller who only takes note of Ctrl-C is not interrupted."""
    noted = []
    signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        with heard(), interrupts_wait():
            strike()
            check_heard()
            assert noted == []
        assert noted == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_what_ignores_interrupts_still_does():
    """A process that ignores SIGINT, as one that `nohup` started, goes on to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heard(), interrupts_wait():
            strike()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_handle_no_signals():
    """In another thread the handler of the process is left alone."""
    found = []

    def work():
        with heard(), interrupts_wait():
            found.append(signal.getsignal(signal.SIGINT))
            check_heard()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
