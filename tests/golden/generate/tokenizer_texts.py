"""Ordinary and hostile texts for the tokenizer goldens, all from one seed."""

import random
import unicodedata

from texts import CONTEXTS, QUESTIONS, SENTENCES

ENGLISH = SENTENCES[:12] + QUESTIONS + CONTEXTS + [
    "The package provides a small library for reading and writing compressed archives.",
    "I have never seen a worse movie in my entire life, and I've seen plenty!",
    "Dr. O'Neill's co-workers didn't reply until 10:45 p.m. on 12/31/1999.",
    "Visit https://example.org/a/b?c=d&e=f#g or write to first.last+tag@example.co.uk.",
    "It costs $1,299.99 (that's 15% less), or €1.199,99 elsewhere.",
    "std::vector<std::pair<int, float>>& rows = table[\"key\"]; // TODO: fix",
    "Unfortunately, the internationalization of heterogeneous microarchitectures is counterintuitive.",
    "Quick brown foxes jump over lazy dogs; sphinxes of black quartz judge vows.",
    "She said: \"We'll meet at the café\" -- and left...",
    "WARNING: DO NOT TOUCH!!! #fail @user RT http://t.co/xyz :-) <3 ^_^",
]
FOREIGN = [
    "Ça m'a coûté 3€ à l'hôtel près d'Étretat, où l'œuvre fut créée.", "Füße, Größe, Übermut und Straßenbahn; ẞ groß.",
    "El niño comió piñas y ¿qué más? ¡Vámonos!", "Příliš žluťoučký kůň úpěl ďábelské ódy.", "Zażółć gęślą jaźń.",
    "Ὀδυσσεύς ἦν ἀνὴρ πολύτροπος· ΣΊΣΥΦΟΣ, σίσυφος.", "Съешь же ещё этих мягких французских булок, да выпей чаю Ёлки Йод.",
    "東京は日本の首都です。人口は約1400万人！", "我爱北京天安门，你呢？", "カタカナ・ひらがな、ガギグゲゴ ぱぴぷ ﾊﾝｶｸ",
    "대한민국의 수도는 서울입니다. 한국어 문장", "한글", "ภาษาไทยไม่มีช่องว่างระหว่างคำ น้ำ ก็ ผู้",
    "مرحبا بالعالم، كيف حالك؟ ٱلْعَرَبِيَّةُ", "שלום עולם, מה נשמע? שָׁלוֹם", "हिन्दी में लिखा हुआ वाक्य। क्षत्रिय",
    "தமிழ் மொழி", "ქართული ენა ᲥᲐᲠᲗᲣᲚᲘ",
    "Việt Nam: Tiếng Việt có nhiều dấu thanh điệu.", "İstanbul'da ılık ığdır IĞDIR", "ǅ ǆ ǄǇǈǉ ﬁ ﬂ ﬃ ŉ ǰ ΐ", "ᏣᎳᎩ Ꮳꮳ",
    "𝒜𝓁𝓅𝒽𝒶 𝔸𝔹ℂ ℌ Ⅷ ⅷ Ⓐⓐ", "𐐀𐐨 𞤀𞤢", "Ａｂｃ１２３！＠＃ ～", "꧁꧂ ༼ つ ◕_◕ ༽つ",
]
EMOJI = [
    "😀", "👍🏽", "👨‍👩‍👧‍👦", "❤️", "❤", "🏳️‍🌈", "🇩🇪", "1️⃣", "#️⃣", "☺️", "☺︎", "🤷🏻‍♀️", "🫠", "🪿", "🧑‍🚀", "©️", "™",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]
SPACES = [chr(c) for c in (9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 0x85, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x200B), 0x2028,
                           0x2029, 0x202F, 0x205F, 0x3000)]
INVISIBLE = [chr(c) for c in (0, 1, 7, 8, 0x1B, 0x7F, 0x80, 0x9F, 0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x202A, 0x202E,
                              0x2060, 0x2061, 0x2066, 0x2069, 0x206F, 0xFEFF, 0xFFF9, 0xFFFB, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF,
                              0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x3164, 0xFFA0, 0xFE0F, 0xFE00, 0xE0100, 0xE0001, 0xE0041)]
EDGES = [chr(c) for c in (0xD7FB, 0xD7FF, 0xE000, 0xF8FF, 0xF900, 0xFAFF, 0xFB00, 0xFDD0, 0xFFEF, 0x10000, 0x1FFFF, 0x20000,
                          0x2A6DF, 0x2A6E0, 0x2A700, 0x2B81F, 0x2B820, 0x2CEAF, 0x2CEB0, 0x2F800, 0x2FA1F, 0x30000, 0x3FFFD,
                          0xF0000, 0x10FFFD, 0x10FFFF, 0x4DFF, 0x4E00, 0x9FFF, 0xA000, 0x33FF, 0x3400, 0x4DBF, 0x4DC0)]
SPECIALS = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[cls]", "[Mask]", "[MASK", "MASK]", "[ MASK ]", "[MA SK]", "[[MASK]]",
            "[PAD][PAD]", "##ing", "##", "[unused1]", "<user>", "[NEW]", "[new]", "New York", "don't", "Café", "abc", "[MASK]x"]
MARKS = [chr(c) for c in (0x300, 0x301, 0x302, 0x308, 0x323, 0x327, 0x328, 0x345, 0x358, 0x5B0, 0x64B, 0x670, 0x93C, 0x94D, 0xE31,
                          0xE49, 0x3099, 0x302A, 0x302E, 0x302F, 0x1D165, 0x1D16D, 0x1DC0, 0x20D0, 0x20DD, 0xFE20, 0x903, 0x1CF7)]


