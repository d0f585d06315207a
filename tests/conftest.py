"""A tiny BERT made from scratch, so that the tests need no network and no download."""

import itertools
import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
)

from sklearn_bert.text import TokenTable

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


def write_checkpoint(folder, *, pooling="mean", max_length=64, dtype=torch.float32):
    """Write a two-layer BERT with random weights, as a checkpoint folder."""
    tokenizer = make_tokenizer(max_length)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
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
def checkpoint(tmp_path_factory):
    """The folder of a tiny BERT whose vectors are means."""
    return str(write_checkpoint(tmp_path_factory.mktemp("tiny-bert")))


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
def settings(checkpoint):
    """Parameters of an estimator that fits in a second."""
    return {
        "checkpoint": checkpoint,
        "learning_rate": 5e-3,
        "batch_size": 8,
        "random_state": 0,
        "device": "cpu",
        "precision": "float32",
    }


@pytest.fixture(scope="session")
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
