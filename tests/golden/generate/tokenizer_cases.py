"""Token ids, types and offsets of the `tokenizers` library, for small vocabularies of every option and for MiniLM."""

import gzip
import json
import random

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from common import seed_of
from tokenizer_texts import random_text, texts
from vocab import MINILM, added_token, build_vocab, tokenizer_json

SMALL_LINES, MINILM_LINES, CHUNKS = 800, 10400, 4


def added(vocab, *options):
    return [added_token(len(vocab) + i, content, **flags) for i, (content, flags) in enumerate(options)]


def variants(vocab):
    """Name, options of `tokenizer_json`."""
    yield "uncased", {}
    yield "uncased-keep-accents", {"strip_accents": False}
    yield "cased", {"lowercase": False}
    yield "cased-strip-accents", {"lowercase": False, "strip_accents": True}
    yield "cased-keep-accents", {"lowercase": False, "strip_accents": False}
    yield "no-chinese", {"chinese": False}
    yield "no-clean", {"clean": False}
    yield "cased-no-clean-no-chinese", {"lowercase": False, "strip_accents": False, "chinese": False, "clean": False}
    yield "short-words", {"max_chars": 6}
    yield "other-unk", {"unk": "the"}
    yield "bert-processing", {"template": False}
    yield "added-plain", {"added": added(vocab, ("[NEW]", {}), ("<user>", {}), ("don't", {}), ("Café", {}))}
    yield "added-raw", {"added": added(vocab, ("[NEW]", {"normalized": False}), ("<user>", {"normalized": False, "special": True}),
                                       ("New York", {"normalized": False}))}
    yield "added-strip", {"added": added(vocab, ("[NEW]", {"lstrip": True}), ("<user>", {"rstrip": True, "normalized": False}),
                                         ("New", {"lstrip": True, "rstrip": True, "normalized": False}))}
    yield "added-single-word", {"added": added(vocab, ("the", {"single_word": True, "normalized": False}), ("x", {"single_word": True}),
                                               ("[NEW]", {"single_word": True}), ("is", {"single_word": True, "lstrip": True}))}
    yield "added-overlapping", {"added": added(vocab, ("ab", {}), ("abc", {}), ("bc", {"normalized": False}), ("人", {}), ("é", {}),
                                               ("[MASK]x", {"normalized": False}))}


def encode(tokenizer, text, pair, max_length):
    if max_length:
        tokenizer.enable_truncation(max_length)
    else:
        tokenizer.no_truncation()
    encoding = tokenizer.encode(text, pair)
    line = {"text": text}
    if pair is not None:
        line["pair"] = pair
    if max_length:
        line["max_length"] = max_length
    line["ids"] = encoding.ids
    if any(encoding.type_ids):
        line["type_ids"] = encoding.type_ids
    line["offsets"] = [list(span) for span in encoding.offsets]
    return line


def lines(tokenizer, seed, count, vocab, sweep_per_line=None):
    """Texts alone; then a fifth more with truncation, and as many pairs, most of them truncated."""
    rng = random.Random(seed + 1)
    alone = count * 5 // 7
    for text in texts(seed, alone, vocab, sweep_per_line):
        yield encode(tokenizer, text, None, None)
    for number in range(count - alone):
        text = random_text(rng, vocab)
        if number % 2:
            yield encode(tokenizer, text, None, rng.randint(2, 40))
        else:
            pair = "" if number % 50 == 0 else random_text(rng, vocab)
            text = "" if number % 70 == 0 else text
            if rng.random() < 0.3:
                pair += " " + " ".join(random_text(rng, vocab) for _ in range(3))
            yield encode(tokenizer, text, pair, rng.choice([None, *range(3, 65)]))


def write_gz(path, rows):
    data = "".join(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def write_code_points(directory):
    """What the library does with every code point; its own Unicode tables are of several versions.

    `code_points.txt.gz`: ranges `FIRST LAST CLASS`; `normalized.txt.gz`: `CODE lower|strip HEX HEX ...` where it changes.
    """
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    options = dict(clean_text=False, handle_chinese_chars=False)
    lower = normalizers.BertNormalizer(strip_accents=False, lowercase=True, **options)
    strip = normalizers.BertNormalizer(strip_accents=True, lowercase=False, **options)
    words = pre_tokenizers.BertPreTokenizer()
    ranges, changes = [], []
    for value in range(0x110000):
        if 0xD800 <= value < 0xE000:
            continue
        char = chr(value)
        text = clean.normalize_str(f"a{char}b")
        if len(text) == 2:
            kind = "removed"
        elif text == "a b":
            kind = "space"
        elif len(text) == 5:
            kind = "chinese"
        else:
            kind = {1: "plain", 2: "split", 3: "punctuation"}[len(words.pre_tokenize_str(text))]
        if ranges and ranges[-1][1] == value - 1 and ranges[-1][2] == kind:
            ranges[-1][1] = value
        else:
            ranges.append([value, value, kind])
        for name, normalizer in (("lower", lower), ("strip", strip)):
            result = normalizer.normalize_str(char)
            if result != char:
                changes.append(" ".join([f"{value:X}", name, *(f"{ord(c):X}" for c in result)]))
    text = "".join(f"{first:X} {last:X} {kind}\n" for first, last, kind in ranges)
    (directory / "code_points.txt.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    (directory / "normalized.txt.gz").write_bytes(gzip.compress(("\n".join(changes) + "\n").encode(), 9, mtime=0))


def build_tokenizer_goldens(layout):
    readme = layout.tokenizer / "README.md"
    kept = readme.read_text(encoding="utf-8") if readme.exists() else None
    directory = layout.fresh(layout.tokenizer)
    if kept:
        readme.write_text(kept, encoding="utf-8")
    vocab = build_vocab(160, 50, True)
    for name, options in variants(vocab):
        document = tokenizer_json(vocab, **options)
        path = directory / name
        path.mkdir()
        (path / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        write_gz(path / "lines.jsonl.gz", lines(tokenizer, seed_of("tokenizer/" + name), SMALL_LINES, vocab))
    tokenizer = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    tokenizer.no_padding()
    real = (MINILM / "vocab.txt").read_text(encoding="utf-8").split("\n")[:30522]
    rows = list(lines(tokenizer, seed_of("tokenizer/minilm"), MINILM_LINES, real[999:], sweep_per_line=16))
    (directory / "minilm").mkdir()
    for chunk in range(CHUNKS):
        write_gz(directory / "minilm" / f"lines-{chunk}.jsonl.gz", rows[chunk::CHUNKS])
    write_code_points(directory)
    print(f"tokenizer: {len(rows)} lines for MiniLM, {SMALL_LINES} for each variant")
