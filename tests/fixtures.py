"""A tiny BERT made from scratch, so that the tests need no network and no download."""

import collections
import functools
import gc
import itertools
import json
import math
import os
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    BertTokenizer,
    DebertaTokenizer,
    DebertaV2Tokenizer,
    DistilBertTokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from sklearn_bert import BertRegressor, BertTokenClassifier
from sklearn_bert.compute import _inference, _precision, _self_check
from sklearn_bert.compute._memory import give_back
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._table import TokenTable
from sklearn_bert.training import _update
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._losses import CrossEntropy
from sklearn_bert.training._net import BertNet

SENTENCES = (
    "the a film movie plot was is very not good great fine nice bad awful poor dull "
    "i you we it and but or love hate like cat dog runs sleeps one two three . , ! ?"
)
WORDS = SENTENCES.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
]

GOOD = ["good", "great", "fine", "nice"]
BAD = ["bad", "awful", "poor", "dull"]


@pytest.fixture(scope="session", autouse=True)
def processor():
    """Take the processor for one with AVX2 alone, where `make test-avx2` asks for it.

    The environment of that target tells the libraries; torch's two questions about
    bfloat16 do not listen to it.
    """
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
            for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
                patch.setattr(torch.cpu, name, lambda: False)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """Leave out `fsync`: no test cuts the power, and hundreds of them save."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def collected_garbage():
    """Let collections pass over what the imports have made: it never goes.

    `conftest.py` has put them off till now, for they would take a quarter of the time
    that the imports take.
    """
    gc.freeze()
    gc.set_threshold(10 * gc.get_threshold()[0])  # a fit is over before it is reached
    gc.enable()


@pytest.fixture
def emulated_bfloat16(monkeypatch):
    """Compute in bfloat16, or float16, on every processor, even if it is emulated."""
    of_gpu = _precision.fast_formats

    def emulated(device):
        return ("bfloat16", "float16") if device.type == "cpu" else of_gpu(device)

    monkeypatch.setattr(_precision, "fast_formats", emulated)


@pytest.fixture
def short_formats_anywhere(monkeypatch):
    """Compute in bfloat16 or float16 on every device, also on one that is pretended."""
    formats = ("bfloat16", "float16")
    monkeypatch.setattr(_precision, "fast_formats", lambda device: formats)


@pytest.fixture
def pretend(monkeypatch):
    """Let torch say that this machine has GPUs of a kind, which cannot compute.

    Of CUDA's the capability of each may be given.
    """

    def say(kind, n=1, capabilities=()):
        found, module = torch.device(kind) if n else None, torch.get_device_module(kind)
        for where, name, answer in (
            (torch.accelerator, "current_accelerator", lambda check_available: found),
            (module, "is_available", lambda: n > 0),
            (module, "device_count", lambda: n),
        ):
            monkeypatch.setattr(where, name, answer)
        if capabilities:
            monkeypatch.setattr(
                torch.cuda,
                "get_device_capability",
                lambda device: capabilities[device.index or 0],
            )

    return say


def make_tokenizer(max_length=64):
    """A BERT tokenizer over a few words and all letters."""
    vocabulary = dict.fromkeys([*SPECIAL, *WORDS, *LETTERS])
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def write_checkpoint(
    folder, *, pooling="mean", max_length=64, dtype=torch.float32, n_layers=2
):
    """Write a small BERT with random weights, as a checkpoint folder."""
    tokenizer = make_tokenizer(max_length)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config).to(dtype)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if pooling is not None:
        modules = [
            {"idx": 0, "name": "0", "path": "", "type": "x.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "x.models.Pooling"},
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(
            json.dumps({f"pooling_mode_{pooling}_tokens": True})
        )
    return folder


@pytest.fixture(scope="session")
def two_layer_checkpoint(tmp_path_factory):
    """The folder of a tiny BERT whose vectors are means."""
    return str(write_checkpoint(tmp_path_factory.mktemp("tiny-bert")))


@pytest.fixture(scope="session")
def checkpoint(two_layer_checkpoint):
    """The same, in modules that do not choose `shallow_checkpoint` for themselves."""
    return two_layer_checkpoint


@pytest.fixture(scope="session")
def shallow_checkpoint(tmp_path_factory):
    """The same with a single layer, where there is much to fit."""
    return str(write_checkpoint(tmp_path_factory.mktemp("shallow-bert"), n_layers=1))


@pytest.fixture
def make_checkpoint(tmp_path):
    """Write a tiny BERT with other settings into a new folder."""
    numbers = itertools.count()

    def make(**settings):
        return write_checkpoint(tmp_path / f"checkpoint-{next(numbers)}", **settings)

    return make


@pytest.fixture(scope="session")
def reviews():
    """Forty short texts that one word decides, and their labels."""
    texts, labels = [], []
    for thing, good, bad in zip(
        ["film", "movie", "plot", "cat", "dog"] * 4, GOOD * 5, BAD * 5, strict=True
    ):
        texts += [f"the {thing} was very {good}", f"i hate it , a {bad} {thing} !"]
        labels += ["pos", "neg"]
    return texts, labels


@pytest.fixture(scope="session")
def data_for(reviews):
    """What an estimator learns from: the reviews, or what it takes instead of them."""
    texts, labels = reviews
    words = [text.split() for text in texts]

    def data_for(estimator):
        if isinstance(estimator, BertRegressor):
            return texts, np.arange(40)
        if isinstance(estimator, BertTokenClassifier):
            return words, [["O"] * (len(text) - 1) + ["B-X"] for text in words]
        if getattr(estimator, "next_sentence", False):
            return [[one, two, one] for one, two in itertools.pairwise(texts)], None
        if getattr(estimator, "objective", None) == "pairs":
            return list(itertools.pairwise(texts)), None
        return texts, labels

    return data_for


@pytest.fixture(scope="module")  # where a module may have a checkpoint of its own
def settings(checkpoint):
    """Parameters of an estimator that fits in a second."""
    return {
        "checkpoint": checkpoint,
        "learning_rate": 5e-3,
        "batch_size": 16,
        "random_state": 0,
        "device": "cpu",
        "precision": "float32",
    }


@pytest.fixture(scope="module")
def quick(settings):
    """Parameters of a classifier that learns little."""
    return settings | {"max_epochs": 1, "head_init": "random", "calibrate": False}


@pytest.fixture(scope="module")
def embedder_settings(checkpoint):
    """Parameters of a tiny embedder."""
    return {"checkpoint": checkpoint, "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="session")
def make_encoder():
    """Make a three-layer encoder of a family, with random weights."""

    def make(family, *, dropout=0.1, **changes):
        settings = {
            "vocab_size": 80,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 66,
            "initializer_range": 0.15,
        }
        if family == "electra":
            settings["embedding_size"] = 16
        if family == "distilbert":
            names = ["dim", "n_layers", "n_heads", "hidden_dim"]
            settings |= dict(zip(names, [32, 3, 4, 64], strict=True))
        if family.endswith("roberta"):
            settings |= {"pad_token_id": 1, "type_vocab_size": 2}
        rates = ["hidden_dropout_prob", "attention_probs_dropout_prob"]
        if family in ("distilbert", "modernbert"):
            rates = ["attention_dropout", "embedding_dropout", "mlp_dropout", "dropout"]
            rates = rates[::3] if family == "distilbert" else rates[:3]
        settings |= dict.fromkeys(rates, dropout)
        config = AutoConfig.for_model(family, **(settings | changes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder = AutoModel.from_config(config)
            for name, value in encoder.named_parameters():
                if name.endswith("bias"):  # made as zeros, which would hide mistakes
                    torch.nn.init.normal_(value, std=0.1)
        return encoder.eval()

    return make


@pytest.fixture(scope="session")
def make_table():
    """Make a table of texts of given lengths: any ids but that of the padding."""

    def make(lengths, *, with_types=False, first_id=2):
        rng = np.random.default_rng(0)
        lengths = np.array(lengths)
        ids = rng.integers(first_id, 80, lengths.sum()).astype(np.int32)
        types = rng.integers(0, 2, len(ids)).astype(np.uint8) if with_types else None
        return TokenTable(ids, np.cumsum(lengths) - lengths, lengths, lengths, types)

    return make


class FakeGPU(str):
    """The CPU under the name of a GPU."""

    type = "cuda"
    index = None


@pytest.fixture
def fake_gpu(monkeypatch):
    """The CPU under the name of a GPU, on which no fast path has been checked."""
    monkeypatch.setattr(_self_check, "_passed", set())
    monkeypatch.setattr(_self_check, "_failed", set())
    monkeypatch.setattr(_self_check, "seeded", lambda seed, device: nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fake GPU")
    return FakeGPU("cpu")


@pytest.fixture
def quick_room(monkeypatch):
    """Make room without a collection, of which some tests would make dozens."""
    for module in (_update, _inference):
        monkeypatch.setattr(module, "make_room", give_back)


@pytest.fixture
def data(checkpoint, reviews):
    """A token table, codes and weights."""
    texts, labels = reviews
    table = load_checkpoint(checkpoint).text_tokenizer(None)(check_texts(texts))
    codes = (np.array(labels) == "pos").astype(np.int64)
    return Examples(
        table, np.arange(len(texts)), codes, np.ones(len(texts), dtype=np.float32)
    )


@pytest.fixture
def make_net(checkpoint, shallow_checkpoint, emulated_bfloat16):
    """Make a net around the tiny BERT, or another encoder, without dropout.

    It has two layers where they are told apart, and else one.
    """

    def make(encoder=None, *, trainable="all", pooling="mean", **settings):
        by_layer = trainable not in ("all", "head") or "layer_decay" in settings
        folder = checkpoint if by_layer else shallow_checkpoint
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if encoder is None:
                encoder = load_checkpoint(folder, dropout=0.0).encoder
            model = TextModel(
                encoder, pooling=pooling, n_outputs=2, trainable=trainable
            )
        defaults = {
            "placement": "cpu",
            "precision": "float32",
            "pad_id": 0,
            "objective": CrossEntropy(),
            "lr": 1e-3,
            "batch_size": 8,
            "max_epochs": 2,
        }
        return BertNet(model, **(defaults | settings))

    return make


# Short texts by language: without spaces, right to left, with accents, of symbols.
TEXTS_OF = {
    "English": ["The parcel never arrived.", "It was a great film, really great!"],
    "Chinese": ["我喜欢这部电影。", "快递一直没有到，太慢了！"],
    "German": ["Das Päckchen kam nie an.", "Größere Straßen gefallen mir."],
    "Arabic": ["لَمْ يَصِلِ الطَّرْدُ أَبَدًا.", "الفيلم جميل جدًا، جميل!"],
    "emoji": ["👍🏽 😀😀 👩‍👩‍👧", "🇩🇪 ❤️!"],
    "mixed": ["Film 电影 فيلم 🎬 Straße", "قال: “great film” ثم 好👍🏽 (2024)"],
}
OF_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
OF_DEBERTA = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
# Kind of vocabulary, class of the tokenizer, special tokens in their published order.
TOKENIZERS = {
    "bert": ("pieces", BertTokenizer, SPECIAL),
    "distilbert": ("pieces", DistilBertTokenizer, SPECIAL),
    "electra": ("pieces", BertTokenizer, SPECIAL),
    "mpnet": ("pieces", MPNetTokenizer, ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]),
    "roberta": ("bytes", RobertaTokenizer, OF_ROBERTA),
    "modernbert": ("bytes", None, ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]),
    "deberta": ("bytes", DebertaTokenizer, OF_DEBERTA),
    "xlm-roberta": ("unigrams", XLMRobertaTokenizer, OF_ROBERTA),
    "deberta-v2": ("unigrams", DebertaV2Tokenizer, OF_DEBERTA),
    "e5": ("unigrams", XLMRobertaTokenizer, OF_ROBERTA),
}
MODEL_TYPES = {"e5": "bert"}  # the multilingual E5 and MiniLM: a BERT, XLM-R's pieces
RELATIVE = {"relative_attention": True, "position_biased_input": False}
# What the published checkpoints of a family have and its configuration has not.
SHAPES = {
    "roberta": {"type_vocab_size": 1},
    "xlm-roberta": {"type_vocab_size": 1},
    "modernbert": {
        "local_attention": 8,
        "global_attn_every_n_layers": 2,
        **{f"{name}_token_id": 1 for name in ("bos", "cls")},
        **{f"{name}_token_id": 2 for name in ("eos", "sep")},
    },
    "deberta": {**RELATIVE, "pos_att_type": ["c2p", "p2c"]},
    "e5": {"pad_token_id": 0},  # which is not its tokenizer's
    "deberta-v2": {
        **RELATIVE,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    },
}


def train_vocabulary(kind, special):
    """Train a tokenizer's vocabulary of a kind on the texts of all languages.

    It is the same in every process. The trainers alone promise that for bytes only:
    they go through letters and pieces in the order of a hash map.
    """
    texts = list(itertools.chain(*TEXTS_OF.values()))
    unknown = next(token for token in special if "unk" in token.lower())
    if kind == "unigrams":
        return {"vocab": count_unigrams(texts, special)}
    if kind == "pieces":
        backend = Tokenizer(models.WordPiece(unk_token=unknown))
        backend.normalizer = normalizers.BertNormalizer()
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        words = words_of(backend, texts)
        letters = sorted({word[0] for word in words})
        letters += sorted({f"##{letter}" for word in words for letter in word[1:]})
        trainer = trainers.WordPieceTrainer(
            vocab_size=250,
            special_tokens=[*special, *letters],
            limit_alphabet=0,
            show_progress=False,
        )
    else:
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    backend.train_from_iterator(texts, trainer)
    return json.loads(backend.to_str())["model"]


def count_unigrams(texts, special, size=250):
    """List special tokens, letters, and the most frequent parts of words, with scores.

    A score is the logarithm of a share, as in a trained vocabulary.
    """
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    parts = collections.Counter(
        word[start:end]
        for word in words_of(backend, texts)
        for start, end in itertools.combinations(range(len(word) + 1), 2)
    )
    order = sorted(parts, key=lambda part: (len(part) > 1, -parts[part], part))
    kept = order[: size - len(special)]
    total = sum(parts[part] for part in kept)
    scores = [(part, math.log(parts[part] / total)) for part in kept]
    return [*((token, 0.0) for token in special), *scores]


def words_of(backend, texts):
    """The words that a tokenizer normalises and cuts texts into."""
    normalize = backend.normalizer.normalize_str if backend.normalizer else str
    cut = backend.pre_tokenizer.pre_tokenize_str
    return [word for text in texts for word, _ in cut(normalize(text))]


def make_family_tokenizer(family):
    """A tokenizer as the family's checkpoints have it, with a small vocabulary."""
    kind, tokenizer_class, special = TOKENIZERS[family]
    model = train_vocabulary(kind, special)
    vocabulary = {"vocab": model["vocab"]}
    if kind == "bytes":
        vocabulary["merges"] = [tuple(pair) for pair in model["merges"]]
    if kind == "unigrams":
        vocabulary["vocab"] = [tuple(piece) for piece in model["vocab"]]
    if tokenizer_class is not None:
        return tokenizer_class(**vocabulary)
    return modernbert_tokenizer(vocabulary)


