import threading
import warnings

import pytest

from sklearn_bert import BertClassifier, BertEmbedder, BertTokenClassifier
from sklearn_bert._process._warn import quiet, warn


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_warnings_point_at_the_caller(embedder_settings, method):
    """A warning shows the line of the caller, not one of the package."""
    embedder = BertEmbedder(**embedder_settings, max_length=8).fit(["good"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(embedder, method)(["good " * 20])
    assert [warning.filename for warning in caught] == [__file__]


def test_warnings_of_a_fit_point_at_the_caller(settings, reviews):
    """So it is with what fit finds in X and y."""
    with pytest.warns(UserWarning, match="surrogates") as caught:
        BertClassifier(**settings, max_epochs=1).fit(
            ["\ud800", *reviews[0]], [*"ab"] * 20 + ["a"]
        )
    assert caught[0].filename == __file__
    words = [["a", "film"]] * 8
    with pytest.warns(UserWarning, match="begins with I-") as caught:
        BertTokenClassifier(**settings, max_epochs=1).fit(words, [["O", "I-X"]] * 8)
    assert caught[0].filename == __file__


def test_quiet_holds_for_one_thread():
    """Inside of `quiet` a thread does not warn; another one does, and it does later."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            warn("of this thread")
            thread = threading.Thread(target=warn, args=["of another"])
            thread.start()
            thread.join()
        warn("later")
    assert [str(warning.message) for warning in caught] == ["of another", "later"]
