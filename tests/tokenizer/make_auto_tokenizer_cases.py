#!/usr/bin/env python3
"""Writes auto_tokenizer_cases.json: tokenizer directories as people have them, and the ids that transformers' AutoTokenizer gives.

Usage: make_auto_tokenizer_cases.py      (needs transformers 4.57.6 with tokenizers 0.22.2)
"""
import copy
import json
import pathlib
import tempfile

import tokenizers
import transformers
from transformers import AutoTokenizer

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "Hello", "wor", "##ld", "é", "e", "中", "文", "hé", "##llo", "!", "[", "]",
              "x", "##x"]
TEXTS = ["Hello héllo HÉLLO 中文x world!", "  <X>  newtok NewTok<X> x[MASK]hello", "[PAD][CLS] x [UNK]x hello"]
NEW = {"content": "NewTok", "lstrip": False, "rstrip": False, "normalized": True, "single_word": False, "special": False}
MARKER = {"content": "<X>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False, "special": True}


def special(token, kind):
    return {"SpecialToken": {"id": token, "type_id": kind}}


def sequence(name, kind):
    return {"Sequence": {"id": name, "type_id": kind}}


def tokenizer_json(**normalizer):
    options = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    single = [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": VOCABULARY[i], **flags} for i in range(5)],
        "normalizer": {**options, **normalizer},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": single + [sequence("B", 1), special("[SEP]", 1)],
                           "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                                              "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": {entry: i for i, entry in enumerate(VOCABULARY)}},
    }


def with_added(*tokens):
    document = tokenizer_json()
    document["added_tokens"] += tokens
    return document


def case(name, config=None, json_file=None, vocabulary=None, **files):
    content = {"config.json": {"model_type": "bert", "vocab_size": 40}}
    if config is not None:
        content["tokenizer_config.json"] = config
    if json_file is not None:
        content["tokenizer.json"] = json_file
    content.update({f"{key}.json": value for key, value in files.items()})
    content = {key: json.dumps(value, ensure_ascii=False) for key, value in content.items()}
    if vocabulary is not None:
        content["vocab.txt"] = vocabulary
    return {"name": name, "files": content}


def lines(entries, end="\n"):
    return end.join(entries) + end


def cases():
    bert = {"tokenizer_class": "BertTokenizer"}
    without = [v for v in VOCABULARY if v not in ("[MASK]", "[PAD]")]
    yield case("plain", bert, tokenizer_json())
    yield case("defaults replace what tokenizer.json says", bert, tokenizer_json(lowercase=False, strip_accents=False, handle_chinese_chars=False))
    yield case("class from config.json", None, tokenizer_json(lowercase=False))
    yield case("a plain fast tokenizer is left alone", {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True}, tokenizer_json(lowercase=False))
    yield case("cased", {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False,
                         "model_max_length": 77}, tokenizer_json())
    yield case("added_tokens_decoder", {**bert, "added_tokens_decoder": {"20": MARKER, "21": NEW}}, tokenizer_json())
    yield case("additional special tokens", {**bert, "additional_special_tokens": ["<X>", "hello"]}, tokenizer_json())
    yield case("special_tokens_map.json", bert, tokenizer_json(),
               special_tokens_map={"bos_token": {**copy.copy(MARKER), "normalized": True, "rstrip": True}, "cls_token": "[CLS]"})
    yield case("added_tokens.json", bert, tokenizer_json(), added_tokens={"NewTok": 20, "<X>": 21})
    yield case("an added token stays as it was normalized before the options changed", {**bert, "do_lower_case": False}, tokenizer_json(),
               added_tokens={"NewTok": 20})
    listed = {str(i): {**MARKER, "content": VOCABULARY[i], "lstrip": False} for i in range(5)}
    yield case("options given anew", {**bert, "added_tokens_decoder": {**listed, "4": {**MARKER, "content": "[MASK]", "rstrip": True, "normalized": True},
                                                                       "20": {**NEW, "normalized": False, "lstrip": True}}},
               with_added({**NEW, "id": 20}))
    yield case("a plain token that becomes special", {**bert, "additional_special_tokens": ["NewTok"], "added_tokens_decoder": {**listed, "20": {**NEW, "rstrip": True}}},
               with_added({**NEW, "id": 20}))
    yield case("added_tokens.json, ids that tokenizer.json uses", {**bert, "additional_special_tokens": ["wor"]}, with_added({**NEW, "id": 20}),
               added_tokens={"hé": 20, "wor": 21})
    yield case("vocab.txt", bert, vocabulary=lines(VOCABULARY))
    yield case("vocab.txt with other line ends", bert, vocabulary=lines(VOCABULARY, "\r\n"))
    yield case("vocab.txt alone", vocabulary=lines(VOCABULARY))
    yield case("vocab.txt, cased", {"do_lower_case": False, "tokenize_chinese_chars": False}, vocabulary=lines(VOCABULARY))
    yield case("vocab.txt, no basic tokenizer", {"do_basic_tokenize": False}, vocabulary=lines(VOCABULARY))
    yield case("vocab.txt without mask and padding", {}, vocabulary=lines(without))
    yield case("vocab.txt, added_tokens.json", {}, vocabulary=lines(VOCABULARY), added_tokens={"NewTok": 20, "<X>": 21})
    yield case("vocab.txt with an entry twice", {"strip_accents": False}, vocabulary=lines(VOCABULARY + ["hello", "x "]))
    yield case("no mask token", {"mask_token": None}, vocabulary=lines(VOCABULARY[:4] + VOCABULARY[5:]))
    yield case("vocab.txt, added_tokens_decoder", {"added_tokens_decoder": {"20": MARKER}}, vocabulary=lines(VOCABULARY))


def main():
    out = []
    for entry in cases():
        with tempfile.TemporaryDirectory() as directory:
            for name, text in entry["files"].items():
                (pathlib.Path(directory) / name).write_bytes(text.encode())
            tokenizer = AutoTokenizer.from_pretrained(directory)
        limit = tokenizer.model_max_length
        entry["model_max_length"] = limit if limit < 10**9 else 0
        entry["texts"] = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in TEXTS]
        out.append(entry)
    target = pathlib.Path(__file__).resolve().parent / "auto_tokenizer_cases.json"
    versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    target.write_text(json.dumps({"written_by": versions, "cases": out}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
