"""Tables and saved models for the command line."""

import json

import pandas as pd
import pytest

from sklearn_bert import BertClassifier, BertEmbedder, BertRegressor, save
from sklearn_bert.cli._main import main


@pytest.fixture
def csv(reviews, tmp_path):
    """Forty reviews in a CSV file."""
    path = tmp_path / "reviews.csv"
    frame = pd.DataFrame({"text": reviews[0], "label": reviews[1]})
    frame.assign(stars=[5.0, 1.5] * 20).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def saved(tmp_path_factory, two_layer_checkpoint, reviews):
    """A saved classifier, regressor and embedder, by their names."""
    folder = tmp_path_factory.mktemp("models")
    texts = pd.DataFrame({"text": reviews[0]})
    settings = {"device": "cpu", "precision": "float32", "random_state": 0}
    fast = settings | {"max_epochs": 3, "learning_rate": 5e-3}
    classifier = BertClassifier(two_layer_checkpoint, **fast).fit(texts, reviews[1])
    regressor = BertRegressor(two_layer_checkpoint, **fast).fit(texts, [5.0, 1.5] * 20)
    embedder = BertEmbedder(two_layer_checkpoint, **settings).fit(texts)
    paths = {}
    for estimator in (classifier, regressor, embedder):
        name = type(estimator).__name__.removeprefix("Bert").lower()
        paths[name] = str(folder / name)
        save(estimator, paths[name])
    return paths


@pytest.fixture
def fails(capsys):
    """Run a command that fails: status 2, nothing on stdout, one line on stderr."""

    def fails(*arguments):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        printed, errors = capsys.readouterr()
        assert printed == ""
        lines = errors.splitlines()
        assert lines[-1].startswith("error: ")
        assert not [line for line in lines if line.startswith(" ") or "Trace" in line]
        assert sum(line.startswith("error: ") for line in lines) == 1
        return lines[-1]

    return fails


@pytest.fixture
def prints(capsys):
    """Run a command that succeeds; what it prints to stdout."""

    def prints(*arguments):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return prints


@pytest.fixture
def answers(prints):
    """Run a command that succeeds; its result in JSON."""
    return lambda *arguments: json.loads(prints(*arguments, "--json"))
