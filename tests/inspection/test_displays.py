"""Displays: pictures of explanations and of a training, in scikit-learn's manner."""

import html
import re
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from sklearn_bert import BertClassifier, BertEmbedder
from sklearn_bert.inspection import (
    TextAttributionDisplay,
    TrainingHistoryDisplay,
    WordImportanceDisplay,
    explain,
)


@pytest.fixture(autouse=True)
def no_window():
    """Draw into memory, and close what was drawn."""
    with mpl.rc_context({"backend": "Agg"}):
        yield
        plt.close("all")


def make_explanation(texts, scores):
    """An explanation of texts whose words stand between spaces."""
    rows = [
        (row, 0, match[0], match.start(), match.end(), "pos")
        for row, text in enumerate(texts)
        for match in re.finditer(r"\S+", text)
    ]
    columns = ["text", "part", "word", "start", "end", "target"]
    return pd.DataFrame(rows, columns=columns).assign(score=scores)


class Page(HTMLParser):
    """Collects the texts of a page, its tags, and their attributes."""

    def __init__(self, page):
        super().__init__()
        self.words, self.tags, self.attributes = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.words.append(data)


# -- TextAttributionDisplay --------------------------------------------------------


def test_texts_are_drawn_with_all_words(clf):
    """Every word is a text on the axes, and the deciding one is the strongest."""
    texts = ["the film was good", "a bad cat"]
    display = TextAttributionDisplay.from_estimator(clf, texts)
    assert display.ax_.figure is display.figure_
    words = " ".join(texts).split()
    assert [word.get_text() for word in display.words_] == words
    opacities = [word.get_bbox_patch().get_alpha() for word in display.words_]
    assert words[np.argmax(opacities[:4])] == "good"
    assert words[4 + np.argmax(opacities[4:])] == "bad"


def test_words_stay_within_the_given_axes():
    """Long texts are drawn in several lines, on the axes that are given."""
    _, ax = plt.subplots(figsize=(3, 3))
    found = make_explanation(["good film " * 10], np.linspace(-1, 1, 20))
    display = TextAttributionDisplay.from_explanation(found, ax=ax)
    assert display.ax_ is ax
    boxes = [word.get_window_extent() for word in display.words_]
    assert max(box.x1 for box in boxes) <= ax.get_window_extent().x1 + 1
    assert len({round(box.y0) for box in boxes}) > 1


def test_right_to_left_texts_begin_at_the_right():
    """The first word of an Arabic text lies to the right of the second."""
    found = make_explanation(["الفيلم جميل"], [0.0, 1.0])
    display = TextAttributionDisplay(found)
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        display.plot()
    first, second = (word.get_position()[0] for word in display.words_)
    assert first > second
    assert '<p dir="rtl"' in display._repr_html_()


def test_html_says_what_the_text_says():
    """Characters of HTML stay text; there is neither script, link nor style sheet."""
    texts = ['<script>alert(1)</script> a&b "q" <img/src=x>', "good"]
    found = make_explanation(texts, [1.0, -2.0, 0.0, 0.5, 1.0]).replace(
        {"target": {"pos": "<b>"}}
    )
    page = Page(TextAttributionDisplay(found)._repr_html_())
    assert texts[0] in "".join(page.words)
    assert "text 0, target <b>: scores -0.50" in page.words
    assert {*page.tags} <= {"div", "p", "span"}
    assert {name for name, _ in page.attributes} <= {"class", "style", "title", "dir"}
    assert "url(" not in str(page.attributes)


def test_html_tells_both_signs_without_colour():
    """What speaks against the target is underlined; scores are titles."""
    found = make_explanation(["good bad none"], [1.0, -2.0, 0.0])
    page = TextAttributionDisplay(found)._repr_html_()
    styles = re.findall(r'<span title="(.*?)" style="(.*?)">(.*?)</span>', page)
    assert [(title, word) for title, _, word in styles] == [
        ("+1.000", "good"),
        ("-2.000", "bad"),
    ]
    assert "underline" in styles[1][1]
    assert "underline" not in styles[0][1]
    assert "color:" not in html.unescape(page).replace("background:", "")


def test_parts_of_pairs_are_shown_apart():
    """Each half of a pair has a heading of its own."""
    found = make_explanation(["good", "bad"], [1.0, -1.0])
    found = found.assign(text=0, part=[0, 1])
    words = Page(TextAttributionDisplay(found)._repr_html_()).words
    assert "text 0, part 0, target pos: scores +1.00" in words
    assert "text 0, part 1, target pos: scores -1.00" in words


# -- WordImportanceDisplay ---------------------------------------------------------


