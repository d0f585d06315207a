"""A saved classifier and texts, for engines that are really started."""

from importlib.util import find_spec

import pandas as pd
import pytest

from sklearn_bert import BertClassifier, save

N_ROWS = 200
# `make test-engines` installs them; other runs do not collect their tests.
LIBRARIES = {"ray": "ray", "dask": "distributed", "spark": "pyspark"}
collect_ignore = [
    f"test_{engine}.py" for engine, name in LIBRARIES.items() if find_spec(name) is None
]


@pytest.fixture(scope="session")
def texts():
    words = ["good", "bad", "film", "plot", "cat", "dull"]
    return [f"{words[i % 6]} {words[i % 5]} {i}" for i in range(N_ROWS)]


@pytest.fixture(scope="module")
def classifier(settings, reviews):
    return BertClassifier(**(settings | {"max_epochs": 1})).fit(*reviews)


@pytest.fixture(scope="module")
def folder(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(classifier, folder)
    return str(folder)


@pytest.fixture(scope="session")
def frame(texts):
    return pd.DataFrame({"id": range(N_ROWS), "body": texts})
