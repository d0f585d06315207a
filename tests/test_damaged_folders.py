"""Damaged and foreign folders and files: one error of ours, or the right result."""

import gzip
import json
import lzma
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as read
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    load,
    persistence,
    save,
)
from sklearn_bert._process._cache import WEIGHTS
from sklearn_bert._process._errors import CheckpointError, DamagedCheckpointError
from sklearn_bert.cli._main import main
from sklearn_bert.estimators._save import canonical, sha256_of
from sklearn_bert.model import _checkpoint_encoder
from sklearn_bert.model._post_processing import write_step

TEXTS = ["the good film", "the awful plot", "i love it", "i hate it"]
WORDS = [text.split() for text in TEXTS]
TAGS = [["one"] + ["more"] * (len(words) - 1) for words in WORDS]
FITS = {
    BertClassifier: (TEXTS, ["pos", "neg"] * 2),
    BertRegressor: (TEXTS, [1.0, 2.0, 3.0, 4.0]),
    BertTokenClassifier: (WORDS, TAGS),
    BertEmbedder: (TEXTS,),
    BertPretrainer: (TEXTS,),
    BertGenerator: (TEXTS,),
}
SETTINGS = {"device": "cpu", "precision": "float32"}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 90868376\n"
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"


# -- what may happen to a folder -------------------------------------------------------


def remove(*names):
    """Remove files."""
    return lambda folder: [(folder / name).unlink() for name in names]


def write(name, content):
    """Write bytes, or an object as JSON, in the place of a file."""

    def change(folder):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return change


def edit(name, **values):
    """Change entries of a JSON file."""

    def change(folder):
        path = folder / name
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(old | values))

    return change


def halve(name):
    """Cut a file in the middle."""

    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def folder_for(name):
    """Put a folder in the place of a file."""
    return lambda folder: ((folder / name).unlink(), (folder / name).mkdir())


def dangling(name):
    """Put a link to nothing in the place of a file."""

    def change(folder):
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "gone")

    return change


