"""
A vocabulary of one's own, and how large it should be
=====================================================

BERT reads pieces of words. :class:`~sklearn_bert.WordPieceVocabulary` learns them from
texts: the more pieces, the fewer of them make up a word, as far as the texts repeat
their words. Here both are seen on support tickets.
"""

# %%
# Learn vocabularies of several sizes
# -----------------------------------
# The smallest holds little more than special tokens and letters.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_bert import WordPieceVocabulary
from sklearn_bert.datasets import load_support_tickets

tickets = load_support_tickets()
train = tickets.data[tickets.split == "train"]
test = tickets.data[tickets.split == "test"]


def learn(texts, vocab_size):
    """A vocabulary whose ids are only those of words."""
    vocabulary = WordPieceVocabulary(
        vocab_size, min_frequency=1, add_special_tokens=False
    )
    return vocabulary.fit(texts)


words = learn(train, 100_000)  # more than there are: every word is whole
print(f"{len(words.vocabulary_)} pieces are all that the texts give")


def pieces_per_word(vocabulary, texts):
    """How many pieces a word has, on average; marks of punctuation are words."""
    pieces = vocabulary.get_feature_names_out()
    found = np.concatenate([pieces[ids] for ids in vocabulary.transform(texts)])
    begins = [not piece.startswith("##") for piece in found]
    return len(found) / sum(begins)


sizes = [150, 250, 500, 1000, 2000, 4000, 8000]
vocabularies = [learn(train, size) for size in sizes]
on_train = [pieces_per_word(vocabulary, train) for vocabulary in vocabularies]
on_test = [pieces_per_word(vocabulary, test) for vocabulary in vocabularies]

# %%
# Pieces per word fall, and then no more
# --------------------------------------
# On texts that it was learnt from, a large vocabulary has every word whole. On new
# texts it cannot: beyond some size it only learns the training texts by heart.

figure, axes = plt.subplots(figsize=(7, 4))
axes.plot(sizes, on_train, "o-", color="#9bbcf0", label="texts it was learnt from")
axes.plot(sizes, on_test, "o-", color="#3b7ddd", label="new texts")
axes.set_xscale("log")
axes.set_xticks(sizes, sizes)
axes.minorticks_off()
axes.set_ylim(bottom=1)
axes.set_xlabel("vocab_size")
axes.set_ylabel("pieces per word")
axes.legend()
figure.tight_layout()

# %%
# A word is put together from what it shares with others:

for size, vocabulary in zip(sizes, vocabularies, strict=True):
    ids = vocabulary.transform(["undelivered"])[0]
    print(f"{size:5}", " ".join(vocabulary.get_feature_names_out()[ids]))

# %%
# A vocabulary knows the words of its domain
# ------------------------------------------
# One vocabulary per class of tickets, each asked to spell the new tickets of all: on
# average it needs fewer pieces per word where it is at home.

names = tickets.target_names
parts = {
    split: [
        tickets.data[(tickets.target == name) & (tickets.split == split)]
        for name in names
    ]
    for split in ("train", "test")
}
table = np.array(
    [
        [pieces_per_word(learn(texts, 1000), others) for others in parts["test"]]
        for texts in parts["train"]
    ]
)
at_home = np.diag(table).mean()
abroad = table[~np.eye(len(names), dtype=bool)].mean()
print(f"pieces per word: {at_home:.2f} at home, {abroad:.2f} abroad")

figure, axes = plt.subplots(figsize=(6, 5))
axes.imshow(table, cmap="Blues_r")
axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
axes.set_yticks(range(len(names)), names)
axes.set_xlabel("new tickets of")
axes.set_ylabel("vocabulary learnt from tickets of")
for (i, j), value in np.ndenumerate(table):
    colour = "white" if value < table.mean() else "black"
    axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour)
figure.tight_layout()

# %%
# These words are whole in the vocabulary of technical tickets, and must be put together
# in that of tickets about delivery:

whole = {
    name: set(learn(texts, 1000).get_feature_names_out())
    for name, texts in zip(names, parts["train"], strict=True)
}
only = [piece for piece in whole["technical"] - whole["delivery"] if len(piece) > 7]
print(sorted(piece for piece in only if not piece.startswith("##")))
