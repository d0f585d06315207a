"""
Vectors that learn from a few labels
====================================

:class:`~sklearn_bert.BertEmbedder` with an ``objective`` moves its vectors: here the
messages of each class come closer to each other. What it has learnt from a third of the
training part is seen on the test part.
"""

# %%
# Before and after
# ----------------
# ``objective="supervised"`` learns from texts with their classes; ``None``, the
# default, takes the checkpoint as it is.

import warnings

import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier

from sklearn_bert import BertEmbedder, TruncationWarning
from sklearn_bert.datasets import load_support_tickets

warnings.simplefilter("ignore", TruncationWarning)
tickets = load_support_tickets()
train = tickets.frame[tickets.split == "train"][::3]
test = tickets.frame[tickets.split == "test"]

embedders = {
    "as it is": BertEmbedder(max_length=64),
    "supervised": BertEmbedder(
        objective="supervised",
        max_length=64,
        max_epochs=5,
        learning_rate=3e-4,
        random_state=0,
    ),
}
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for ax, (name, embedder) in zip(axes, embedders.items(), strict=True):
    vectors = embedder.fit_transform(train["message"], train["category"])
    new = embedder.transform(test["message"])
    neighbours = KNeighborsClassifier(5).fit(vectors, train["category"])
    accuracy = neighbours.score(new, test["category"])
    gap = silhouette_score(new, test["category"])
    print(f"{name:12} accuracy of 5 neighbours {accuracy:.3f}, silhouette {gap:.3f}")
    plane = PCA(2).fit_transform(new)
    for category in sorted(set(test["category"])):
        of_class = (test["category"] == category).to_numpy()
        ax.scatter(*plane[of_class].T, s=12, label=category)
    ax.set(title=f"{name}: {accuracy:.2f}", xticks=[], yticks=[])
axes[0].legend(fontsize="small")

# %%
# The title says how many messages of the test part their five nearest neighbours of the
# training part name right. The points are the test messages, in the plane in which they
# vary most.
