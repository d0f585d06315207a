import gzip
import inspect
import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import (
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
)
from transformers import AutoTokenizer, BertTokenizer
from transformers.models.bert_japanese.tokenization_bert_japanese import (
    BasicTokenizer,
    WordpieceTokenizer,
)

from sklearn_bert import WordPieceVocabulary
from sklearn_bert._process import _atomic_folder as _folder
from sklearn_bert.estimators import _wordpiece_vocabulary as _vocabulary

DATA = Path(os.environ.get("SKLEARN_BERT_DATA", "../shared/data"))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = [
    "low lower lowest slow slower slowest",
    "New, newer, newest!",
    "wide wider widest; Été, naïve",
    "late later latest 好的",
] * 3


@pytest.fixture(scope="module")
def fitted():
    """A small vocabulary, which no test changes."""
    return WordPieceVocabulary(vocab_size=60).fit(TEXTS)


# -- fit ---------------------------------------------------------------------------


CONTAINERS = {
    "tuple": tuple,
    "array": np.array,
    "object array": lambda texts: np.array(texts, dtype=object),
    "column": lambda texts: np.array(texts, dtype=object).reshape(-1, 1),
    "pandas": pd.Series,
    "pandas frame": lambda texts: pd.DataFrame({"text": texts}),
    "polars": pl.Series,
    "polars frame": lambda texts: pl.DataFrame({"text": texts}),
    "arrow": pa.array,
    "arrow table": lambda texts: pa.table({"text": texts}),
    "generator": lambda texts: (text for text in texts),
    "iterator": iter,
    "map": lambda texts: map(str, texts),
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_any_container_gives_the_same(fitted, container):
    """Whatever holds the texts, the vocabulary is the same."""
    found = WordPieceVocabulary(vocab_size=60).fit(container(TEXTS))
    assert found.vocabulary_ == fitted.vocabulary_
    assert found.n_features_in_ == 1


def test_an_open_file_is_a_corpus(fitted, tmp_path):
    """The lines of a file are texts."""
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(TEXTS), "utf-8")
    with path.open(encoding="utf-8") as lines:
        found = WordPieceVocabulary(vocab_size=60).fit(lines)
    assert found.vocabulary_ == fitted.vocabulary_


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (["a", None], ValueError, r"X\[1\] is None of type NoneType; every text must"),
        (iter(["a", None]), ValueError, r"X\[1\] is None of type NoneType; every text"),
        (["a", 5], TypeError, r"X\[1\] is 5 of type int; every text must be a str"),
        (iter(["a", 5]), TypeError, r"X\[1\] is 5 of type int; every text must be a"),
        ([], ValueError, "X is empty"),
        (iter([]), ValueError, "X is empty"),
        (["", " "], ValueError, "X holds no words"),
        (iter(["", " "]), ValueError, "X holds no words"),
        ("a text", TypeError, "X is a single str"),
        ({"a", "b"}, TypeError, "X is a set"),
        ([("a", "b")], ValueError, "X has two columns"),
        (np.zeros((2, 2)), TypeError, "X is an array of dtype float64"),
    ],
)
def test_what_is_no_corpus_is_refused(X, error, message):
    """Wrong input is told with its row, and leaves nothing fitted behind."""
    vocabulary = WordPieceVocabulary()
    with pytest.raises(error, match=message):
        vocabulary.fit(X)
    assert not hasattr(vocabulary, "vocabulary_")
    assert not hasattr(vocabulary, "n_features_in_")


@pytest.mark.parametrize(
    "wrong",
    [
        {"vocab_size": 0},
        {"vocab_size": 100.0},
        {"lowercase": "yes"},
        {"strip_accents": "unicode"},
        {"min_frequency": 0},
        {"limit_alphabet": 0},
        {"vocabulary": 5},
        {"add_special_tokens": None},
        {"template": 5},
        {"missing": "drop"},
    ],
    ids=str,
)
def test_parameters_are_checked_before_X_is_read(wrong):
    """A wrong parameter is told by name, and an iterator is untouched."""
    texts = iter(TEXTS)
    with pytest.raises(InvalidParameterError, match=f"The '{next(iter(wrong))}' param"):
        WordPieceVocabulary(**wrong).fit(texts)
    assert next(texts) == TEXTS[0]


