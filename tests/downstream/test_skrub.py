"""skrub: a column of texts among the others of a table."""

from importlib import import_module

import numpy as np
import pandas as pd
import polars as pl
import pytest

MISSING, EMPTY = 3, 5


@pytest.fixture
def table(embedder):
    """A vectorizer of tables, imported where a test asks for it: that takes time."""
    vectorizer = import_module("skrub").TableVectorizer
    return vectorizer(high_cardinality=embedder, cardinality_threshold=5)


@pytest.fixture(scope="module")
def columns(reviews):
    """A text per row, one missing and one empty, and a number."""
    texts = list(reviews[0])
    texts[MISSING], texts[EMPTY] = None, ""
    return {"text": texts, "stars": np.arange(40.0)}


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_missing_texts_are_read_as_empty(table, embedder, columns, container):
    """With `missing="empty"`, a missing text has the vector of an empty one."""
    embedder.set_params(missing="empty")
    vectors = np.asarray(table.fit_transform(container(columns)))
    texts = [text or "" for text in columns["text"]]
    np.testing.assert_allclose(
        vectors[:, :-1], embedder.fit_transform(texts), rtol=1e-6
    )
    np.testing.assert_array_equal(vectors[MISSING], [*vectors[EMPTY, :-1], MISSING])


def test_missing_texts_are_refused(table, columns):
    """Without it the error names the first row without a text, and the way on."""
    with pytest.raises(ValueError, match=r"X\[3, 'text'\] is .*missing='empty'"):
        table.fit_transform(pd.DataFrame(columns))