def glue(rng, parts):
    return rng.choice(["", "", " ", "  ", "-", "."]).join(parts)


def sentences(rng):
    return " ".join(rng.choice(ENGLISH) for _ in range(rng.choice([1, 1, 1, 2, 3])))


def words(rng, vocab):
    """Words of the vocabulary, and new words glued from its pieces."""
    picked = []
    for _ in range(rng.randint(1, 12)):
        word = rng.choice(vocab)
        word = word.removeprefix("##") if rng.random() < 0.9 else word
        if rng.random() < 0.3:
            word += rng.choice(vocab).removeprefix("##")
        if rng.random() < 0.2:
            word = rng.choice([word.upper(), word.title(), word.swapcase()])
        picked.append(word)
    return rng.choice([" ", " ", ", ", " - "]).join(picked)


def foreign(rng):
    text = rng.choice(FOREIGN)
    form = rng.choice(["NFC", "NFD", "NFKC", "NFKD", None])
    text = unicodedata.normalize(form, text) if form else text
    return rng.choice([text, text.upper(), text.lower(), text + " " + rng.choice(ENGLISH), text[rng.randrange(len(text)):]])


def stacked(rng):
    """Letters under many combining marks, composed and not."""
    letters = "aeiouAEIOUnscyzåøÅßΑωйЁかหक1.€中"
    text = "".join(rng.choice(letters) + "".join(rng.choice(MARKS) for _ in range(rng.choice([0, 1, 1, 2, 5])))
                   for _ in range(rng.randint(1, 14)))
    return rng.choice([text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text), " " + text[1:]])


def mixed(pool):
    def make(rng):
        parts = []
        for _ in range(rng.randint(1, 9)):
            parts.append(rng.choice(pool) if rng.random() < 0.6 else rng.choice(["a", "The", "is", "x1", "café", "of", "!", "中"]))
        return glue(rng, parts)
    return make


def spaces(rng):
    return "".join(rng.choice(SPACES) if rng.random() < 0.5 else rng.choice(["a", "the", ".", "é", "人", "", "New"])
                   for _ in range(rng.randint(1, 16)))


def long_words(rng):
    """Around the limit of characters per word, which counts characters after normalisation."""
    length = rng.choice([1, 49, 50, 51, 98, 99, 100, 101, 102, 150, 300, 1000])
    unit = rng.choice(["a", "the", "é", "e\u0301", "x1", "ß", "ab\u200b", "가", "q", "ing", "İ", "กำ"])
    word = (unit * (length // len(unit) + 1))[:length]
    return rng.choice(["{} end", "{}", "so {}", "{}.{}", "a{}b"]).replace("{}", word)


def soup(rng):
    """Random code points of all planes, no surrogates."""
    def point():
        top = rng.choice([0x80, 0x250, 0x250, 0x800, 0x3100, 0x10000, 0x20000, 0x110000])
        while True:
            value = rng.randrange(top)
            if not 0xD800 <= value < 0xE000:
                return chr(value)
    return "".join(point() if rng.random() < 0.8 else " " for _ in range(rng.randint(1, 24)))


def ascii_noise(rng):
    return "".join(chr(rng.randrange(32, 127)) for _ in range(rng.randint(1, 40)))


def assigned(per_line, step_large=16):
    """Every assigned code point between two letters, so that what is removed, split or kept shows in the ids."""
    chosen = []
    for value in range(0x110000):
        if 0xD800 <= value < 0xE000 or unicodedata.category(chr(value)) in ("Cn", "Co"):
            continue
        large = 0x3400 <= value < 0xA000 or 0xAC00 <= value < 0xD7A4 or value >= 0x17000
        if large and value % step_large:
            continue
        chosen.append(chr(value))
    for start in range(0, len(chosen), per_line):
        yield " ".join(f"a{c}b" for c in chosen[start:start + per_line])


def edge_cases(vocab):
    """One of each, always."""
    yield from ["", " ", "\t\n", "a", "A", "##a", "\u0301", "\u200b", "\ufeff", "。", "[CLS]", "[MASK][MASK]", "x[SEP]y", "\x00"]
    yield from ENGLISH + FOREIGN + EMOJI + SPECIALS
    yield from SPACES + INVISIBLE + EDGES + [f"a{c}b" for c in SPACES + INVISIBLE + EDGES]
    yield from (f"{a}{s}{b}" for s in SPECIALS for a, b in (("x", "y"), ("x ", " y"), (".", "."), ("é", "É"), ("中", "人")))
    for length in (99, 100, 101, 200):
        yield from ("a" * length, "é" * length, "a\u0301" * length, "人" * length, "." * length, "\u200b" * length)
    yield " ".join(vocab[:120])


def random_text(rng, vocab):
    maker = rng.choices([sentences, lambda r: words(r, vocab), foreign, stacked, mixed(EMOJI), spaces, mixed(INVISIBLE), mixed(EDGES),
                         mixed(SPECIALS), long_words, soup, ascii_noise],
                        weights=[14, 14, 12, 8, 6, 6, 5, 4, 9, 3, 10, 9])[0]
    return maker(rng)


def texts(seed, count, vocab, sweep_per_line=None):
    """`count` texts: the edge cases, the sweep over all code points if asked for, random ones for the rest."""
    rng = random.Random(seed)
    out = list(edge_cases(vocab))
    if sweep_per_line:
        out += assigned(sweep_per_line)
    while len(out) < count:
        out.append(random_text(rng, vocab))
    return out[:count]
