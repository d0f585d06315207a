"""LIME: which words a prediction rests on."""

from lime.lime_text import LimeTextExplainer


def test_deciding_word_comes_first(by_one_word):
    """`predict_proba` goes to LIME as it is, and the word that decides comes first."""
    explainer = LimeTextExplainer(class_names=by_one_word.classes_, random_state=0)
    explanation = explainer.explain_instance(
        "the film was very good", by_one_word.predict_proba, num_samples=200
    )
    word, weight = explanation.as_list()[0]
    assert word == "good"
    assert weight > 0.3  # for the second class, "pos"