def test_too_small_a_size_is_told():
    """The error names the least vocab_size, which works."""
    with pytest.raises(ValueError, match="vocab_size is 6, .* at least vocab_size=33"):
        WordPieceVocabulary(vocab_size=6).fit(TEXTS)
    assert len(WordPieceVocabulary(vocab_size=33).fit(TEXTS).vocabulary_) == 33


def test_vocabulary_begins_with_special_tokens(fitted):
    """[PAD] [UNK] [CLS] [SEP] [MASK] are 0 to 4, and ids follow the dict's order."""
    assert list(fitted.vocabulary_)[:5] == SPECIAL
    assert list(fitted.vocabulary_.values()) == list(range(60))
    assert fitted.get_feature_names_out().dtype == object
    assert fitted.get_feature_names_out().tolist() == list(fitted.vocabulary_)
    assert fitted.tokenizer_.get_vocab() == fitted.vocabulary_


def test_missing_and_template_are_read():
    """A template joins columns, and missing="empty" reads None as an empty text."""
    frame = pd.DataFrame({"title": ["low", None], "body": ["lower", "slow"]})
    vocabulary = WordPieceVocabulary(template="{title} {body}", missing="empty")
    vocabulary.fit(frame)
    expected = WordPieceVocabulary().fit(["low lower", " slow"])
    assert vocabulary.vocabulary_ == expected.vocabulary_
    assert vocabulary.n_features_in_ == 2
    assert vocabulary.feature_names_in_.tolist() == ["title", "body"]
    assert vocabulary.transform(frame) == expected.transform(["low lower", "slow"])
    stream = WordPieceVocabulary(missing="empty").fit(iter(["low lower", None, "slow"]))
    assert stream.vocabulary_ == expected.vocabulary_
    with pytest.raises(ValueError, match="template is .*X is a list_iterator, which"):
        vocabulary.fit(iter(["a"]))


def test_second_fit_leaves_no_trace(fitted):
    """Fitted anew, an estimator is as one that was never fitted before."""
    vocabulary = WordPieceVocabulary(vocab_size=60)
    vocabulary.fit(pd.DataFrame({"text": ["something else"]}))
    assert vocabulary.feature_names_in_.tolist() == ["text"]
    vocabulary.fit(TEXTS)
    assert vars(vocabulary).keys() == vars(fitted).keys()
    assert vocabulary.vocabulary_ == fitted.vocabulary_


def test_failed_fit_leaves_the_earlier_one(fitted):
    """A fit that fails leaves what was fitted before as it was."""
    vocabulary = WordPieceVocabulary(vocab_size=60).fit(TEXTS)
    with pytest.raises(ValueError, match=r"X\[1\]"):
        vocabulary.fit(iter(["a", None]))
    assert vocabulary.vocabulary_ == fitted.vocabulary_


def test_the_caller_is_left_as_he_was(capfd):
    """fit prints nothing, and changes neither X nor the environment."""
    X, environment = pd.Series(TEXTS), dict(os.environ)
    before = X.copy()
    WordPieceVocabulary().fit(X)
    pd.testing.assert_series_equal(X, before)
    assert dict(os.environ) == environment
    assert capfd.readouterr() == ("", "")


# -- a given vocabulary ------------------------------------------------------------


def test_given_vocabulary_is_taken_as_it_is(fitted):
    """A dict, list or path gives the ids it says; fit reads no stream for it."""
    for given_ in (fitted.vocabulary_, list(fitted.vocabulary_)):
        texts = iter(TEXTS)
        found = WordPieceVocabulary(vocabulary=given_).fit(texts)
        assert found.vocabulary_ == fitted.vocabulary_
        assert found.transform(TEXTS) == fitted.transform(TEXTS)
        assert next(texts) == TEXTS[0]