def modernbert_tokenizer(vocabulary):
    """ModernBERT has no class of its own: all is in its tokenizer.json."""
    backend = Tokenizer(models.BPE(**vocabulary))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(t, vocabulary["vocab"][t]) for t in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{t[1:-1].lower()}_token": t for t in TOKENIZERS["modernbert"][2]},
    )


@pytest.fixture(scope="session")
def texts_of():
    """Short texts by language."""
    return TEXTS_OF


@pytest.fixture(scope="session")
def family_checkpoint(tmp_path_factory, make_encoder):
    """The folder of a tiny checkpoint of a family: two layers with random weights."""

    @functools.cache
    def make(family):
        folder = tmp_path_factory.mktemp(family)
        tokenizer = make_family_tokenizer(family)
        n_layers = {"distilbert": "n_layers"}.get(family, "num_hidden_layers")
        sizes = {"vocab_size": len(tokenizer), n_layers: 2}
        shape = {"pad_token_id": tokenizer.pad_token_id, **SHAPES.get(family, {})}
        encoder = make_encoder(MODEL_TYPES.get(family, family), **sizes, **shape)
        encoder.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture(scope="session")
def texts_in_pass():
    """The tokens, or the states, of each text that a pass of a model is given."""

    def texts_in_pass(input_ids=None, attention_mask=None, **inputs):
        given = inputs["lower_states"] if input_ids is None else input_ids
        if "cu_seq_lens" in inputs:  # one after the other, in one line
            return given[0].split(inputs["cu_seq_lens"].diff().tolist())
        if attention_mask is None:
            return list(given)
        return [row[mask] for row, mask in zip(given, attention_mask, strict=True)]

    return texts_in_pass
