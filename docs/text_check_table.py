"""Writes the tables of `text_checks.rst`: what each check came to, for whom.

Run from the root of the repository: `python docs/text_check_table.py`. It fits a tiny
checkpoint with random weights, and takes a few minutes.
"""

import inspect
import sys
import tempfile
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    WordPieceVocabulary,
)
from sklearn_bert.testing import check_text_estimator
from sklearn_bert.testing._official import MEANINGLESS, official_checks
from sklearn_bert.testing._registry import reads_texts, text_checks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "text_checks.rst"
BEGIN, END = ".. The tables begin here.", ".. The tables end here."
OFFICIAL = "Scikit-learn's own checks, on numbers that are spelled out"

# Of those checks of scikit-learn that do not say it themselves.
IN_WORDS = {
    "check_class_weight_classifiers": "A class that weighs far more is predicted.",
    "check_classifier_data_not_an_array": "Array-likes and frames give the same.",
    "check_classifiers_classes": "Labels of several kinds come back.",
    "check_classifiers_one_label": "One class is refused, or always predicted.",
    "check_classifiers_train": "Blobs are told apart; methods agree; lengths are held.",
    "check_dict_unchanged": "Predicting does not change attributes.",
    "check_estimator_sparse_array": "Sparse arrays are read, or refused by name.",
    "check_estimator_sparse_matrix": "Sparse matrices are read, or refused by name.",
    "check_estimator_tags_renamed": "Tags are defined as they are since 1.6.",
    "check_estimators_dtypes": "Floats and integers of both widths are taken.",
    "check_estimators_empty_data_messages": "No rows, and no columns, are refused.",
    "check_estimators_overwrite_params": "Fit does not change a parameter.",
    "check_f_contiguous_array_estimator": "Arrays in Fortran's order are taken.",
    "check_no_attributes_set_in_init": "`__init__` stores parameters, nothing else.",
    "check_parameters_default_constructible": "Defaults are stored as they are.",
    "check_regressor_data_not_an_array": "Array-likes and frames give the same.",
    "check_regressor_multioutput": "Several targets give as many columns.",
    "check_regressors_int": "Integers are the same numbers as floats.",
    "check_regressors_train": "R2 on the training data is above 0.5.",
    "check_sample_weight_equivalence_on_dense_data": (
        "A weight of 2 is the same as the row twice, to seven digits."
    ),
    "check_supervised_y_2d": "A column vector as y gives a warning, not a failure.",
    "check_transformer_data_not_an_array": "Array-likes and lists give the same.",
    "check_transformer_general": "`fit_transform` is `fit` and `transform`.",
    "check_transformers_unfitted": "Before fit, `transform` raises an error.",
    "check_classifiers_multilabel_representation_invariance": (
        "Indicators in lists give the same as in arrays."
    ),
}

OURS = "sklearn_bert"
MARKS = {"passed": "yes", "failed": "**no**", "skipped": "skipped", None: "–"}


def load_conftest():
    """The module that writes the tests' tiny checkpoint."""
    spec = spec_from_file_location("conftest", ROOT / "tests" / "conftest.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def estimators(checkpoint):
    """Column -> what it is about."""
    given = {"checkpoint": checkpoint, "device": "cpu", "precision": "float32"}
    trained = given | {"learning_rate": 5e-3, "batch_size": 8}
    embedder = BertEmbedder(**given)
    hashing = HashingVectorizer(n_features=1024)
    return {
        OURS: [
            BertClassifier(**trained),
            BertRegressor(**trained, max_epochs=10),
            BertTokenClassifier(**trained),
            embedder,
            BertPretrainer(**trained, max_epochs=1),
            BertGenerator(**trained, max_epochs=1),
            WordPieceVocabulary(vocab_size=200, min_frequency=1),
        ],
        "embedder + LR": [make_pipeline(embedder, LogisticRegression())],
        "tf-idf": [TfidfVectorizer()],
        "tf-idf + LR": [make_pipeline(TfidfVectorizer(), LogisticRegression())],
        "hashing + SGD": [make_pipeline(hashing, SGDClassifier())],
    }


def outcomes(models):
    """Name -> status: the worst, of several models and variants of one check."""
    found = {}
    for model in models:
        print(type(model).__name__, file=sys.stderr)
        for result in check_text_estimator(model, on_skip=None, on_fail=None):
            found.setdefault(result["check_name"], set()).add(result["status"])
    order = ["failed", "passed", "skipped"]
    return {name: min(statuses, key=order.index) for name, statuses in found.items()}


def headings(models):
    """Heading -> name -> what it checks."""
    official = {
        check.name: IN_WORDS.get(check.name, check.summary)
        for model in models
        if reads_texts(model)
        for check in official_checks(model)
    }
    for name, reason in MEANINGLESS.items():
        official[name] = f"Skipped: {reason}."
    found = {}
    for check in text_checks():
        module = inspect.getmodule(check.ask)
        found.setdefault(module.__doc__.strip(), {})[check.name] = check.summary
    return found | {OFFICIAL: dict(sorted(official.items()))}


def rst_table(rows):
    """A list-table whose first row is its header."""
    lines = [".. list-table::", "   :header-rows: 1", "   :class: checks", ""]
    for first, *others in rows:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return "\n".join(lines)


def tables(told, found):
    """Every heading with its table."""
    for heading, checks in found.items():
        yield f".. rubric:: {heading.rstrip('.')}"
        rows = [["check", "what it checks", *told]]
        for name, summary in checks.items():
            marks = [MARKS[statuses.get(name)] for statuses in told.values()]
            rows.append([f"`{name}`", as_rst(summary), *marks])
        yield rst_table(rows)


def as_rst(summary):
    """Markup that scikit-learn's comments do not mean as such."""
    return summary.replace("*", r"\*").replace("_ ", r"\_ ")


def main():
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = load_conftest().write_checkpoint(Path(folder))
        models = estimators(str(checkpoint))
        told = {column: outcomes(group) for column, group in models.items()}
        found = headings([model for group in models.values() for model in group])
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    body = "\n\n".join([BEGIN, *tables(told, found), END])
    PAGE.write_text(before + body + after, "utf-8")


if __name__ == "__main__":
    main()