def test_given_vocabulary_is_not_changed():
    """The caller's list is neither kept nor changed, and clone takes it over."""
    pieces = [*SPECIAL, "a"]
    vocabulary = WordPieceVocabulary(vocabulary=pieces).fit(["a"])
    pieces.append("b")
    assert len(vocabulary.vocabulary_) == 6
    assert clone(vocabulary).vocabulary == pieces


def test_given_nonsense_is_refused():
    """What is no vocabulary is an error of fit."""
    with pytest.raises(ValueError, match=r"lacks \[PAD\]"):
        WordPieceVocabulary(vocabulary=["a"]).fit(["a"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        WordPieceVocabulary(vocabulary="nowhere").fit(["a"])


# -- transform and back ------------------------------------------------------------


def test_transform_gives_ids_as_bert_reads_them(fitted):
    """[CLS] first and [SEP] last, unless add_special_tokens says no."""
    bare = clone(fitted).set_params(add_special_tokens=False).fit(TEXTS)
    found = fitted.transform(["low", ""])
    assert found == [[2, fitted.vocabulary_["low"], 3], [2, 3]]
    assert bare.transform(["low", ""]) == [[fitted.vocabulary_["low"]], []]


def test_set_params_changes_nothing_before_fit(fitted):
    """After fit, parameters have no effect until the next fit."""
    vocabulary = WordPieceVocabulary(vocab_size=60).fit(TEXTS)
    vocabulary.set_params(add_special_tokens=False, lowercase=False, template="{a}")
    assert vocabulary.transform(["Low"]) == fitted.transform(["Low"])


def test_transform_wants_what_fit_saw(fitted):
    """Other columns than in fit, pairs and iterators are refused."""
    with pytest.raises(ValueError, match="X has two columns"):
        fitted.transform([("a", "b")])
    with pytest.raises(TypeError, match="can be read only once"):
        fitted.transform(iter(["a"]))
    of_frame = WordPieceVocabulary().fit(pd.DataFrame({"text": TEXTS}))
    assert of_frame.transform(TEXTS[:1]) == of_frame.transform(np.array(TEXTS[:1]))
    with pytest.raises(ValueError, match="feature names"):
        of_frame.transform(pd.DataFrame({"other": TEXTS}))
    joined = WordPieceVocabulary(template="{a}{b}")
    joined.fit(pd.DataFrame({"a": ["x"], "b": ["y"]}))
    with pytest.raises(ValueError, match="has no column names"):
        joined.transform(["xy"])


def test_fit_transform_is_fit_and_transform(fitted):
    """fit_transform gives the same, and refuses what can be read only once."""
    vocabulary = WordPieceVocabulary(vocab_size=60)
    assert vocabulary.fit_transform(TEXTS) == fitted.transform(TEXTS)
    texts = iter(TEXTS)
    with pytest.raises(TypeError, match="list_iterator, which is read only once"):
        vocabulary.fit_transform(texts)
    assert next(texts) == TEXTS[0]


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_ids_of_a_text_are_the_ids_of_its_inverse(fitted, text):
    """What inverse_transform gives has the same ids as the text it was made of."""
    assume(not any(token in text for token in ("[PAD]", "[CLS]", "[SEP]")))
    ids = fitted.transform([text])
    assert fitted.transform(fitted.inverse_transform(ids)) == ids


def test_inverse_normalises(fitted):
    """Back come small letters without accents and single spaces."""
    ids = fitted.transform(["  NEW,   été!", "do not"])
    assert fitted.inverse_transform(ids) == ["new , ete !", "do not"]


def test_inverse_leaves_out_what_frames_a_text(fitted):
    """[PAD], [CLS] and [SEP] vanish; [UNK] and [MASK] stay where they stood."""
    ids = fitted.transform(["low [MASK] qqq"])[0]
    expected = ["low [MASK] [UNK]"]
    assert fitted.inverse_transform([ids]) == expected
    assert fitted.inverse_transform(np.array([[*ids, 0, 0]])) == expected
    assert fitted.inverse_transform([np.array(ids, dtype=np.int32)]) == expected
    assert fitted.inverse_transform([[], [2, 3]]) == ["", ""]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[2, 60]], ValueError, r"X\[0\] holds the id 60, but .* has 60 pieces; .* 59"),
        ([[2], [-1]], ValueError, r"X\[1\] holds the id -1"),
        ([2, 3], TypeError, r"X\[0\] is 2 of type int; expected a sequence of ids"),
        ([["low"]], TypeError, r"X\[0\] is \['low'\] of type list"),
        ([[2.0]], TypeError, r"X\[0\] is \[2.0\] of type list"),
    ],
)
def test_inverse_refuses_what_are_no_ids(fitted, X, error, message):
    """Ids that no piece has are refused, with their row."""
    with pytest.raises(error, match=message):
        fitted.inverse_transform(X)


