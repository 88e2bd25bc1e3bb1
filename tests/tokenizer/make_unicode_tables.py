#!/usr/bin/env python3
"""Writes runtime/tokenizer/unicode_classes.h and tests/tokenizer/unicode_digests.txt by asking the `tokenizers` library about every code point.

Usage: make_unicode_tables.py [REPOSITORY_ROOT]      (needs `pip install tokenizers==0.22.2`; takes about a minute)

Why tables and not utf8proc alone: the library mixes Unicode versions. Its categories (control, non-spacing mark, punctuation) are those
of Unicode 8, its decompositions and combining classes those of Unicode 9, its lowercase and white space those of the Rust release it
was built with. utf8proc's version differs with the distribution. Unicode never changes the decomposition, the combining class or the
lowercase of a character once it is assigned, so utf8proc is asked only where the class kConsult says that the library knows the
character too; everything else is written down here.
"""
import pathlib
import sys
import unicodedata
import zlib

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

DROPPED, SPACE, MARK, PUNCTUATION, CONSULT = 1, 2, 4, 8, 16
POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
BLOCK = 0x400  # code points per digest
GAP = 96       # a gap up to this long between consulted characters is consulted too, where that changes nothing

clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
strip = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
nfd, lower, split = normalizers.NFD(), normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()


def words(text):
    return [piece for piece, _ in split.pre_tokenize_str(text)]


def probe():
    """Per code point: class bits; and the sets of characters that decompose, combine or have a lowercase."""
    bits, special, lowercase = {}, set(), {}
    for c in POINTS:
        s = chr(c)
        decomposed = nfd.normalize_str(s)
        value = 0
        if clean.normalize_str(s) == "":
            value |= DROPPED
        pieces = words("a" + s + "a")
        if len(pieces) == 2:
            value |= SPACE
        if len(pieces) == 3:
            value |= PUNCTUATION
        if decomposed == s and strip.normalize_str(s) == "":
            value |= MARK
        # U+0345 has the highest combining class, 240; U+0334 the lowest, 1.
        reorders = nfd.normalize_str("\u0345" + s) != "\u0345" + decomposed or nfd.normalize_str(s + "\u0334") != decomposed + "\u0334"
        if decomposed != s or reorders:
            special.add(c)
        low = lower.normalize_str(s)
        if low != s:
            lowercase[c] = low
        bits[c] = value
    return bits, special, lowercase


def consult_runs(bits, special, lowercase):
    """Sets CONSULT where utf8proc must be asked, and in the short gaps between where asking it is harmless."""
    def required(c):
        return c in special or c in lowercase
    def harmful(c):  # utf8proc may know more than the library does
        s = chr(c)
        return not required(c) and (unicodedata.category(s) == "Cn" or unicodedata.combining(s) != 0 or unicodedata.normalize("NFD", s) != s)
    last = None
    for c in POINTS:
        if not required(c):
            continue
        bits[c] |= CONSULT
        if last is not None and 1 < c - last <= GAP and not any(harmful(g) for g in range(last + 1, c)):
            for g in range(last + 1, c):
                bits[g] |= CONSULT
        last = c


def lowercase_additions(lowercase):
    """Mappings newer than Unicode 14, as (first, last, difference)."""
    runs = []
    for c, low in sorted(lowercase.items()):
        if low == chr(c).lower() or len(low) != 1:
            continue
        difference = ord(low) - c
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == difference:
            runs[-1][1] = c
        else:
            runs.append([c, c, difference])
    return runs


def word_additions():
    """Characters that the regular expression \\w matches and that are neither L, M, Nd, Nl nor Pc in Unicode 14."""
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.add_tokens([AddedToken("qzq", single_word=True, normalized=False)])
    runs = []
    for c in POINTS:
        s = chr(c)
        is_word = 1 not in tokenizer.encode(s + "qzq", add_special_tokens=False).ids
        category = unicodedata.category(s)
        if is_word == (category[0] in "LM" or category in ("Nd", "Nl", "Pc")):
            continue
        assert is_word, f"U+{c:04X} is a word character of Unicode 14 only"
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return runs


def rows(items, per_line):
    return "\n".join("    " + ", ".join(items[i:i + per_line]) + "," for i in range(0, len(items), per_line))


def write_header(path, bits, lower_runs, word_runs):
    runs, last = [], None
    for c in range(0x110000):
        value = bits.get(c, 0)
        if value != last:
            runs.append(f"0x{c << 8 | value:07x}")
            last = value
    path.write_text(f"""// Generated by tests/tokenizer/make_unicode_tables.py from tokenizers {tokenizers.__version__}; that script says why. Do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace pets::tokenizer::unicode {{

/// Runs of code points of one class, ascending: first code point << 8 | ClassBits.
inline constexpr uint32_t kClassRuns[] = {{
{rows(runs, 14)}
}};

struct LowercaseRun {{
  uint32_t first, last;
  int32_t difference;
}};
/// Lowercase mappings newer than Unicode 14, the oldest that utf8proc is expected to know.
inline constexpr LowercaseRun kLowercaseAdditions[] = {{
{rows([f"{{0x{a:x}, 0x{b:x}, {d}}}" for a, b, d in lower_runs], 5)}
}};

struct PointRun {{
  uint32_t first, last;
}};
/// Characters that \\w matches and that are neither L, M, Nd, Nl nor Pc in Unicode 14.
inline constexpr PointRun kWordAdditions[] = {{
{rows([f"{{0x{a:x}, 0x{b:x}}}" for a, b in word_runs], 7)}
}};

}}  // namespace pets::tokenizer::unicode
// clang-format on
""", encoding="utf-8")


def digests():
    """CRC-32 per block of what the library makes of each code point, alone and between letters, in four normalizer settings."""
    settings = [(True, True, None, True), (True, True, False, False), (False, False, True, False), (False, True, False, True)]
    out = []
    for block in range(0, 0x110000, BLOCK):
        crc = 0
        for clean_text, chinese, accents, low in settings:
            n = normalizers.BertNormalizer(clean_text=clean_text, handle_chinese_chars=chinese, strip_accents=accents, lowercase=low)
            for c in range(block, block + BLOCK):
                if 0xD800 <= c <= 0xDFFF:
                    continue
                for text in (chr(c), "A" + chr(c) + "\u0345\u0334z"):
                    normal = n.normalize_str(text)
                    crc = zlib.crc32(("\n".join([normal] + words(normal)) + "\0").encode(), crc)
        out.append(f"{block:x} {crc:08x}")
    return out


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2])
    assert unicodedata.unidata_version == "14.0.0", "the additions are counted from Unicode 14: use Python 3.11 or 3.12"
    bits, special, lowercase = probe()
    consult_runs(bits, special, lowercase)
    write_header(root / "runtime/tokenizer/unicode_classes.h", bits, lowercase_additions(lowercase), word_additions())
    lines = [f"# tokenizers {tokenizers.__version__}; first code point of {BLOCK}, CRC-32 (see make_unicode_tables.py, digests)"] + digests()
    (root / "tests/tokenizer/unicode_digests.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
