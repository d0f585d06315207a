"""`missing` counts as it is set when X is read; y is a column and not its name."""

import numpy as np
import pandas as pd
import pytest

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    BertTokenClassifier,
    WordPieceVocabulary,
    load,
    save,
)


def test_missing_can_be_set_after_fit(settings, reviews, tmp_path):
    """The remedy that the error names helps without another fit, also after load."""
    X, y = reviews
    clf = BertClassifier(**settings, max_epochs=1, warm_start=True).fit(X[:8], y[:8])
    save(clf, tmp_path / "model")
    for model in (clf, load(tmp_path / "model")):
        with pytest.raises(ValueError, match="missing='empty'"):
            model.predict(["good", None])
        model.set_params(missing="empty")
        found = model.predict_proba(["good", None])
        np.testing.assert_array_equal(found, model.predict_proba(["good", ""]))
    clf.fit([*X[:7], None], y[:8])  # goes on, though `missing` is another


def test_missing_can_be_set_after_fit_of_others(embedder_settings):
    """An embedder and a vocabulary take the remedy likewise."""
    for model in (BertEmbedder(**embedder_settings), WordPieceVocabulary()):
        model.fit(["good film"]).set_params(missing="empty")
        found, expected = model.transform([None, "good"]), model.transform(["", "good"])
        np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


@pytest.mark.parametrize("cls", [BertClassifier, BertRegressor, BertTokenClassifier])
def test_the_name_of_a_column_is_no_target(cls):
    """fit(frame, "label") is told to hand in the column, before the checkpoint."""
    frame = pd.DataFrame({"text": ["good", "bad"], "label": [1, 0]})
    with pytest.raises(TypeError, match=r"y is the str 'label'.*frame\['label'\] as y"):
        cls(checkpoint="no/such").fit(frame, "label")
    with pytest.raises(TypeError, match="y_val is the str 'label'"):
        cls(checkpoint="no/such").fit(["a"], [1], X_val=frame, y_val="label")
