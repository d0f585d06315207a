"""
Into a service
==============

A service needs answers, and neither torch nor training.
:func:`sklearn_bert.onnx.export` writes a fitted estimator as a folder, and
:func:`sklearn_bert.onnx.load` answers with it: by NumPy, tokenizers and ONNX Runtime
alone.
"""

# %%
# Fit
# ---

import tempfile
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt

from sklearn_bert import BertClassifier, TruncationWarning, onnx
from sklearn_bert.datasets import load_support_tickets

warnings.simplefilter("ignore", TruncationWarning)
tickets = load_support_tickets().frame
train = tickets[tickets["split"] == "train"]
test = tickets[tickets["split"] == "test"]

clf = BertClassifier(max_length=64, max_epochs=2, random_state=0)
clf.fit(train["message"], train["category"])
print(f"accuracy {clf.score(test['message'], test['category']):.3f}")

# %%
# Export
# ------
# Before a folder gets its name, its answers are compared with those of the estimator.
# In ``"int8"`` the weights take a quarter of the room, and a few labels may change; the
# report says how many of the texts that you pass.

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
texts = test["message"]
reports = {
    "float32": onnx.export(clf, folder / "float32", texts=texts),
    "int8": onnx.export(
        clf, folder / "int8", quantize="int8", max_label_changes=0.05, texts=texts
    ),
}
for name, report in reports.items():
    megabytes = sum(file.stat().st_size for file in (folder / name).iterdir()) / 1e6
    changed, of = report["labels_changed"], report["n_labels"]
    print(f"{name:8} {megabytes:5.1f} MB, {changed} of {of} labels changed")

# %%
# Load and ask
# ------------
# This is all that a worker of the service does. Every file is compared with its
# checksum first.

served = {name: onnx.load(folder / name, n_threads=1) for name in reports}
served["int8"].predict(["The parcel has not arrived yet.", "I cannot log in!"])

# %%
# The same answers, sooner
# ------------------------


def milliseconds(model):
    """CPU time per message, one message at a time."""
    model.predict([texts.iloc[0]])
    begin = time.process_time()
    for text in texts.iloc[:40]:
        model.predict([text])
    return (time.process_time() - begin) / 40 * 1000


models = {"BertClassifier": clf, **{f"ONNX {n}": m for n, m in served.items()}}
times = [milliseconds(model) for model in models.values()]
proba = [model.predict_proba(texts).max(axis=1) for model in models.values()]

fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
colours = ["#D55E00", "#0072B2", "#56B4E9"]
bars = left.bar(list(models), times, color=colours)
left.bar_label(bars, fmt="{:.1f}")
left.set(ylabel="CPU ms per message", ylim=(0, 1.15 * max(times)))
right.plot([0.2, 1], [0.2, 1], color="gray", linestyle=":")
for values, name, colour in list(zip(proba, models, colours, strict=True))[1:]:
    right.scatter(proba[0], values, s=12, color=colour, label=name)
right.set(xlabel="probability by BertClassifier", ylabel="probability as exported")
right.legend()
temporary.cleanup()

# %%
# In float32 the exported model is the estimator, but for rounding. Where a processor
# has bfloat16, the estimator computes in that by itself, and differs in
# the third decimal.
#
# :doc:`/serving` has the file that puts such a model behind FastAPI, in a container
# that holds no torch.