def test_pieces_can_be_counted(fitted):
    """Ids without special tokens make a bag of pieces in a pipeline."""
    count = CountVectorizer(analyzer=list, lowercase=False, vocabulary=range(60))
    pipeline = make_pipeline(clone(fitted).set_params(add_special_tokens=False), count)
    found = pipeline.fit_transform(TEXTS)
    assert found.shape == (len(TEXTS), 60)
    assert found[0, fitted.vocabulary_["low"]] == 1


# -- manners -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "check",
    [
        check_estimator_cloneable,
        check_estimator_repr,
        check_estimator_tags_renamed,
        check_get_params_invariance,
        check_mixin_order,
        check_no_attributes_set_in_init,
        check_set_params,
        check_valid_tag_types,
    ],
)
def test_scikit_learn_s_checks(check):
    """What scikit-learn says of every estimator holds."""
    check("WordPieceVocabulary", WordPieceVocabulary())


def test_scikit_learn_makes_one():
    """Default parameters are of kinds that scikit-learn knows."""
    check_parameters_default_constructible("WordPieceVocabulary", WordPieceVocabulary())


def test_tags_say_text():
    """The tags say text in one dimension, no y, and a fit."""
    tags = WordPieceVocabulary().__sklearn_tags__()
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert not tags.target_tags.required
    assert tags.requires_fit
    assert tags.transformer_tags.preserves_dtype == []


@pytest.mark.parametrize("name", ["transform", "inverse_transform", "save"])
def test_not_fitted_is_told(name, tmp_path):
    """Before fit, scikit-learn's own error is raised."""
    argument = tmp_path / "v" if name == "save" else TEXTS
    with pytest.raises(NotFittedError, match="WordPieceVocabulary"):
        getattr(WordPieceVocabulary(), name)(argument)
    with pytest.raises(NotFittedError, match="WordPieceVocabulary"):
        WordPieceVocabulary().get_feature_names_out()


def test_copies_are_alike(fitted, tmp_path):
    """pickle and joblib keep what was fitted; a clone has only the parameters."""
    joblib.dump(fitted, tmp_path / "v.joblib")
    copies = [pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "v.joblib")]
    for copy in copies:
        assert copy.transform(TEXTS) == fitted.transform(TEXTS)
        assert copy.vocabulary_ == fitted.vocabulary_
    assert not hasattr(clone(fitted), "vocabulary_")
    assert clone(fitted).get_params() == fitted.get_params()


def test_output_of_frames_is_not_tried(fitted):
    """A wish for data frames, made for all transformers, leaves ids as they are."""
    with sklearn.config_context(transform_output="pandas"):
        assert fitted.transform(["low"]) == [[2, fitted.vocabulary_["low"], 3]]


def test_metadata_has_no_requests():
    """Nothing is asked for along with X."""
    routing = WordPieceVocabulary().get_metadata_routing()
    assert routing.fit.requests == {}


