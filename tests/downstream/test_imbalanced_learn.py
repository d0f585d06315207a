"""imbalanced-learn: classes are made equal before BERT reads them, or after."""

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.linear_model import LogisticRegression

SAMPLERS = [(RandomOverSampler, 20), (RandomUnderSampler, 5)]


@pytest.mark.parametrize(("sampler", "n_each"), SAMPLERS)
def test_sample_rows(clf, lopsided, sampler, n_each):
    """Row numbers are drawn, and a classifier is fitted on a plain list of texts."""
    frame, labels = lopsided
    rows, y = sampler(random_state=0).fit_resample(np.arange(25)[:, None], labels)
    texts = frame["text"].iloc[rows.ravel()].tolist()
    assert pd.Series(y).value_counts().to_dict() == {"pos": n_each, "neg": n_each}
    clf.fit(texts, y)
    assert clf.score(frame["text"], labels) > 0.9


@pytest.mark.parametrize(("sampler", "n_each"), SAMPLERS)
@pytest.mark.parametrize("container", ["frame", "object array"])
def test_sample_texts_in_a_pipeline(clf, lopsided, sampler, n_each, container):
    """A frame or array of one column is drawn from, ahead of a classifier."""
    # Samplers refuse a list or a Series: they expect two dimensions.
    frame, labels = lopsided
    X = frame if container == "frame" else frame.to_numpy(dtype=object)
    model = make_pipeline(sampler(random_state=0), clf).fit(X, labels)
    assert model[-1].truncation_report_["n_texts"] == 2 * n_each
    assert model.score(X, labels) > 0.9


@pytest.mark.parametrize(("sampler", "n_each"), SAMPLERS)
def test_sample_vectors(embedder, lopsided, sampler, n_each):
    """Vectors of an embedder are drawn, ahead of a linear model."""
    frame, labels = lopsided
    model = make_pipeline(
        embedder, sampler(random_state=0), LogisticRegression(max_iter=1000)
    )
    model.fit(frame["text"], labels)
    assert len(model[1].sample_indices_) == 2 * n_each
    assert model.score(frame["text"], labels) == 1.0
