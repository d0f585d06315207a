"""
A BERT that writes, and what it is good for
===========================================

:class:`~sklearn_bert.BertGenerator` lets BERT read from left to right only, and learns
which word comes next. It writes like its corpus, if badly, and it knows which texts are
unlike the corpus: that is of more use.
"""

# %%
# Learn to write
# --------------
# From nothing, on the messages of the bundled support tickets.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from sklearn_bert import BertGenerator, TruncationWarning, WordPieceVocabulary
from sklearn_bert.datasets import load_support_tickets

warnings.simplefilter("ignore", TruncationWarning)
tickets = load_support_tickets()
train = tickets.data[tickets.split == "train"].tolist()
test = tickets.data[tickets.split == "test"].tolist()

generator = BertGenerator(
    checkpoint=None,
    vocabulary=WordPieceVocabulary(vocab_size=1500),
    hidden_size=128,
    n_layers=2,
    n_heads=4,
    max_length=64,
    max_epochs=15,
    learning_rate=2e-3,
    random_state=0,
).fit(train)
print(f"perplexity of texts it has read: {np.exp(-generator.score(train)):.0f}")
print(f"perplexity of texts it has not:  {np.exp(-generator.score(test)):.0f}")

# %%
# Write on
# --------
# The same seed writes the same; below temperature 1 likely words become likelier.

prompts = ["my parcel", "i was charged", "hello, i"]
for text in generator.generate(prompts, 25, temperature=0.7, random_state=0):
    print("-", text)

# %%
# Find what is unlike the rest
# ----------------------------
# The log-likelihood per token of messages, and of the same messages with their words
# shuffled: as many words, no sense.

rng = np.random.default_rng(0)
shuffled = [" ".join(rng.permutation(text.split())) for text in test]


def per_token(texts):
    """Log-likelihood over the number of tokens."""
    lengths = [len(ids) for ids in generator.tokenizer_.backend.encode_batch(texts)]
    return generator.score_samples(texts) / np.minimum(lengths, generator.max_length_)


fig, ax = plt.subplots(layout="constrained")
bins = np.linspace(-9, -2, 40)
ax.hist(per_token(test), bins, alpha=0.6, label="messages")
ax.hist(per_token(shuffled), bins, alpha=0.6, label="their words shuffled")
ax.set(xlabel="log-likelihood per token, nats", ylabel="messages")
ax.legend()
