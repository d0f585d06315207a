"""What cannot be read again is not written."""

import pickle

import pytest
from torch import nn

from sklearn_bert import BertClassifier, BertPretrainer, save


@pytest.mark.parametrize("cls", [BertClassifier, BertPretrainer])
def test_changed_modules_are_neither_saved_nor_pickled(
    settings, reviews, tmp_path, cls
):
    """Weights that a fresh model has no place for, or of another shape, are named."""
    texts, labels = reviews
    fitted = cls(**(settings | {"max_epochs": 1})).fit(texts, labels)
    pickle.dumps(fitted)
    layer = fitted.net_.module.encoder.encoder.layer[0].intermediate
    whole = layer.dense
    for changed in (nn.Sequential(whole), nn.Linear(32, 65)):
        layer.dense = changed
        with pytest.raises(ValueError, match=r"differ; .*layer\.0\.intermediate"):
            save(fitted, tmp_path / "saved")
        with pytest.raises(ValueError, match="could not be loaded again"):
            pickle.dumps(fitted)
        assert not (tmp_path / "saved").exists()
    layer.dense = whole
    save(fitted, tmp_path / "saved")