def test_parameters_have_constraints():
    """Every parameter is validated, and nothing else is."""
    names = set(inspect.signature(WordPieceVocabulary).parameters)
    assert set(WordPieceVocabulary._parameter_constraints) == names


# -- saving ------------------------------------------------------------------------


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_opens_what_is_saved(tmp_path, lowercase):
    """AutoTokenizer gives the same ids, types and special tokens."""
    fitted = WordPieceVocabulary(vocab_size=60, lowercase=lowercase).fit(TEXTS)
    fitted.save(tmp_path / "new" / "v", max_length=128)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "new" / "v")
    texts = [*TEXTS, "Lower [MASK] ÉTÉ qqq", ""]
    assert theirs(texts)["input_ids"] == fitted.transform(texts)
    pair = theirs("low", "newer, new")
    ours = fitted.tokenizer_.encode("low", "newer, new")
    assert (pair["input_ids"], pair["token_type_ids"]) == (ours.ids, ours.type_ids)
    assert theirs.mask_token_id == 4
    assert theirs.all_special_tokens == [SPECIAL[i] for i in (1, 3, 0, 2, 4)]
    assert theirs.model_max_length == 128
    assert len(theirs) == 60
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["v"]


def test_what_is_saved_can_be_given_again(fitted, tmp_path):
    """The vocab.txt of a saved folder is a vocabulary."""
    fitted.save(tmp_path / "v")
    again = WordPieceVocabulary(vocabulary=tmp_path / "v" / "vocab.txt").fit(TEXTS)
    assert again.vocabulary_ == fitted.vocabulary_
    assert again.tokenizer_.to_str() == fitted.tokenizer_.to_str()


def test_no_limit_of_length_is_saved_if_none_is_asked_for(fitted, tmp_path):
    """max_length=None leaves transformers without a limit."""
    fitted.save(tmp_path / "v", max_length=None)
    assert AutoTokenizer.from_pretrained(tmp_path / "v").model_max_length > 1e9


def test_a_saved_vocabulary_is_replaced(fitted, tmp_path):
    """Saving again replaces the folder, and an empty folder is filled."""
    (tmp_path / "v").mkdir()
    WordPieceVocabulary(vocab_size=50).fit(TEXTS).save(tmp_path / "v")
    fitted.save(tmp_path / "v")
    assert (tmp_path / "v" / "vocab.txt").read_text("utf-8").count("\n") == 60
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_something_else_is_never_replaced(fitted, tmp_path):
    """A file, or a folder that holds more, is left as it is."""
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / "model"
    fitted.save(folder)
    (folder / "model.safetensors").write_bytes(b"weights")
    before = contents(folder)
    with pytest.raises(FileExistsError, match="model exists .* holds more than"):
        fitted.save(folder)
    with pytest.raises(FileExistsError, match="nothing was written"):
        fitted.save(tmp_path / "file")
    assert contents(folder) == before
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model"]


