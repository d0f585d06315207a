"""The README.md of a saved estimator, and whose it is."""

import json

import pytest
from huggingface_hub import ModelCard
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    load,
    model_card,
    save,
)

# A word that the tiny vocabulary spells, and that no parameter has.
SECRET = "zyxwv"


@pytest.fixture(scope="module")
def classifier(settings):
    clf = BertClassifier(
        **settings,
        max_epochs=2,
        class_descriptions={"a|b": f"{SECRET} texts", "<c>`d`": "others"},
    )
    return clf.fit([f"a {SECRET} film", "a bad film"] * 4, ["a|b", "<c>`d`"] * 4)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "model"


def card_of(folder):
    return (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("cls", "X", "y", "task"),
    [
        (BertRegressor, ["good", "bad"], [1.0, 2.0], "text-classification"),
        (
            BertTokenClassifier,
            [["good", "film"]],
            [["B-X", "O"]],
            "token-classification",
        ),
        (BertEmbedder, ["good"], None, "feature-extraction"),
        (BertPretrainer, ["good film", "bad film"], None, "fill-mask"),
    ],
)
def test_front_matter_of_each_estimator(settings, embedder_settings, cls, X, y, task):
    """The Hub's own reader finds library, task and tags in the front matter."""
    params = embedder_settings if cls is BertEmbedder else settings | {"max_epochs": 1}
    data = ModelCard(model_card(cls(**params).fit(X, y))).data
    assert data.library_name == "sklearn-bert"
    assert data.pipeline_tag == task
    assert data.tags == ["sklearn-bert", "scikit-learn", "bert"]


def test_base_model(classifier, settings):
    """A name on the Hub is the base model; the path of a folder stays here."""
    assert "base_model" not in ModelCard(model_card(classifier)).data.to_dict()
    assert settings["checkpoint"] not in model_card(classifier)
    named = BertClassifier(checkpoint="some-owner/some.model_1")
    vars(named).update({k: v for k, v in vars(classifier).items() if k.endswith("_")})
    named._template = None
    data = ModelCard(model_card(named)).data
    assert data.base_model == "some-owner/some.model_1"


def test_content(classifier):
    """Classes, texts, changed parameters, training and versions stand in the card."""
    card = model_card(classifier, intended_use="Films, and *only* films.")
    assert "**Intended use**: Films, and *only* films." in card
    assert "<code>a|b</code>" in card
    assert "<code>&lt;c&gt;`d`</code>" in card
    assert "has read 8 texts" in card
    assert "| `learning_rate` | <code>0.005</code> |" in card
    assert "`batch_size`" in card
    assert "`pooling`" not in card
    assert "2 epochs. `train_loss`: " in card
    assert "sha256 of its weights: " in card
    assert "scikit-learn 1" in card


def test_no_text_of_the_user(classifier):
    """Neither texts nor descriptions of classes are told."""
    assert SECRET not in model_card(classifier)
    assert "| `class_descriptions` | <code>dict</code> of 2 |" in model_card(classifier)


def test_save_writes_the_card(classifier, target):
    """A saved folder has the card, and `load` does not mind it."""
    save(classifier, target)
    assert card_of(target) == model_card(classifier)
    assert model_card(load(target)) == model_card(classifier)


def test_a_changed_card_stays(classifier, target):
    """A card that was edited is kept by every later save; `load` takes the folder."""
    save(classifier, target)
    edited = card_of(target) + "\nMine.\n"
    (target / "README.md").write_text(edited, "utf-8")
    for layout in ("transformers", "sklearn_bert", "sklearn_bert"):
        save(classifier, target, layout=layout)
        assert card_of(target) == edited
    load(target)


def test_an_own_card_is_replaced(classifier, target):
    """A card that nobody has changed is written anew."""
    save(classifier, target)
    before = card_of(target)
    save(classifier, target, layout="transformers")
    assert ModelCard(card_of(target)).data.library_name == "transformers"
    assert "float32 or bfloat16" in card_of(target)
    save(classifier, target)
    assert card_of(target) == before


def test_a_removed_card_is_written_again(classifier, target):
    """Where there is no card, there is one after the next save."""
    save(classifier, target)
    (target / "README.md").unlink()
    load(target)
    save(classifier, target)
    assert card_of(target) == model_card(classifier)


def test_a_readme_beside_an_older_model_stays(classifier, target):
    """A folder of a version that wrote no card keeps the user's README.md."""
    save(classifier, target)
    manifest = json.loads((target / "estimator.json").read_text())
    del manifest["content"]["card"]
    (target / "estimator.json").write_text(json.dumps(manifest))
    before = card_of(target)
    save(classifier, target, layout="transformers")
    assert card_of(target) == before


def test_unfitted_estimator_has_no_card():
    """An estimator that is not fitted is refused."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        model_card(BertClassifier())


def test_other_estimators_have_no_card():
    """An estimator of another package is refused."""
    with pytest.raises(TypeError, match="such as BertClassifier; got LogisticRegr"):
        model_card(LogisticRegression())


def test_facts_are_texts(classifier):
    """A fact that is no str is refused by its name."""
    with pytest.raises(TypeError, match="accuracy is 0.9 of type float; expe"):
        model_card(classifier, accuracy=0.9)
