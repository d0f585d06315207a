"""
A BERT from nothing, on 340 messages
====================================

A vocabulary, a model and its training, from raw texts alone: small enough to watch.
:class:`~sklearn_bert.BertPretrainer` hides words and learns to guess them.
"""

# %%
# Texts without labels
# --------------------
# The messages of the bundled support tickets; those of the test part are only scored.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_bert import BertPretrainer, WordPieceVocabulary
from sklearn_bert.datasets import load_support_tickets

tickets = load_support_tickets()
train = tickets.data[tickets.split == "train"]
test = tickets.data[tickets.split == "test"]

# %%
# A new model
# -----------
# ``checkpoint=None`` starts from nothing. The vocabulary is learnt from the same texts.
# In each epoch other words are hidden; the loss is in nats per hidden word.

pretrainer = BertPretrainer(
    checkpoint=None,
    vocabulary=WordPieceVocabulary(vocab_size=1500),
    hidden_size=96,
    n_layers=2,
    n_heads=4,
    max_length=64,
    max_epochs=30,
    learning_rate=2e-3,
    random_state=0,
).fit(train, X_val=test)

epochs = [row["epoch"] for row in pretrainer.history_]
n_pieces = len(pretrainer.tokenizer_.backend.get_vocab())
fig, ax = plt.subplots(layout="constrained")
ax.plot(epochs, [row["train_loss"] for row in pretrainer.history_], label="training")
ax.plot(epochs, [row["valid_loss"] for row in pretrainer.history_], label="test part")
ax.axhline(np.log(n_pieces), color="gray", linestyle=":", label="a blind guess")
ax.set(xlabel="epoch", ylabel="nats per hidden word", title="Guessing hidden words")
ax.legend()

# %%
# It starts worse than a blind guess, learns which words are frequent, and then, slowly,
# what stands next to what. With so few texts it soon begins to know them by heart: the
# two curves part. A real corpus has millions of words.
#
# What it says
# ------------
# ``fill_mask`` gives the likeliest pieces for each mask.

for text in ("I want my [MASK] back.", "the app [MASK] every time"):
    ((guesses,),) = pretrainer.fill_mask([text], top_k=4)
    print(text, "->", ", ".join(f"{word} ({p:.2f})" for word, p in guesses))

# %%
# Usual and unusual texts
# -----------------------
# ``score_samples`` hides each token in turn. The same words in another order are less
# likely, and by how much says what the model knows of order.

sentences = ["where is my parcel?", "parcel my is where?"]
for text, likelihood in zip(
    sentences, pretrainer.score_samples(sentences), strict=True
):
    print(f"{text:22} {likelihood:7.1f}")
