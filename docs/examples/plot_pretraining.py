"""
Guessing hidden words: from nothing, and from a checkpoint
==========================================================

:class:`~sklearn_bert.BertPretrainer` hides words of raw texts and learns to guess them.
How much it learns from 340 messages depends on what it knew before.
"""

# %%
# Texts without labels
# --------------------
# The messages of the bundled support tickets; some of the test part are only scored.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_bert import BertPretrainer, WordPieceVocabulary
from sklearn_bert.datasets import load_support_tickets

tickets = load_support_tickets()
train = tickets.data[tickets.split == "train"]
test = tickets.data[tickets.split == "test"][::3]

# %%
# Two beginnings
# --------------
# ``checkpoint=None`` makes a small BERT that knows nothing, with a vocabulary learnt
# from the same texts. The other goes on with all-MiniLM-L6-v2, which knows its words,
# but has lost the head that guesses them: only that starts from nothing.

new = BertPretrainer(
    checkpoint=None,
    vocabulary=WordPieceVocabulary(vocab_size=1500),
    hidden_size=96,
    n_layers=2,
    n_heads=4,
    max_length=64,
    max_epochs=8,
    batch_size=16,
    learning_rate=2e-3,
    random_state=0,
).fit(train, X_val=test)

adapted = BertPretrainer(
    max_length=64, max_epochs=3, batch_size=16, learning_rate=3e-4, random_state=0
).fit(train, X_val=test)

fig, ax = plt.subplots(layout="constrained")
for model, name in ((new, "from nothing"), (adapted, "from all-MiniLM-L6-v2")):
    epochs = [row["epoch"] for row in model.history_]
    ax.plot(epochs, [row["valid_loss"] for row in model.history_], "o-", label=name)
    n_pieces = len(model.tokenizer_.backend.get_vocab())
    print(f"{name}: {n_pieces} pieces, a blind guess has {np.log(n_pieces):.1f} nats")
ax.set(xlabel="epoch", ylabel="nats per hidden word", title="Messages of the test part")
ax.legend()

# %%
# The new model learns which pieces are frequent, and little more: a language takes
# millions of words. The other has twenty times as many pieces to choose from and is
# soon ahead, because it only has to learn how to say what it knows.
#
# What they say
# -------------
# ``fill_mask`` gives the likeliest pieces for each mask.

gaps = ["where is my [MASK]?", "I was [MASK] twice", "the app [MASK] every time"]
for model, name in ((new, "from nothing"), (adapted, "from all-MiniLM-L6-v2")):
    print(name)
    for text, (guesses,) in zip(gaps, model.fill_mask(gaps, top_k=4), strict=True):
        print("  ", text, "->", ", ".join(f"{word} ({p:.2f})" for word, p in guesses))

# %%
# Usual and unusual texts
# -----------------------
# ``score_samples`` hides each token in turn and adds up how likely they are, in nats.
# The same words in another order are less likely to one who has learnt what order is.

for text in ("where is my parcel?", "parcel my is where?"):
    found = [float(model.score_samples([text])[0]) for model in (new, adapted)]
    print(f"{text:22} {found[0]:7.1f} {found[1]:7.1f}")