def test_words_have_mean_count_and_interval():
    """Means are over all occurrences, in any case; intervals are over texts."""
    found = make_explanation(
        ["Good good bad", "good bad", "rare"], [1, 3, -1, 2, -1, 9]
    )
    display = WordImportanceDisplay.from_explanation(found, min_count=2, random_state=0)
    shown = display.importances.set_index("word")
    assert shown.index.tolist() == ["good", "bad"]
    assert shown["mean"].tolist() == [2, -1]
    assert shown["count"].tolist() == [3, 2]
    assert shown.loc["bad", ["low", "high"]].tolist() == [-1, -1]
    assert shown["low"].le(shown["mean"]).all()
    assert shown["high"].ge(shown["mean"]).all()


def test_words_with_high_means_are_bars():
    """As many words as asked for, the first on top, with their counts."""
    found = make_explanation(["a b c"] * 3, [1.0, -3.0, 2.0] * 3)
    _, ax = plt.subplots()
    display = WordImportanceDisplay.from_explanation(
        found, n_words=2, min_count=2, random_state=0, ax=ax
    )
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c (3)", "b (3)"]
    assert [bar.get_width() for bar in display.bars_] == [2, -3]


def test_intervals_hold_the_mean_of_other_texts():
    """An interval of 95 % holds the true mean in about so many cases."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(40):
        scores = generator.normal(1, 1, size=30)
        found = make_explanation(["good"] * 30, scores)
        row = WordImportanceDisplay.from_explanation(found, random_state=0).importances
        held += row["low"][0] <= 1 <= row["high"][0]
        plt.close("all")
    assert 33 <= held <= 40


def test_deciding_words_are_the_most_important(clf, decided):
    """Over many texts the words that decide have the highest means."""
    display = WordImportanceDisplay.from_estimator(
        clf, decided[0][:60], target="pos", method="gradient", n_words=6, random_state=0
    )
    assert {*display.importances["word"]} <= {*decided[2]}


def test_words_that_are_too_rare_are_an_error():
    """The message says what to lower."""
    found = make_explanation(["good"], [1.0])
    with pytest.raises(ValueError, match="no word occurs 5 times in explanation; low"):
        WordImportanceDisplay.from_explanation(found)
    with pytest.raises(ValueError, match="n_words is 0; expected an integer from 1"):
        WordImportanceDisplay.from_explanation(found, n_words=0)


# -- TrainingHistoryDisplay --------------------------------------------------------


def test_history_has_a_panel_for_what_was_recorded(settings, reviews):
    """Losses, the validation's score and the learning rate, epoch by epoch."""
    clf = BertClassifier(**settings, max_epochs=3, early_stopping=True).fit(*reviews)
    display = TrainingHistoryDisplay.from_estimator(clf)
    labels = [ax.get_ylabel() for ax in display.ax_]
    assert labels == ["loss", "score", "learning rate"]
    lines = display.ax_[0].get_lines()
    for line, name in zip(lines, ["train_loss", "valid_loss"], strict=True):
        recorded = [epoch[name] for epoch in clf.history_]
        np.testing.assert_allclose(line.get_ydata(), recorded)


def test_history_without_validation_has_no_panel_for_it(clf):
    """On axes that are given, it divides these."""
    figure, ax = plt.subplots()
    display = TrainingHistoryDisplay.from_estimator(clf, ax=ax)
    assert [panel.get_ylabel() for panel in display.ax_] == ["loss", "learning rate"]
    assert display.figure_ is figure


def test_estimators_without_history_are_refused(embedder_settings):
    """A model that has not been trained has nothing to show."""
    embedder = BertEmbedder(**embedder_settings).fit(["good"])
    with pytest.raises(ValueError, match="this BertEmbedder has no history_"):
        TrainingHistoryDisplay.from_estimator(embedder)


# -- all ---------------------------------------------------------------------------


def test_displays_without_matplotlib_name_the_extra(monkeypatch):
    """The error says what to install; HTML needs nothing."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    display = TextAttributionDisplay(make_explanation(["good"], [1.0]))
    with pytest.raises(ImportError, match=r"pip install 'sklearn-bert\[plot\]'"):
        display.plot()
    assert "good" in display._repr_html_()


@pytest.mark.parametrize("display", [TextAttributionDisplay, WordImportanceDisplay])
def test_what_is_no_explanation_is_refused(display, clf):
    """The message says which columns there should be."""
    with pytest.raises(TypeError, match="explanation is of type list; expected the"):
        display.from_explanation(["good"])
    assert explain(clf, ["good"]).shape == (1, 7)
