"""Make hostile folders from seeds, and read them in children with limits.

As a program it is the child: it reads the folders of some seeds, and prints one line of
JSON for each. `attack` starts such children, and a new one where one has died or hangs.
"""

import base64
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
MOST_SECONDS = 10
START_SECONDS = 240
MOST_BYTES = 6 * 2**30
TEXTS = [
    "the good film",
    "é 電影 😀\u200b a\n  b",
    "",
    "a" * 3000 + "!",
    " " * 3000 + "x",
]
NO_WORDS = (
    "the tokenizer knows no word of the"  # an error about X, not about the folder
)
MANIFEST = "estimator.json"
CODE = "import pathlib; pathlib.Path(__file__).with_name('ran').write_text('code')\n"
NUMBERS = [0, 1, -1, 2, 3, 5, 64, 10**4, 10**6, 10**9, 2**31, 2**32, 2**63, 10**30]
ODD = [None, True, "", "x", "../x", "/etc/passwd", [], {}, [1], {"a": 1}, 0.5, -0.5]
ODD += [float("nan"), float("inf"), 1e308, 1e-308, "\ud800", "a\0b", "org/kernel"]


def bytes_of(path):
    """The content of a plain file; the generator itself must not hang on another."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 2**30:
        raise OSError(f"{path} is no plain file")
    return path.read_bytes()


# -- changing JSON -----------------------------------------------------------------


def places_of(value, path=()):
    """All places in JSON: the keys that lead there."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places_of(value[key], (*path, key))
    elif isinstance(value, list):
        for place in range(min(len(value), 20)):
            yield from places_of(value[place], (*path, place))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def mutate_json(rng, value, extra=()):
    """Change one place of JSON, and say how."""
    places = [p for p in places_of(value) if p and "vocab" not in p[:-1]]
    if not places:
        return "nothing"
    path = rng.choice(places)
    holder, key = at(value, path[:-1]), path[-1]
    kind = rng.choice(["number", "odd", "drop", "double", "extra", "near"])
    old = holder[key]
    if kind == "drop":
        del holder[key]
    elif kind == "number":
        holder[key] = rng.choice(NUMBERS)
    elif kind == "near" and isinstance(old, int | float):
        holder[key] = rng.choice([old + 1, old - 1, old * 2, -old, old // 2, old * 1e9])
    elif kind == "double" and isinstance(old, list | str):
        holder[key] = old * rng.choice([2, 1000])
    elif kind == "extra" and extra and isinstance(holder, dict):
        key, new = rng.choice(extra)
        holder[key] = new
    else:
        holder[key] = rng.choice(ODD)
    new = holder.get(key) if isinstance(holder, dict) else holder[key:][:1]
    return f"{'/'.join(map(str, path))}: {kind} {str(new)[:60]}"


def edit_json(name, extra=(), *, most=3):
    """A change of one to some places of a JSON file."""

    def change(rng, folder):
        path = folder / name
        if not path.exists():
            return f"no {name}"
        content = json.loads(bytes_of(path))
        said = [mutate_json(rng, content, extra) for _ in range(rng.randint(1, most))]
        path.write_text(json.dumps(content))
        return f"{name}: " + "; ".join(said)

    return change


OF_CONFIG = [
    ("auto_map", {"AutoModel": "own.Model", "AutoConfig": "own.Config"}),
    ("auto_map", {"AutoModel": "someone/else--own.Model"}),
    ("attn_implementation", "someone/kernel"),
    ("_attn_implementation", "someone/kernel:fn"),
    ("_attn_implementation_internal", "someone/kernel"),
    ("experts_implementation", "someone/kernel"),
    ("transformers_weights", "pytorch_model.bin"),
    ("transformers_weights", "../secret.safetensors"),
    ("transformers_weights", "/etc/passwd"),
    ("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
    ("fusion_config", {"x": True}),
    ("use_kernels", True),
    ("num_labels", 10**9),
    ("num_hidden_layers", 10**9),
    ("num_hidden_layers", 10**5),
    ("num_hidden_layers", 400),
    ("hidden_size", 10**6),
    ("vocab_size", 2**31),
    ("intermediate_size", 10**8),
    ("max_position_embeddings", 10**12),
    ("max_position_embeddings", 10**7),
    ("type_vocab_size", 10**9),
    ("layer_norm_eps", -1.0),
    ("layer_norm_eps", 1e300),
    ("pad_token_id", 10**9),
    ("chunk_size_feed_forward", 10**9),
    ("torch_dtype", "os.system"),
    ("pruned_heads", {"0": [0, 1]}),
    ("is_decoder", True),
    ("hidden_act", "quick_gelu"),
    ("tokenizer_class", "RagTokenizer"),
    ("tokenizer_class", "BertJapaneseTokenizer"),
    *(("model_type", kind) for kind in ["albert", "roberta", "longformer", "funnel"]),
    *(
        ("model_type", kind)
        for kind in ["xlm", "reformer", "mra", "deberta-v2", "llama"]
    ),
    *(
        ("model_type", kind)
        for kind in ["modernbert", "distilbert", "canine", "electra"]
    ),
]
OF_SETTINGS = [
    ("auto_map", {"AutoTokenizer": ["own.Tokenizer", "own.Tokenizer"]}),
    ("tokenizer_class", "BertJapaneseTokenizer"),
    ("tokenizer_class", "RagTokenizer"),
    ("tokenizer_class", "XLMRobertaTokenizer"),
    ("tokenizer_class", "../own.Tokenizer"),
    ("vocab_file", "/etc/passwd"),
    ("tokenizer_file", "/proc/self/environ"),
    ("gguf_file", "/etc/passwd"),
    ("init_inputs", ["/etc/passwd"]),
    ("fast_tokenizer_files", ["tokenizer.9.json", "tokenizer.0.1.json"]),
    ("vocab", "/etc/passwd"),
    ("tokenizer_padding", {"length": 10**12, "direction": "right"}),
    ("additional_special_tokens", ["x" * 10**5, ""]),
    ("extra_special_tokens", {"a": "\u200b"}),
    ("added_tokens_decoder", {"4000000000": {"content": "film", "special": True}}),
    ("added_tokens_decoder", {"-5": {"content": "zz"}, "x": {"content": "y"}}),
    ("added_tokens_decoder", {"7": {"content": "\u200b", "normalized": True}}),
    ("chat_template", "{{ ''.__class__.__mro__ }}"),
    ("model_max_length", 1e400),
    ("do_lower_case", "x"),
    ("fix_mistral_regex", True),
]


# -- tokenizers --------------------------------------------------------------------


def darts(rng):
    units = [rng.getrandbits(32) for _ in range(rng.choice([1, 16, 256]))]
    data = struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units)
    return base64.b64encode(data + rng.choice([b"", b"x\0", b"\xff\0"])).decode()


REGEXES = [
    "(a+)+$",
    "(a|aa)+$",
    "",
    "a*",
    "(",
    "(?<x>a\\g<x>?b)",
    "((a{0,99}){0,99}){9}",
]
REGEXES += [
    "(" * 5000 + "a" + ")" * 5000,
    "(?=a)",
    "\\s+",
    ".*.*.*.*x",
    "\\X*",
    "[",
    "a{9999}",
]


def step(rng):
    """A hostile normaliser or pre-tokenizer."""
    pattern = rng.choice(
        [{"Regex": rng.choice(REGEXES)}, {"String": rng.choice("a ")}, {"String": ""}]
    )
    content = rng.choice(["", "aa", "x" * 10**5, "▁"])
    return rng.choice(
        [
            {"type": "Replace", "pattern": pattern, "content": content},
            {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
                ]
                * rng.choice([3, 40]),
            },
            {
                "type": "Sequence",
                "normalizers": [{"type": "NFKD"}, {"type": "ByteLevel"}]
                * rng.choice([1, 30]),
            },
            {"type": "Prepend", "prepend": content * 10},
            {"type": "Precompiled", "precompiled_charsmap": darts(rng)},
            {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
            {"type": "Strip", "strip_left": True, "strip_right": True},
            {
                "type": "Split",
                "pattern": pattern,
                "behavior": rng.choice(["Isolated", "Removed"]),
                "invert": rng.random() < 0.5,
            },
            {"type": "FixedLength", "length": rng.choice(NUMBERS)},
            {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            },
            {
                "type": "Sequence",
                "pretokenizers": [
                    {
                        "type": "ByteLevel",
                        "add_prefix_space": True,
                        "trim_offsets": True,
                        "use_regex": False,
                    }
                ]
                * rng.choice([2, 30]),
            },
            {
                "type": "Metaspace",
                "replacement": rng.choice(["▁", "", "ab"]),
                "prepend_scheme": "always",
                "split": True,
            },
            {"type": "CharDelimiterSplit", "delimiter": rng.choice(["a", ""])},
            {
                "type": rng.choice(
                    ["Evil", "Digits", "Punctuation", "Nmt", "UnicodeScripts"]
                )
            },
        ]
    )


def model(rng):
    """A hostile model of another kind."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [
        *specials,
        "a",
        "b",
        "é",
        "ab",
        "film",
        "▁",
        *(["##a", ""][: rng.randint(0, 2)]),
    ]
    vocab = {word: i for i, word in enumerate(words)}
    if rng.random() < 0.3:
        vocab["film"] = rng.choice([2**32 - 1, 2**31, -1, 10**6, 80])
    unknown = rng.choice(["[UNK]", "nope", None])
    kind = rng.choice(["BPE", "Unigram", "WordLevel", "WordPiece"])
    if kind == "Unigram":
        scores = [rng.choice([-1.0, 0, -1e308, 1e308, 5]) for _ in words]
        return {
            "type": kind,
            "unk_id": rng.choice([1, 1, None, 99, -1]),
            "vocab": [list(p) for p in zip(words, scores, strict=True)],
            "byte_fallback": rng.random() < 0.3,
        }
    if kind == "BPE":
        return {
            "type": kind,
            "dropout": rng.choice([None, None, 0.5, 2]),
            "unk_token": unknown,
            "continuing_subword_prefix": rng.choice([None, "", "#", "##"]),
            "end_of_word_suffix": rng.choice([None, "", "</w>"]),
            "fuse_unk": True,
            "byte_fallback": rng.random() < 0.3,
            "vocab": vocab,
            "merges": rng.choice(
                [
                    [],
                    [["a", "b"]],
                    [["a", "é"]],
                    ["a b"],
                    [["", ""]],
                    [["a", "zz"]],
                    ["ab"],
                ]
            ),
        }
    return {
        "type": kind,
        "unk_token": unknown,
        "vocab": vocab,
        "max_input_chars_per_word": rng.choice([100, 0, 2**63, 10**6, -1]),
        "continuing_subword_prefix": rng.choice(["##", "", "é"]),
    }


def processor(rng):
    """A hostile post-processor."""
    piece = [
        {
            "SpecialToken": {
                "id": rng.choice(["[CLS]", "[X]"]),
                "type_id": rng.choice([0, 1, 255, 256, 2**32 - 1]),
            }
        }
    ]
    halves = [
        {"Sequence": {"id": half, "type_id": rng.choice([0, 1, 9])}} for half in "AB"
    ]
    special = {
        "[CLS]": {
            "id": "[CLS]",
            "ids": rng.choice([[2], [], [2] * 10**5, [2**32 - 1], [2, 3]]),
            "tokens": ["[CLS]"],
        }
    }
    single = rng.choice(
        [
            piece + halves[:1],
            [],
            halves[:1] * 50,
            halves[1:],
            halves,
            piece * 40 + halves[:1],
        ]
    )
    template = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": rng.choice([piece + halves, []]),
        "special_tokens": special,
    }
    return rng.choice(
        [
            template,
            template,
            {
                "type": "BertProcessing",
                "sep": ["x", rng.choice(NUMBERS)],
                "cls": ["y", 2],
            },
            {"type": "Sequence", "processors": [template] * rng.choice([1, 2, 8])},
            {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            },
        ]
    )


def token(rng):
    """A hostile added token."""
    content = rng.choice(
        ["film", " ", "", "\u200b", "x" * 10**5, "[CLS]", "é", "a", "\n"]
    )
    flags = {
        f: rng.random() < 0.5
        for f in ["single_word", "lstrip", "rstrip", "normalized", "special"]
    }
    return {
        "id": rng.choice([0, 2, 80, 81, 10**9, 2**32 - 1, -1]),
        "content": content,
        **flags,
    }


def tokenizer(rng, folder):
    """One hostile part of a tokenizer.json."""
    path = folder / "tokenizer.json"
    content = json.loads(bytes_of(path))
    part = rng.choice(
        [
            "normalizer",
            "pre_tokenizer",
            "model",
            "post_processor",
            "added_tokens",
            "padding",
            "decoder",
            "deep",
        ]
    )
    if part == "added_tokens":
        content[part] = rng.choice([content[part], []]) + [
            token(rng) for _ in range(rng.choice([1, 3, 500]))
        ]
        if rng.random() < 0.5:
            content["normalizer"] = {
                "type": "Strip",
                "strip_left": True,
                "strip_right": True,
            }
    elif part == "padding":
        content["padding"] = {
            "strategy": {"Fixed": rng.choice([2**40, 7])},
            "direction": "Right",
            "pad_to_multiple_of": rng.choice([None, 0, 10**9]),
            "pad_id": 10**9,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        }
        content["truncation"] = {
            "direction": "Right",
            "max_length": rng.choice([0, 1, 2**63]),
            "strategy": "LongestFirst",
            "stride": rng.choice([0, 7]),
        }
    elif part == "decoder":
        content[part] = rng.choice(
            [
                {"type": "Strip", "content": "a", "start": 2**63, "stop": 2**63},
                {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"},
                {
                    "type": "CTC",
                    "pad_token": "",
                    "word_delimiter_token": "",
                    "cleanup": True,
                },
            ]
        )
    elif part == "deep":
        inner = {"type": "Lowercase"}
        for _ in range(rng.choice([50, 120])):
            inner = {"type": "Sequence", "normalizers": [inner]}
        content["normalizer"] = inner
    else:
        makers = {"model": model, "post_processor": processor}
        content[part] = makers.get(part, step)(rng)
    path.write_text(json.dumps(content))
    changed = content["normalizer" if part == "deep" else part]
    return f"tokenizer.json {part}: {json.dumps(changed)[:150]}"


# -- weights -----------------------------------------------------------------------


def header(rng, folder):
    """A change of the header of a file of weights."""
    path = rng.choice(sorted(folder.rglob("*.safetensors")))
    data = bytes_of(path)
    size = struct.unpack("<Q", data[:8])[0]
    tensors, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    name = rng.choice([n for n in tensors if n != "__metadata__"])
    entry = tensors[name]
    kind = rng.choice(
        [
            "shape",
            "offsets",
            "dtype",
            "name",
            "size",
            "drop",
            "many",
            "swap",
            "json",
            "nan",
        ]
    )
    if kind == "shape":
        entry["shape"] = rng.choice(
            [[10**9, 10**9], [-1], [], [0, 10**18], entry["shape"][::-1], [2**63, 2]]
        )
    elif kind == "offsets":
        entry["data_offsets"] = rng.choice(
            [[0, 10**12], [-4, 4], [8, 4], [0, 4], [2**64 - 1, 2**64]]
        )
    elif kind == "dtype":
        entry["dtype"] = rng.choice(
            ["I8", "F64", "BOOL", "F8_E4M3", "X", 3, "BF16", "I32", "C64"]
        )
    elif kind == "name":
        tensors[
            rng.choice(
                [
                    "",
                    "../x",
                    "encoder.layer.99.x.weight",
                    "encoder.layer.0.extra.weight",
                    "x" * 10**5,
                ]
            )
        ] = tensors.pop(name)
    elif kind == "drop":
        del tensors[name]
    elif kind == "many":
        for place in range(1000):
            tensors[f"a.{place}"] = {
                "dtype": "F32",
                "shape": [0],
                "data_offsets": [0, 0],
            }
    elif kind == "swap":
        other = rng.choice([n for n in tensors if n != "__metadata__"])
        tensors[name], tensors[other] = tensors[other], tensors[name]
    elif kind == "nan":
        begin = entry["data_offsets"][0]
        body = (
            body[:begin]
            + rng.choice([b"\0\0\xc0\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f"])
            + body[begin + 4 :]
        )
    text = json.dumps(tensors).encode()
    if kind == "json":
        text = rng.choice(
            [b"[" * 10**5, b"{", b"null", b"\xff" * 9, text[:-1] + b',"a":1}']
        )
    length = (
        len(text) if kind != "size" else rng.choice([0, 10**12, 2**63, len(text) - 1])
    )
    path.write_bytes(struct.pack("<Q", length) + text + body)
    return f"{path.name} {kind} {name}: {str(entry)[:80]}"


def index(rng, folder):
    """An index in the place of the weights."""
    path = folder / "model.safetensors"
    names = [
        "model-1.safetensors",
        "../secret.safetensors",
        "pytorch_model.bin",
        "/etc/passwd",
        "pipe.safetensors",
        "a/b.safetensors",
        "",
        None,
        3,
    ]
    data = bytes_of(path)
    size = struct.unpack("<Q", data[:8])[0]
    tensors = [n for n in json.loads(data[8 : 8 + size]) if n != "__metadata__"]
    path.rename(folder / "model-1.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    chosen = rng.choice(names)
    if chosen == "pipe.safetensors":
        os.mkfifo(folder / chosen)
    weight_map = {n: rng.choice(["model-1.safetensors", chosen]) for n in tensors}
    content = rng.choice(
        [
            {"metadata": {}, "weight_map": weight_map},
            {"metadata": {}, "weight_map": rng.choice(ODD)},
            {"weight_map": weight_map, "metadata": rng.choice(ODD)},
        ]
    )
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    return f"index: {chosen!r}"


# -- files -------------------------------------------------------------------------


def bits(rng, folder):
    """Some flipped bits of a file."""
    path = rng.choice(
        sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".py")
    )
    data = bytearray(bytes_of(path))
    for _ in range(rng.choice([1, 1, 5, 100])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"bits of {path.relative_to(folder)}"


def replace_file(rng, folder):
    """Something else in the place of a file, or beside it."""
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    names += [
        "special_tokens_map.json",
        "added_tokens.json",
        "adapter_config.json",
        "chat_template.jinja",
        "model.safetensors.index.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "sklearn_bert_modules.json",
        "spiece.model",
        "vocab.txt",
        "attention.safetensors",
    ]
    name = rng.choice(sorted(names))
    path = folder / name
    if path.exists():
        path.unlink()
    kind = rng.choice(
        [
            "pipe",
            "proc",
            "zero",
            "passwd",
            "folder",
            "empty",
            "gone",
            "large",
            "json",
            "loop",
            "half",
        ]
    )
    links = {
        "proc": "/proc/kmsg",
        "zero": "/dev/zero",
        "passwd": "/etc/passwd",
        "gone": folder / "gone",
        "loop": path,
    }
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in links:
        path.symlink_to(links[kind])
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(2**36)
    elif kind == "json":
        path.write_text(
            json.dumps(
                rng.choice([*ODD, {"peft_type": "LORA"}, {"[X]": 10**9}, {"a": -1}])
            )
        )
    else:
        path.write_bytes(b"" if kind == "empty" else b'{"a": [1, ')
    return f"{name}: {kind}"


def step_module(rng, folder):
    """A module of sentence-transformers that is hostile."""
    path = folder / "modules.json"
    modules = json.loads(bytes_of(path)) if path.exists() else []
    (folder / "2_Dense").mkdir(exist_ok=True)
    config = {
        "in_features": rng.choice([32, 10**6, -1, "x"]),
        "out_features": rng.choice([4, 10**6, 10**12]),
        "bias": rng.choice([True, "x", None]),
        "activation_function": rng.choice(
            ["torch.nn.modules.linear.Identity", "os.system"]
        ),
    }
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    shutil.copy(
        next(folder.glob("*.safetensors")), folder / "2_Dense" / "model.safetensors"
    )
    kind = rng.choice(
        ["x.models.Dense", "own.Dense", "os.system", "x.models.Normalize", 3]
    )
    modules.append(
        {
            "idx": 2,
            "name": "2",
            "path": rng.choice(["2_Dense", "..", "/etc", "", None]),
            "type": kind,
        }
    )
    path.write_text(json.dumps(modules))
    return f"module {kind!r} {config}"


PIECES = [[b"<unk>", 0.0, 2], [b"<s>", 0.0, 3], [b"</s>", 0.0, 3], [b"a", -1.0, 1]]


def sentencepiece(rng, folder):
    """A sentencepiece model in the place of tokenizer.json."""

    def field(number, data):
        return bytes([number << 3 | 2, *varint(len(data))]) + data

    def varint(n):
        found = []
        while n > 127:
            found.append(n & 127 | 128)
            n >>= 7
        return [*found, n]

    pieces = [
        *PIECES,
        [
            rng.choice([b"", b"\xff", b"film"]),
            rng.choice([float("nan"), -1e30, 0.0]),
            1,
        ],
    ]
    data = b"".join(
        field(
            1,
            field(1, text)
            + b"\x15"
            + struct.pack("<f", score)
            + b"\x18"
            + bytes([kind]),
        )
        for text, score, kind in pieces
    )
    charsmap = rng.choice([b"", b"junkjunk", base64.b64decode(darts(rng))])
    data += field(3, field(2, charsmap)) + rng.choice([b"", b"\xff" * 9, os.urandom(0)])
    (folder / "tokenizer.json").unlink()
    name = rng.choice(["spiece.model", "sentencepiece.bpe.model", "tokenizer.model"])
    (folder / name).write_bytes(data)
    settings = {
        "tokenizer_class": rng.choice(
            ["XLMRobertaTokenizer", "AlbertTokenizer", "T5Tokenizer", "LlamaTokenizer"]
        )
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return f"{name} with a charsmap of {len(charsmap)} bytes, {settings}"


OF_CHECKPOINT = [
    edit_json("config.json", OF_CONFIG),
    lambda rng, folder: add(rng, folder, "config.json", OF_CONFIG),
    edit_json("tokenizer_config.json", OF_SETTINGS),
    lambda rng, folder: add(rng, folder, "tokenizer_config.json", OF_SETTINGS),
    edit_json("tokenizer.json"),
    edit_json("modules.json"),
    edit_json("1_Pooling/config.json"),
    tokenizer,
    tokenizer,
    header,
    index,
    bits,
    replace_file,
    step_module,
    sentencepiece,
]


def add(rng, folder, name, entries):
    """Hostile entries in a JSON file."""
    path = folder / name
    content = json.loads(bytes_of(path)) if path.exists() else {}
    chosen = dict(rng.sample(entries, rng.randint(1, 2)))
    path.write_text(json.dumps(content | chosen))
    return f"{name}: {str(chosen)[:100]}"


# -- manifests ---------------------------------------------------------------------


def manifest(rng, folder):
    """A change of what the manifest says."""
    path = folder / MANIFEST
    content = json.loads(bytes_of(path))["content"]
    kind = rng.choice(
        ["any", "any", "random", "files", "fitted", "params", "model", "array"]
    )
    keys = {"kind": "array", "dtype": "<u4", "shape": [624], "items": [1] * 624}
    inner = {"key": keys, "pos": rng.choice([10**6, -5, 625, 3])}
    state = {
        "bit_generator": "MT19937",
        "state": inner,
        "has_gauss": rng.choice([0, 7]),
        "gauss": 0.0,
    }
    if rng.random() < 0.3:
        keys["items"], keys["shape"] = [1] * 5, [5]
    said = ""
    if kind == "random":
        content["params"]["random_state"] = {"kind": "RandomState", "state": state}
    elif kind == "files":
        wrong = rng.choice(
            [
                "/proc/kmsg",
                "../secret.safetensors",
                "/etc/passwd",
                "a\0b",
                "..",
                "",
                ".",
                "C:\\x",
                "1_Pooling/../config.json",
            ]
        )
        content["files"] = rng.choice(
            [
                {},
                {wrong: "0" * 64},
                content["files"] | {wrong: "0" * 64},
                {"config.json": content["files"]["config.json"]},
                [],
                None,
                {"config.json": 3},
            ]
        )
    elif kind == "fitted":
        name = rng.choice(
            [
                "predict",
                "__class__",
                "__dict__",
                "fit",
                "net_",
                "tokenizer_",
                "evil_",
                "_template",
                "classes_",
                "n_features_in_",
                "target_mean_",
                "_layout",
                "max_length_",
            ]
        )
        content["fitted"][name] = rng.choice(
            [
                *ODD,
                "{x:999999999}",
                {"kind": "array", "dtype": "|O", "shape": [2], "items": [1, "x"]},
            ]
        )
        said = name
    elif kind == "params":
        name = rng.choice(sorted(content["params"]))
        content["params"][name] = rng.choice(
            [
                *ODD,
                {
                    "kind": "estimator",
                    "class": "BertPretrainer",
                    "params": {"checkpoint": 3},
                },
                {"kind": "path", "path": "/etc"},
            ]
        )
        said = name
    elif kind == "model":
        part = rng.choice(["model", "net", "tokenizer"])
        new = [
            ("steps", [["dense", 10**9, 10**9, True]]),
            ("steps", [["first", -1]]),
            ("n_outputs", 10**12),
            ("n_outputs", 5),
            ("untrained", [""]),
            ("untrained", ["bert."]),
            ("trainable", 10**9),
            ("pooling", "evil"),
            ("pad_id", 10**6),
            ("callbacks", []),
            ("max_length", 10**9),
            ("window_stride", 0),
            ("long_text", "evil"),
            ("placement", "cuda:9"),
            ("dropout", float("nan")),
            ("config", {"pad_token": 3}),
        ]
        name, value = rng.choice(new)
        content[part][name] = value
        said = f"{part} {name}={value}"
    elif kind == "array":
        content["fitted"]["classes_"] = {
            "kind": "array",
            "dtype": rng.choice(
                ["<U1000000000", "evil", "|V8", "<U1", "O", [["a", "i4"]]]
            ),
            "shape": rng.choice([[2], [-1], [10**9], "x"]),
            "items": ["a", "b"],
        }
    else:
        said = mutate_json(rng, content)
    seal(folder, content)
    return f"manifest {kind}: {said}"


def seal(folder, content=None):
    """Write the manifest with right checksums."""
    from sklearn_bert.model._manifest import canonical, sha256_of

    path = folder / MANIFEST
    content = content or json.loads(bytes_of(path))["content"]
    path.write_text(
        json.dumps({"sha256": sha256_of(canonical(content)), "content": content})
    )


def seal_files(folder):
    """Note the new checksums of all files that are listed."""
    from sklearn_bert.model._manifest import sha256_of

    content = json.loads(bytes_of(folder / MANIFEST))["content"]
    for name in content["files"]:
        try:
            content["files"][name] = sha256_of(bytes_of(folder / name))
        except OSError:
            continue
    seal(folder, content)


def make(seed, bases, parent):
    """Make the folder of a seed from a copy of one of the bases.

    Returns
    -------
    folder, kind : path and "checkpoint" or "saved"
    said : what was changed
    """
    rng = random.Random(seed)
    folders = sorted(p for p in Path(bases).iterdir() if p.is_dir())
    base = rng.choice(
        [rng.choice(folders), *(p for p in folders if p.name == "checkpoint")]
    )
    folder = Path(parent) / f"hostile-{seed}"
    shutil.copytree(base, folder)
    (folder / "own.py").write_text(CODE)
    is_saved = (folder / MANIFEST).exists()
    changes = [manifest] if is_saved and rng.random() < 0.5 else OF_CHECKPOINT
    said = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        change = rng.choice(changes)
        try:
            said.append(change(rng, folder))
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            StopIteration,
        ) as error:
            said.append(f"could not change more: {type(error).__name__}")
    if is_saved and changes is OF_CHECKPOINT and rng.random() < 0.8:
        try:
            seal_files(folder)
        except (OSError, ValueError, KeyError, TypeError):
            said.append("not sealed")
    return (
        folder,
        "saved" if is_saved else "checkpoint",
        f"{base.name}: {' + '.join(said)}",
    )


# -- the child ---------------------------------------------------------------------


def read(folder, kind, seed):
    """Read a folder as a user would, and use what it gives."""
    import numpy as np

    from sklearn_bert import BertEmbedder, BertPretrainer, load

    answers = []
    if kind == "saved":
        estimator = load(folder, device="cpu")
        name = type(estimator).__name__
        if name == "BertTokenClassifier":
            answers.append(
                estimator.predict_proba([text.split() or ["a"] for text in TEXTS])
            )
            answers = [np.concatenate(answers[0])]
        elif (
            getattr(estimator, "n_features_in_", 1) == 1
            and getattr(estimator, "_template", None) is None
        ):
            method = (
                "score_samples"
                if name in ("BertPretrainer", "BertGenerator")
                else "transform"
            )
            answers.append(getattr(estimator, method)(TEXTS))
    settings = {"device": "cpu", "precision": "float32"}
    if seed % 5 == 0:
        estimator = BertPretrainer(folder, max_epochs=1, **settings)
        estimator.fit(TEXTS)
    else:
        answers.append(BertEmbedder(folder, **settings).fit_transform(TEXTS))
    for answer in answers:
        assert np.isfinite(np.asarray(answer, dtype=float)).all(), (
            "an answer is not finite"
        )


def verdict(folder, kind, seed, events):
    """What came of a folder, in a word."""
    try:
        read(folder, kind, seed)
        word = "read"
    except (ValueError, FileNotFoundError) as error:
        is_named = str(folder) in str(error) or NO_WORDS in str(error)
        word = "refused" if is_named else f"NAMELESS {type(error).__name__}: {error}"
    except BaseException as error:
        word = f"OTHER {type(error).__name__}: {error}"
    if events or (folder / "ran").exists() or Path("ran").exists():
        word = f"RAN {events}"
        events.clear()
    return word[:400]


def watch(events, parent):
    """Note what no folder may cause: other programs, the network, pickles, own code."""
    never = (
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "pickle.find_class",
    )

    def hook(event, arguments):
        if event in never or event == "exec" and str(parent) in str(arguments):
            events.append(f"{event} {str(arguments)[:80]}")

    sys.addaudithook(hook)


def child(bases, first, last, step_):
    """Read the folders of the seeds, and print what came of each."""
    import resource
    import warnings

    from sklearn_bert import BertEmbedder

    # What is printed to stdout meanwhile is not for the parent.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def say(entry):
        lines.write(json.dumps(entry) + "\n")

    parent = Path(tempfile.mkdtemp(prefix="attack-"))
    os.chdir(parent)
    BertEmbedder(Path(bases) / "checkpoint", device="cpu").fit(TEXTS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    warnings.simplefilter("ignore")
    events = []
    watch(events, parent)
    say({"seed": None})
    for seed in range(first, last, step_):
        say({"seed": seed, "said": "being made"})
        folder, kind, said = make(seed, bases, parent)
        start = time.perf_counter()
        say({"seed": seed, "said": said})
        word = verdict(folder, kind, seed, events)
        seconds = time.perf_counter() - start
        say({"seed": seed, "word": word, "seconds": seconds})
        shutil.rmtree(folder, ignore_errors=True)
    os.chdir("/")
    shutil.rmtree(parent, ignore_errors=True)


def attack(bases, first, last, *, step=1, most_seconds=MOST_SECONDS):
    """Read the folders of seeds in children.

    Returns
    -------
    dict of int to dict
        By seed: `said` (what was changed), `word` ("read", "refused" or what went
        wrong) and `seconds`.
    """
    found = {}
    while first < last:
        first = _one_child(Path(bases), first, last, step, most_seconds, found)
    return found


def _one_child(bases, first, last, step, most_seconds, found):
    """Run one child until it ends, dies or hangs; return the next seed."""
    import selectors

    command = [sys.executable, str(HERE), str(bases), str(first), str(last), str(step)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = str(HERE.parents[2])
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        bufsize=0,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    now, is_started = first, False
    with process, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            ready = selector.select(most_seconds if is_started else START_SECONDS)
            line = process.stdout.readline() if ready else None
            if not line:
                break
            entry = json.loads(line)
            is_started = True
            if entry["seed"] is not None:
                now = entry["seed"]
                found.setdefault(now, {}).update(entry)
        if line is None:
            process.kill()
        code = process.wait()
    if not is_started:
        raise RuntimeError(f"the child did not start (exit code {code})")
    is_over = code == 0 and "word" in found.get(now, {})
    if not is_over and "word" not in found.get(now, {}):
        found[now]["word"] = "HANG" if line is None else f"DEATH {code}"
    return last if is_over else now + step


if __name__ == "__main__":
    child(sys.argv[1], *map(int, sys.argv[2:5]))