@pytest.mark.parametrize(
    ("module", "step"),
    [(_vocabulary, "_config_for_transformers"), (_folder, "_put_in_place")],
)
def test_a_failed_save_leaves_the_old_one(fitted, tmp_path, monkeypatch, module, step):
    """A save that fails leaves the old folder whole and nothing beside it."""

    def fail(*args):
        raise OSError("disk full")

    fitted.save(tmp_path / "v")
    before = contents(tmp_path / "v")
    monkeypatch.setattr(module, step, fail)
    with pytest.raises(OSError, match="disk full"):
        WordPieceVocabulary(vocab_size=50).fit(TEXTS).save(tmp_path / "v")
    assert contents(tmp_path / "v") == before
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_an_interrupt_leaves_the_old_folder(fitted, tmp_path, monkeypatch):
    """Interrupted before the two folders change places, a save leaves the old one."""
    fitted.save(tmp_path / "v")
    before = contents(tmp_path / "v")

    def interrupted(*folders):
        raise KeyboardInterrupt

    monkeypatch.setattr(_folder, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WordPieceVocabulary(vocab_size=50).fit(TEXTS).save(tmp_path / "v")
    assert contents(tmp_path / "v") == before
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


# -- against transformers, and against published vocabularies ------------------------


@pytest.fixture(scope="module", params=[(True, None), (False, None), (True, False)])
def both(request, tmp_path_factory):
    """Ours and transformers' tokenizer over one vocab.txt, by settings."""
    lowercase, strip_accents = request.param
    options = {"lowercase": lowercase, "strip_accents": strip_accents}
    ours = WordPieceVocabulary(vocab_size=90, **options).fit(TEXTS)
    folder = tmp_path_factory.mktemp("vocabulary")
    ours.save(folder)
    theirs = BertTokenizer(
        str(folder / "vocab.txt"), do_lower_case=lowercase, strip_accents=strip_accents
    )
    return ours, theirs


PARTS = st.sampled_from(
    [
        *SPECIAL,
        "Lower",
        "ÉTÉ",
        "naïve",
        "好的",
        "##er",
        " ",
        "\t",
        "\u200b",
        "İ",
        "x" * 101,
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.lists(PARTS).map("".join),
    )
)
def test_ids_are_those_of_transformers(both, text):
    """For any text, transform gives what BertTokenizer gives for the same vocab.txt."""
    ours, theirs = both
    assert ours.transform([text]) == [theirs(text)["input_ids"]]


def published(name):
    path = DATA / "bert_vocab" / f"{name}-vocab.txt"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set SKLEARN_BERT_DATA to its folder")
    return path


def masc(n_texts):
    path = DATA / "masc" / "masc_plain.txt.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set SKLEARN_BERT_DATA to its folder")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [line.rstrip("\n") for line in lines]
    return [text for text in texts if text][:n_texts]


CHINESE = [
    "今天天气很好，我们去公园散步吧。",
    "这本书的作者是谁？我想再读一遍！",
    "BERT是一个语言模型，發表於2018年。",
    "他说：“价格是３５元”，不过㎏ 和㍿呢…",
    "",
]


def test_ids_of_bert_base_uncased():
    """With BERT's own vocabulary, 4,000 sentences get the ids of BertTokenizer."""
    path = published("bert-base-uncased")
    texts = masc(4_000)
    ours = WordPieceVocabulary(vocabulary=path).fit(texts)
    assert len(ours.vocabulary_) == 30522
    assert ours.vocabulary_["[MASK]"] == 103
    theirs = BertTokenizer(str(path), model_max_length=10**6)
    assert ours.transform(texts) == theirs(texts)["input_ids"]


def test_ids_of_bert_base_chinese():
    """With the Chinese vocabulary, Chinese sentences get the ids of BertTokenizer."""
    path = published("bert-base-chinese")
    ours = WordPieceVocabulary(vocabulary=path).fit(CHINESE)
    assert len(ours.vocabulary_) == 21128
    found = ours.transform(CHINESE)
    assert found == BertTokenizer(str(path))(CHINESE)["input_ids"]
    assert found == in_plain_python(ours, CHINESE)
    assert [len(ids) for ids in found[:2]] == [18, 18]  # each character by itself


def test_ids_of_google_s_algorithm():
    """The ids are those of the algorithm that Google published, in plain Python."""
    texts = masc(1_000)
    ours = WordPieceVocabulary(vocabulary=published("bert-base-uncased")).fit(texts)
    assert ours.transform(texts) == in_plain_python(ours, texts)


def in_plain_python(ours, texts):
    """Ids by the tokenizer of BERT's first release, as transformers still has it."""
    basic, pieces = BasicTokenizer(), WordpieceTokenizer(ours.vocabulary_, "[UNK]")
    split = [
        [piece for word in basic.tokenize(text) for piece in pieces.tokenize(word)]
        for text in texts
    ]
    framed = [["[CLS]", *found, "[SEP]"] for found in split]
    return [[ours.vocabulary_[piece] for piece in found] for found in framed]
