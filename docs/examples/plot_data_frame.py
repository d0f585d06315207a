"""
A data frame with text and other columns
========================================

A support ticket is more than its message: it has a subject, and it came by some
channel. Two ways lead from such a frame to a classifier: a
:class:`~sklearn.compose.ColumnTransformer`, which gives each column to a transformer of
its own, and a template, which writes the columns into one text.
"""

# %%
# The columns
# -----------

import warnings

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_bert import BertEmbedder, TruncationWarning
from sklearn_bert.datasets import load_support_tickets

warnings.simplefilter("ignore", TruncationWarning)
tickets = load_support_tickets().frame
tickets["n_letters"] = tickets["message"].str.len()
train = tickets[tickets["split"] == "train"]
test = tickets[tickets["split"] == "test"]
train[["subject", "message", "channel", "n_letters", "category"]].head()

# %%
# A transformer for each column
# -----------------------------
# ``BertEmbedder`` takes the name of one column of texts, as ``TfidfVectorizer`` does.
# The subject of a chat is empty, and so is its text; in a frame where it is ``None`` or
# ``NaN``, say ``missing="empty"``.

message = ("message", BertEmbedder(max_length=64), "message")
subject = ("subject", BertEmbedder(max_length=64), "subject")
others = [
    ("channel", OneHotEncoder(), ["channel"]),
    ("n_letters", StandardScaler(), ["n_letters"]),
]


def classifier(*parts):
    """A regression on what the parts make of the columns."""
    columns = ColumnTransformer(list(parts))
    return make_pipeline(columns, LogisticRegression(C=10, max_iter=1000))


classifier(message, subject, *others)

# %%
# A text for all columns
# ----------------------
# A template writes a ticket as a person would. BERT reads the channel then as a word.

template = make_pipeline(
    BertEmbedder(template="[{channel}] {subject}. {message}", max_length=64),
    LogisticRegression(C=10, max_iter=1000),
)

# %%
# Which columns help?
# -------------------
# Each is scored by cross-validation. A process computes the vector of a text once, so
# that neither the folds nor the classifiers compute it again.

candidates = {
    "channel, length": classifier(*others),
    "message": classifier(message),
    "message, channel, length": classifier(message, *others),
    "message, subject": classifier(message, subject),
    "template of all": template,
}
scores = pd.DataFrame(
    {
        name: cross_val_score(model, train, train["category"], cv=5)
        for name, model in candidates.items()
    }
)

fig, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
ax.barh(scores.columns, scores.mean(), xerr=scores.sem(), color="#0072B2")
ax.bar_label(ax.containers[1], [f"{s:.2f}" for s in scores.mean()], padding=6)
ax.axvline(0.2, color="gray", linestyle=":")
ax.set(xlim=(0, 1), xlabel="accuracy in 5 folds, with its standard error")
ax.invert_yaxis()

# %%
# Channel and length alone are no better than guessing (dotted). The subject helps:
# it says in three words what the message is about.
#
# Search through the columns
# --------------------------
# Parameters of the embedder and of the regression are searched in one grid:

search = GridSearchCV(
    classifier(message, subject),
    {
        "columntransformer__message__pooling": ["mean", "cls"],
        "logisticregression__C": [1, 10, 100],
    },
    cv=3,
)
search.fit(train, train["category"])
print(search.best_params_)
print(f"accuracy on the test tickets {search.score(test, test['category']):.3f}")