def weights(changed):
    """Change the tensors of model.safetensors, a dict, in place."""

    def change(folder):
        path = folder / "model.safetensors"
        tensors = read(path.read_bytes())
        changed(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return change


def both(*changes):
    """Several things at once."""
    return lambda folder: [change(folder) for change in changes]


def shards(*names):
    """An index in the place of the weights, which names these files for them."""
    tensors = [f"tensor.{place}" for place in range(len(names))]
    files = dict(zip(tensors, names, strict=True))
    index = {"metadata": {}, "weight_map": files}
    return both(
        remove("model.safetensors"), write("model.safetensors.index.json", index)
    )


def of_family(family, **sizes):
    """Weights of another family, untrained."""

    def change(folder):
        config = AutoConfig.for_model(family, **sizes)
        AutoModel.from_config(config).save_pretrained(folder)

    return change


def vocabulary(*tokens):
    """A vocab.txt as the only file of a tokenizer."""
    lines = "".join(f"{token}\n" for token in tokens)
    return both(NO_TOKENIZER, write("vocab.txt", lines.encode()))


def dense(value=1.0):
    """One more module of sentence-transformers, a linear map with this number in it."""

    def change(folder):
        linear = torch.nn.Linear(32, 4)
        linear.weight.data[1, 3] = value
        write_step(linear, folder / "2_Dense", 32)
        modules = json.loads((folder / "modules.json").read_text())
        modules.append({"path": "2_Dense", "type": "x.models.Dense"})
        (folder / "modules.json").write_text(json.dumps(modules))

    return change


def set_number(name, value):
    """Put one number into a tensor."""

    def change(tensors):
        tensors[name].view(-1)[3] = value

    return weights(change)


def pickled(folder):
    """Weights as torch.save writes them, under the name of safetensors."""
    path = folder / "model.safetensors"
    torch.save(read(path.read_bytes()), path)


NO_TOKENIZER = remove("tokenizer.json", "tokenizer_config.json")
NO_WEIGHTS = remove("model.safetensors")
NO_FIT = r"config\.json, with values that do not fit, cannot be read"
TOKENIZER = r"tokenizer\.save_pretrained\(folder\)"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OWN_CODE = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
LORA = {"peft_type": "LORA", "base_model_name_or_path": "someone/base"}
MATRIX = "encoder.layer.1.output.dense.weight"
FILE_KINDS = {
    "empty": (lambda name: write(name, b""), "is empty"),
    "blank": (lambda name: write(name, b" \n"), "is empty"),
    "pointer": (
        lambda name: write(name, POINTER),
        "is a Git LFS pointer.*git lfs pull",
    ),
    "page": (lambda name: write(name, PAGE), "is a web page"),
    "folder": (folder_for, "is a folder; expected a file"),
}
JSON_KINDS = {
    **FILE_KINDS,
    "half": (halve, "is not JSON in UTF-8"),
    "latin-1": (lambda name: write(name, b'{"a": "\xe9"}'), "is not JSON in UTF-8"),
    "deep": (lambda name: write(name, b"[" * 200_000), "is not JSON in UTF-8"),
    "list": (lambda name: write(name, [1]), "holds JSON of type list"),
    "number": (lambda name: write(name, 3), "holds JSON of type int"),
}


def in_every_file():
    """Damage of each kind to each file that is read."""
    table = {}
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        for kind, (make, message) in JSON_KINDS.items():
            table[f"{name} {kind}"] = (make(name), f"{re.escape(name)}.*{message}")
    for kind, (make, message) in FILE_KINDS.items():
        name = "model.safetensors"
        table[f"{name} {kind}"] = (make(name), f"{re.escape(name)} {message}")
    pooling = "1_Pooling/config.json"
    for kind in ("pointer", "half", "list"):
        make, message = JSON_KINDS[kind]
        table[f"pooling {kind}"] = (make(pooling), f"{pooling}.*{message}")
    for name in ("modules.json", "sentence_bert_config.json"):
        start = write(name, b'{"max_seq_length": 12}')
        for kind in ("pointer", "half"):
            make, message = JSON_KINDS[kind]
            table[f"{name} {kind}"] = (both(start, make(name)), f"{name}.*{message}")
    return table


# What happens, and what the error says: the file and what is wrong with it.
DAMAGE = in_every_file() | {
    # No tokenizer, or one that knows nothing.
    "no tokenizer": (NO_TOKENIZER, f"no tokenizer.json.*{TOKENIZER}"),
    "tokenizer settings alone": (
        remove("tokenizer.json"),
        f"no tokenizer.json.*{TOKENIZER}",
    ),
    "special tokens alone": (
        both(NO_TOKENIZER, write("special_tokens_map.json", {"unk_token": "[UNK]"})),
        f"no tokenizer.json.*{TOKENIZER}",
    ),
    "vocab.json without merges": (
        both(NO_TOKENIZER, write("vocab.json", {"a": 0})),
        f"no merges.txt.*{TOKENIZER}",
    ),
    "merges without vocab.json": (
        both(NO_TOKENIZER, write("merges.txt", b"a b\n")),
        f"no vocab.json.*{TOKENIZER}",
    ),
    "vocabulary of a RoBERTa": (
        both(
            NO_TOKENIZER,
            write("vocab.json", {"<s>": 0, "a": 1, "b": 2, "ab": 3}),
            write("merges.txt", b"#version: 0.2\na b\n"),
        ),
        f"special tokens and no word.*{TOKENIZER}",
    ),
    "vocab.txt empty": (vocabulary(), f"vocab.txt is empty.*{TOKENIZER}"),
    "vocab.txt of special tokens": (vocabulary(*SPECIAL), "special tokens and no word"),
    "vocab.txt cut short": (
        vocabulary("[PAD]", "[UNK]", "good", "film"),
        r"vocab.txt lacks the special token '\[CLS\]'",
    ),
    "most of a vocab.txt lost": (
        vocabulary(*SPECIAL, "the", "good", "film"),
        rf"vocab.txt gives 8 tokens, but the weights know \d+.*{TOKENIZER}",
    ),
    "vocab.txt in latin-1": (
        both(NO_TOKENIZER, write("vocab.txt", b"[PAD]\n[UNK]\ncaf\xe9\n")),
        rf"\(vocab.txt\) cannot be read.*{TOKENIZER}",
    ),
    "vocab.txt without unknown": (
        vocabulary("[PAD]", "[CLS]", "[SEP]", "good"),
        "lacks the special token|cannot be read|no entry for its unknown token",
    ),
    "vocab.txt pointer": (
        both(NO_TOKENIZER, write("vocab.txt", POINTER)),
        "vocab.txt is a Git LFS pointer",
    ),
    "sentencepiece broken": (
        both(NO_TOKENIZER, write("spiece.model", b"\x0anot a model")),
        rf"\(spiece.model\) cannot be read|no word.*{TOKENIZER}",
    ),
    "tokenizer of words that are special": (
        lambda folder: _only_special(folder),
        f"5 special tokens and no word.*{TOKENIZER}",
    ),
    "tokenizer of a newer library": (
        edit("tokenizer.json", model={"type": "SuperPiece", "vocab": {}}),
        f"tokenizer.json, made by a newer or older version.*{TOKENIZER}",
    ),
    "tokenizer.json is a configuration": (
        write("tokenizer.json", {"model_type": "bert"}),
        "tokenizer.json, made by a newer or older version",
    ),
    "tokenizer of another checkpoint": (
        both(
            edit("config.json", vocab_size=2),
            weights(lambda t: _cut_words(t, 2)),
        ),
        r"puts '\[CLS\]' \(id 2\) around every text, but the weights know only 2",
    ),
    "special_tokens_map.json half": (
        write("special_tokens_map.json", b'{"unk'),
        "special_tokens_map.json is not JSON",
    ),
    "limit in words": (
        edit("tokenizer_config.json", model_max_length="long"),
        r"tokenizer_config.json limits texts to 'long' \(model_max_length\)",
    ),
    "limit of 2": (
        edit("tokenizer_config.json", model_max_length=2),
        "limit texts to 2 tokens",
    ),
    # The configuration.
    "no config.json": (remove("config.json"), "has no config.json"),
    "config.json dangling": (dangling("config.json"), r"config\.json"),
    "no model_type": (write("config.json", {}), "config.json has no model_type"),
    "model_type null": (edit("config.json", model_type=None), "has no model_type"),
    "model_type unknown": (
        edit("config.json", model_type="bertissimo"),
        "config.json has the model_type 'bertissimo', which the installed transformers",
    ),
    "own code": (
        edit("config.json", model_type="own", auto_map=OWN_CODE),
        "needs code of its own.*auto_map.*never run",
    ),
    "own code without a type": (
        write("config.json", {"auto_map": OWN_CODE}),
        "needs code of its own.*never run",
    ),
    "quantised": (
        edit("config.json", quantization_config={"quant_method": "bitsandbytes"}),
        "quantised weights.*quantization_config",
    ),
    "activation unknown": (edit("config.json", hidden_act="x"), NO_FIT),
    "dropout of 3": (edit("config.json", hidden_dropout_prob=3.0), NO_FIT),
    "width in words": (edit("config.json", hidden_size="wide"), NO_FIT),
    "heads that do not divide": (edit("config.json", num_attention_heads=5), NO_FIT),
    "layers in words": (edit("config.json", num_hidden_layers="two"), NO_FIT),
    "no layers": (
        edit("config.json", num_hidden_layers=0),
        "config.json says 0 layers",
    ),
    "layers below zero": (
        edit("config.json", num_hidden_layers=-1),
        "config.json says -1 layers",
    ),
    "images": (of_family("vit", num_hidden_layers=1, hidden_size=12), "reads pixel"),
    "an encoder-decoder": (
        write("config.json", {"model_type": "t5"}),
        "is an encoder-decoder",
    ),
    "a decoder with cross attention": (
        edit("config.json", is_decoder=True, add_cross_attention=True),
        "the decoder of an encoder-decoder",
    ),
    "images and texts": (edit("config.json", model_type="clip"), "more than texts"),
    "sounds": (edit("config.json", model_type="wav2vec2"), "reads input_values"),
    "vectors of questions": (
        of_family("dpr", vocab_size=80, num_hidden_layers=1, hidden_size=12),
        "a text given to DPREncoder cannot be read|'dpr' has no head for masked words",
    ),
    # Weights.
    "no weights": (NO_WEIGHTS, "has no weights in model.safetensors"),
    "weights dangling": (dangling("model.safetensors"), "model.safetensors is missing"),
    "weights half": (
        halve("model.safetensors"),
        "model.safetensors has .* bytes; by its header it has",
    ),
    "weights of noise": (
        write("model.safetensors", bytes(range(256)) * 9),
        "model.safetensors cannot be read: a header of 506,097,522,914,230,528 bytes",
    ),
    "weights of zeros": (
        write("model.safetensors", bytes(999)),
        "model.safetensors cannot be read",
    ),
    "weights pickled": (pickled, "model.safetensors is a pickle"),
    "weights under another name": (
        lambda folder: (folder / "model.safetensors").rename(
            folder / "model.fp16.safetensors"
        ),
        "has no weights in model.safetensors.*model.fp16.safetensors",
    ),
    "wider by the configuration": (
        edit("config.json", intermediate_size=128),
        r"config.json does not fit the weights.*intermediate.*\(64.*\(128",
    ),
    "more words by the configuration": (
        edit("config.json", vocab_size=300),
        r"config.json does not fit the weights.*word_embeddings.*\(300, 32\)",
    ),
    "more layers by the configuration": (
        edit("config.json", num_hidden_layers=3),
        r"lack 16 tensors of Bert.*encoder\.layer\.2",
    ),
    "fewer layers by the configuration": (
        edit("config.json", num_hidden_layers=1),
        r"config.json has fewer layers than the weights.*encoder\.layer\.1",
    ),
    "fewer layers than a model with heads": (
        both(
            edit("config.json", num_hidden_layers=1),
            weights(lambda t: [t.update({f"bert.{n}": t.pop(n)}) for n in list(t)]),
        ),
        r"config.json has fewer layers than the weights.*encoder\.layer\.1",
    ),
    "a tensor lost": (weights(lambda t: t.pop(MATRIX)), rf"lack 1 tensors.*{MATRIX}"),
    "tensors of another model": (
        weights(lambda t: (t.clear(), t.update(x=torch.zeros(2)))),
        "lack .* tensors of Bert",
    ),
    "not a number": (set_number(MATRIX, torch.nan), f"{MATRIX}' holds NaN or infinity"),
    "infinite": (set_number(MATRIX, -torch.inf), f"{MATRIX}' holds NaN or infinity"),
    "integers": (
        weights(lambda t: t.update({MATRIX: t[MATRIX].to(torch.int8)})),
        f"holds '{MATRIX}' in I8: quantised",
    ),
    "shard missing": (shards("model-1.safetensors"), "model-1.safetensors is missing"),
    "shard outside": (shards("../w.safetensors"), "w.safetensors', outside of the"),
    "shard pickled": (shards("pytorch_model.bin"), "only safetensors are read"),
    "index without a map": (
        both(NO_WEIGHTS, write("model.safetensors.index.json", {})),
        "index.json has no weight_map",
    ),
    "index without metadata": (
        both(
            shards("model-1.safetensors"),
            edit("model.safetensors.index.json", metadata=None),
        ),
        "index.json has no metadata",
    ),
    "shard in a folder in a folder": (
        shards("a/model-1.safetensors"),
        "index.json names the part 'a/model-1.safetensors', a path of several",
    ),
    "index pointer": (
        both(NO_WEIGHTS, write("model.safetensors.index.json", POINTER)),
        "index.json is a Git LFS pointer",
    ),
    # Other forms of weights, and the way on.
    "pickled": (
        both(NO_WEIGHTS, write("pytorch_model.bin", b"x")),
        "pickled weights.*could run code.*Convert it once.*save_pretrained",
    ),
    "TensorFlow": (
        both(NO_WEIGHTS, write("tf_model.h5", b"x")),
        r"weights of TensorFlow \(tf_model.h5\).*from_tf=True",
    ),
    "Flax": (
        both(NO_WEIGHTS, write("flax_model.msgpack", b"x")),
        r"weights of Flax \(flax_model.msgpack\).*from_flax=True",
    ),
    "TensorFlow 1": (
        both(NO_WEIGHTS, write("bert_model.ckpt.index", b"x")),
        r"TensorFlow 1 \(bert_model.ckpt.index\).*Convert",
    ),
    "ONNX": (
        both(NO_WEIGHTS, write("onnx/model.onnx", b"x")),
        r"a graph of ONNX \(onnx/model.onnx\)",
    ),
    "bert_config.json": (
        lambda folder: (folder / "config.json").rename(folder / "bert_config.json"),
        "bert_config.json and no config.json.*Convert it once",
    ),
    "an adapter alone": (
        both(remove("config.json"), NO_WEIGHTS, write("adapter_config.json", LORA)),
        r"an adapter alone \(adapter_config.json\).*'someone/base'.*merge_and_unload",
    ),
    "an adapter beside": (
        write("adapter_config.json", LORA),
        "adapter_config.json says that an adapter.*merge_and_unload",
    ),
    "checkpoints inside": (
        lambda folder: _move_inside(folder, "checkpoint-500"),
        "no config.json.*There is one in .*checkpoint-500",
    ),
    "the Hub's own folder": (
        lambda folder: _move_inside(folder, "snapshots/abc"),
        "no config.json.*There is one in .*snapshots/abc",
    ),
    # Folders of sentence-transformers.
    "modules of an object": (write("modules.json", {"a": 1}), "modules.json holds"),
    "modules of numbers": (write("modules.json", [1]), "modules.json has no type"),
    "modules without a path": (
        write("modules.json", [{"type": "x.Transformer"}]),
        "modules.json names the part None",
    ),
    "modules outside": (
        write("modules.json", [{"type": "x.Transformer", "path": "../other"}]),
        "modules.json names the part '../other', outside",
    ),
    "no pooling": (remove("1_Pooling/config.json"), "1_Pooling/config.json is missing"),
    "dense pointer": (
        both(dense(), write("2_Dense/model.safetensors", POINTER)),
        "2_Dense/model.safetensors is a Git LFS pointer",
    ),
    "dense half": (
        both(dense(), halve("2_Dense/model.safetensors")),
        "2_Dense/model.safetensors has .* bytes; by its header it has",
    ),
    "dense described by half": (
        both(dense(), halve("2_Dense/config.json")),
        "2_Dense/config.json is not JSON",
    ),
    "dense not a number": (
        dense(torch.nan),
        "2_Dense are damaged: 'weight' holds NaN or infinity",
    ),
    "dense infinite": (
        dense(torch.inf),
        "2_Dense are damaged: 'weight' holds NaN or infinity",
    ),
    "length in words": (
        write("sentence_bert_config.json", {"max_seq_length": "long"}),
        r"sentence_bert_config.json limits texts to 'long' \(max_seq_length\)",
    ),
    "length that is no number": (
        write("sentence_bert_config.json", {"max_seq_length": float("nan")}),
        r"sentence_bert_config.json limits texts to nan \(max_seq_length\)",
    ),
    "a transformer in a folder in a folder": (
        write("modules.json", [{"type": "x.Transformer", "path": "a/b"}]),
        "modules.json names the part 'a/b', a path of several folders",
    ),
    "default prompt unknown": (
        write("config_sentence_transformers.json", {"default_prompt_name": "query"}),
        "config_sentence_transformers.json has no prompt of .*'query'",
    ),
    # What a saved estimator has learnt to pool with.
    "attention pointer": (
        write("attention.safetensors", POINTER),
        "attention.safetensors is a Git LFS pointer",
    ),
    "attention of another width": (
        lambda folder: save_file(
            {"attention.query": torch.zeros(3)}, folder / "attention.safetensors"
        ),
        "attention.safetensors cannot be read",
    ),
}


def _only_special(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"] = {token: i for i, token in enumerate(SPECIAL)}
    path.write_text(json.dumps(content))


def _lines_alone(folder, n_spare):
    """Write a vocab.txt in the place of tokenizer.json, less its last tokens."""
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    tokens = sorted(words, key=words.get)
    vocabulary(*tokens[: len(tokens) - n_spare])(folder)


def _cut_words(tensors, n):
    name = "embeddings.word_embeddings.weight"
    tensors[name] = tensors[name][:n].clone()


def _move_inside(folder, name):
    inner = folder.parent / f"{folder.name}-inner"
    folder.rename(inner)
    (folder / name).parent.mkdir(parents=True)
    inner.rename(folder / name)


# -- checkpoints -----------------------------------------------------------------------


@pytest.fixture
def copied(checkpoint, tmp_path):
    """A copy of the tiny checkpoint, to be damaged."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copied"))


# The others read a checkpoint as one of these does.
READERS = [BertClassifier, BertEmbedder, BertPretrainer]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoint(copied, damage):
    """Every estimator refuses it with one error that says where, what and what to do.

    No word of a library below stands alone, and nobody is told to run foreign code.
    """
    change, message = DAMAGE[damage]
    change(copied)
    for cls in FITS if damage.startswith("config.json") else READERS:
        with pytest.raises(CheckpointError, match=message) as caught:
            cls(copied, **SETTINGS).fit(*FITS[cls])
        assert str(copied) in str(caught.value), cls
        assert "trust_remote_code" not in str(caught.value)
        assert str(caught.value) != str(caught.value.__cause__)


def test_refused_before_weights_are_read(copied, monkeypatch):
    """What is wrong with the tokenizer is said before any weight is read."""
    monkeypatch.setattr(_checkpoint_encoder, "read_weights", _refuse)
    NO_TOKENIZER(copied)
    with pytest.raises(DamagedCheckpointError, match="has weights but no tokenizer"):
        BertEmbedder(copied, **SETTINGS).fit(TEXTS)


def _refuse(*args, **kwargs):
    raise AssertionError("weights are read")


@pytest.mark.parametrize(
    "name",
    ["", "config.json", "~nobody-here/bert", "x" * 5000, "no/such/folder", "a\0b"],
)
def test_checkpoint_that_is_no_folder(checkpoint, name):
    """A file, an empty name and impossible paths are no checkpoint, and are named."""
    given = f"{checkpoint}/{name}" if name == "config.json" else name
    for cls, data in FITS.items():
        with pytest.raises(CheckpointError) as caught:
            cls(given, **SETTINGS).fit(*data)
        assert repr(given)[:400] in str(caught.value)


VOCABULARY_DAMAGE = [
    name
    for name in DAMAGE
    if name.startswith(("tokenizer.json", "tokenizer_config.json", "vocab.txt"))
    or name in ("tokenizer of a newer library", "tokenizer of words that are special")
]


@pytest.mark.parametrize("damage", VOCABULARY_DAMAGE)
@pytest.mark.parametrize("cls", [BertPretrainer, BertGenerator])
def test_damaged_vocabulary(copied, cls, damage):
    """A folder that is given as `vocabulary` is looked at likewise."""
    change, message = DAMAGE[damage]
    change(copied)
    new = cls(None, vocabulary=str(copied), n_layers=1, **SETTINGS)
    with pytest.raises(CheckpointError, match=message) as caught:
        new.fit(TEXTS)
    assert str(copied) in str(caught.value)
    assert "checkpoint '" not in str(caught.value)
    assert "weights" not in str(caught.value)


# What tells how a process computes, or belongs to another program: it changes nothing.
HARMLESS = {
    "return_dict": edit("config.json", return_dict=False),
    "torchscript": edit("config.json", torchscript=True),
    "outputs": edit("config.json", output_attentions=True, output_hidden_states=True),
    "dtype": edit("config.json", dtype="float16"),
    "dtype unknown": edit("config.json", torch_dtype="float7"),
    "flash attention": edit("config.json", _attn_implementation="flash_attention_2"),
    "eager attention": edit("config.json", attn_implementation="eager"),
    "a kernel of the Hub": edit("config.json", attn_implementation="someone/kernel"),
    "chunks": edit("config.json", chunk_size_feed_forward=3),
    "labels": edit("config.json", id2label={"0": "a"}, problem_type="regression"),
    "own code of a known family": edit("config.json", auto_map=OWN_CODE),
    "unknown entries": edit("config.json", made_by="someone", pruned_heads={"0": [1]}),
    "no tokenizer settings": remove("tokenizer_config.json"),
    "an adapter's weights": write("adapter_model.safetensors", b"x"),
    "other weights beside": write("pytorch_model.bin", b"x"),
    "a damaged vocab.txt beside tokenizer.json": write("vocab.txt", POINTER),
    "a generation_config.json": write("generation_config.json", b"{"),
    "notes": write("README.md", POINTER),
    "no limit: 0": edit("tokenizer_config.json", model_max_length=0),
    "no limit: -1": edit("tokenizer_config.json", model_max_length=-1),
    "no limit: infinity": edit("tokenizer_config.json", model_max_length=float("inf")),
    "no limit of length: infinity": write(
        "sentence_bert_config.json", {"max_seq_length": float("inf")}
    ),
    "a vocab.txt alone": lambda folder: _lines_alone(folder, 0),
    "a vocab.txt and rows to spare": lambda folder: _lines_alone(folder, 2),
    "prompts without a default": write(
        "config_sentence_transformers.json",
        {"prompts": {"query": "query: "}, "default_prompt_name": None},
    ),
    "one shard": both(
        lambda folder: (folder / "model.safetensors").rename(
            folder / "model-1.safetensors"
        ),
        lambda folder: write(
            "model.safetensors.index.json",
            {
                "metadata": {},
                "weight_map": dict.fromkeys(
                    read((folder / "model-1.safetensors").read_bytes()),
                    "model-1.safetensors",
                ),
            },
        )(folder),
    ),
}


@pytest.fixture(scope="module")
def expected(checkpoint):
    """The vectors of the untouched checkpoint."""
    return BertEmbedder(checkpoint, **SETTINGS).fit_transform(TEXTS)


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_harmless_changes_of_a_checkpoint(copied, expected, change):
    """What says nothing about the weights or the texts changes nothing."""
    change(copied)
    vectors = BertEmbedder(copied, **SETTINGS).fit_transform(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


# -- saved estimators ------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(checkpoint, tmp_path_factory):
    """The folder of a fitted classifier."""
    clf = BertClassifier(checkpoint, max_epochs=1, random_state=0, **SETTINGS)
    folder = tmp_path_factory.mktemp("saved") / "clf"
    save(clf.fit(*FITS[BertClassifier]), folder)
    return folder


def content(change):
    """Change what the manifest says, and seal it again."""

    def changed(folder):
        path = folder / "estimator.json"
        inner = json.loads(path.read_text())["content"]
        inner = change(inner) or inner
        manifest = {"sha256": sha256_of(canonical(inner)), "content": inner}
        path.write_text(json.dumps(manifest))

    return changed


def sealed(change):
    """Damage files, and note their new sha256, as a program with a fault would."""

    def changed(folder):
        change(folder)
        manifest = json.loads((folder / "estimator.json").read_text())
        files = manifest["content"]["files"]
        new = {name: sha256_of((folder / name).read_bytes()) for name in files}
        content(lambda inner: inner.update(files=new))(folder)

    return changed


MANIFEST = "estimator.json"
ENTRIES = ["format", "class", "params", "fitted", "model", "net", "tokenizer", "files"]
FILES = ["config.json", "tokenizer.json", "model.safetensors", "head.safetensors"]
SAVED_DAMAGE = {
    **{f"manifest {k}": make(MANIFEST) for k, (make, _) in JSON_KINDS.items()},
    "no manifest": remove(MANIFEST),
    **{f"{n} missing": remove(n) for n in FILES},
    **{f"{n} a folder": folder_for(n) for n in FILES},
    **{f"{n} half": halve(n) for n in FILES},
    **{f"{n} half and sealed": sealed(halve(n)) for n in FILES},
    **{f"{n} pointer and sealed": sealed(write(n, POINTER)) for n in FILES},
    **{f"no {e}": content(lambda c, e=e: c.pop(e) and None) for e in ENTRIES},
    **{f"{e} null": content(lambda c, e=e: c.update({e: None})) for e in ENTRIES},
    **{f"{e} 3": content(lambda c, e=e: c.update({e: [3]})) for e in ENTRIES},
    "content a list": content(lambda c: [1]),
    "an infinite format": content(lambda c: c.update(format=float("inf"))),
    "a newer format": content(lambda c: c.update(format=99)),
    "an unknown class": content(lambda c: c.update({"class": "SVC"})),
    "a foreign parameter": content(lambda c: c["params"].update(evil=1)),
    "a value of an unknown kind": content(
        lambda c: c["fitted"].update(classes_={"kind": "array", "dtype": "evil"})
    ),
    "weights of another size": sealed(
        weights(lambda t: t.update({MATRIX: torch.zeros(2, 2)}))
    ),
    "not a number": sealed(set_number(MATRIX, torch.nan)),
    "infinite": sealed(set_number(MATRIX, torch.inf)),
    "another family": sealed(edit("config.json", model_type="evil")),
}


@pytest.mark.parametrize("change", SAVED_DAMAGE.values(), ids=SAVED_DAMAGE)
def test_damaged_saved_estimator(saved, tmp_path, change):
    """`load` refuses it with a ValueError or OSError that names the folder."""
    folder = Path(shutil.copytree(saved, tmp_path / "copied"))
    change(folder)
    with pytest.raises((ValueError, OSError)) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert str(caught.value) != str(caught.value.__cause__)


@pytest.mark.parametrize(
    "damage", [*(f"manifest {kind}" for kind in JSON_KINDS), "an infinite format"]
)
def test_damaged_manifest(saved, tmp_path, damage):
    """A manifest that cannot be read is named as damaged, with what to do."""
    folder = Path(shutil.copytree(saved, tmp_path / "copied"))
    SAVED_DAMAGE[damage](folder)
    if damage == "manifest folder":
        with pytest.raises(FileNotFoundError, match=MANIFEST):
            load(folder)
        return
    with pytest.raises(DamagedCheckpointError, match="damaged.*to another folder"):
        load(folder)


@pytest.mark.parametrize(
    "error",
    [
        UserWarning("old numbers"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("place", ["read_model", "BertNet"])
def test_what_is_no_damage_of_a_saved_estimator(saved, monkeypatch, error, place):
    """A warning that is an error, and too little memory, are raised as they are."""

    def fail(*args, **kwargs):
        raise error

    WEIGHTS.clear()  # which may hold the model
    monkeypatch.setattr(persistence, place, fail)
    with pytest.raises(type(error)) as caught:
        load(saved)
    assert caught.value is error


def test_saved_weights_that_are_not_finite(saved, tmp_path):
    """The error names the tensor, for a saved estimator as for a checkpoint."""
    folder = Path(shutil.copytree(saved, tmp_path / "copied"))
    SAVED_DAMAGE["not a number"](folder)
    for use in (load, lambda path: BertEmbedder(path, **SETTINGS).fit(TEXTS)):
        with pytest.raises(DamagedCheckpointError, match=f"{MATRIX}' holds NaN"):
            use(folder)


@pytest.mark.parametrize("folder", [None, 3, b"folder", ["folder"]], ids=repr)
def test_load_of_no_path(folder):
    """What is no path is a TypeError that names the argument."""
    with pytest.raises(TypeError, match=r"folder is .*; expected the path"):
        load(folder)


@pytest.mark.parametrize("name", ["", "nowhere", "checkpoint", "file"])
def test_load_of_another_folder(checkpoint, tmp_path, monkeypatch, name):
    """A folder that `save` has not written, a file and nothing at all are named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    given = checkpoint if name == "checkpoint" else name
    with pytest.raises(FileNotFoundError, match="is not a folder written by"):
        load(given)


# -- the command line ------------------------------------------------------------------

ROWS = b"text,label\n" + b"good film,pos\nawful plot,neg\n" * 2
CSV = {
    "missing": (None, "cannot be opened"),
    "folder": (..., "cannot be opened"),
    "empty": (b"", "cannot be read as CSV"),
    "binary": (bytes(range(256)), "cannot be read as CSV|has no column"),
    "latin-1": (b"text,label\ncaf\xe9,a\n", "cannot be read as CSV"),
    "utf-16": (ROWS.decode().encode("utf-16"), "cannot be read as CSV"),
    "ragged": (b"text,label\na,b\na,b,c,d\n", "cannot be read as CSV"),
    "quote that stays open": (b'text,label\n"a,b\n', "cannot be read as CSV|no column"),
    "other columns": (b"body,kind\na,b\n", "has no column 'text'"),
    "semicolons": (ROWS.replace(b",", b";"), "has no column 'text'"),
    "a pointer": (POINTER, "has no column 'text'"),
    "no rows": (b"text,label\n", "has 0 rows"),
    "one row": (b"text,label\na,b\n", "has 1 rows"),
    "blank cells": (b"text,label\n,a\nb,\n", "has 0 rows"),
}


@pytest.mark.parametrize("kind", CSV)
def test_command_line_and_damaged_data(tmp_path, capsys, kind):
    """The demo ends with one line that names the file, and trains nothing."""
    data, message = CSV[kind]
    path = tmp_path / "data.csv"
    if data is ...:
        path.mkdir()
    elif data is not None:
        path.write_bytes(data)
    columns = ["--text", "text", "--target", "label"]
    out = ["--out", str(tmp_path / "model")]
    assert main(["demo", "--data", str(path), *columns, *out]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(path) in error
    assert re.search(message, error), error


COMPRESSED = {
    f"{ending} {kind}": (ending, data)
    for ending in ("gz", "bz2", "xz", "zip", "tar", "tar.gz")
    for kind, data in {"empty": b"", "CSV": ROWS, "noise": bytes(range(256))}.items()
} | {
    "gz half": ("gz", gzip.compress(ROWS)[:-12]),
    "gz damaged": ("gz", gzip.compress(ROWS)[:20] + b"\xff" * 40),
    "xz half": ("xz", lzma.compress(ROWS)[:-12]),
    "zip half": ("zip", b"PK\x03\x04" + bytes(30)),
}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_command_line_and_data_that_are_not_compressed(tmp_path, capsys, kind):
    """A name that says how a file is compressed, and a file that is not so."""
    ending, data = COMPRESSED[kind]
    path = tmp_path / f"data.csv.{ending}"
    path.write_bytes(data)
    columns = ["--text", "text", "--target", "label"]
    out = ["--out", str(tmp_path / "model")]
    assert main(["demo", "--data", str(path), *columns, *out]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(path) in error
    assert "None" not in error


@pytest.mark.parametrize("place", ["file", "file/model", "folder"])
def test_command_line_and_places_that_are_taken(tmp_path, capsys, place):
    """A place where the model could not be written is named before training."""
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes").write_text("text")
    assert main(["demo", "--out", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / place) in error
    assert "expected a folder" in error or "Choose another folder" in error
