"""The input lines of the cases: short, empty, odd, long and paired texts, and raw ids."""

import random

from common import seed_of

SENTENCES = [
    "The film was good.",
    "What would people say about this new house, and where is it now?",
    "No",
    "music",
    "it's his 2nd year at the university!",
    "A long day's night: we played music until the end of the season, then went home by the river.",
    "Over 300 people live in that city; most of them work there.",
    "“naïve” café owner, Łódź — 5% off (really?)",
    "I know them. They know me.",
    "state-of-the-art x86_64/aarch64 code, v2.0-rc1",
    "家 has 3 rooms and 2 人",
    "unbelievablylongwordthatnobodyknows in the middle",
    "Is ΣΊΣΥΦΟΣ known? İstanbul, Straße, ﬁne.",
    "be",
    "[MASK] is not the [SEP] of the world",
    "one two three four five six seven eight nine ten eleven twelve",
]
QUESTIONS = ["Where do they live?", "Who was the first man in the city, and when?", "what", "How many rooms has the house?"]
CONTEXTS = [
    "They live in the old house by the river, which has three rooms.",
    "In 1901 John was the first man who made it to the city. His family came later, over the river, and they all lived "
    "in one small house until the war was over. Then the state gave them a new name and a new home.",
    "It is not known.",
    "The house, built in 1876, has (at least) 12 rooms; no one knows more than that, but people say a lot.",
]


def long_text(rng):
    return " ".join(rng.choice(SENTENCES) for _ in range(rng.randint(9, 14)))


def lines_for(name, kind, vocab_size, limit):
    """Four to six lines, chosen by the case's name."""
    rng = random.Random(seed_of("lines/" + name))
    if kind == "qa":
        pairs = rng.sample(range(4), 3)
        lines = [{"text": QUESTIONS[i], "text_pair": CONTEXTS[(i + rng.randint(0, 1)) % 4]} for i in pairs]
        lines.append({"text": rng.choice(QUESTIONS), "text_pair": long_text(rng)})
        return lines
    short, middle = rng.sample(SENTENCES, 2)
    lines = [{"text": ""}, {"text": short}, {"text": middle + " " + rng.choice(SENTENCES)}, {"text": long_text(rng)}]
    if kind == "pair" or rng.random() < 0.35:
        lines.append({"text": rng.choice(SENTENCES), "text_pair": rng.choice(SENTENCES)})
    if kind == "pair":
        lines.append({"text": long_text(rng), "text_pair": rng.choice(CONTEXTS)})
    elif rng.random() < 0.35:
        lines.append({"ids": [2] + [rng.randrange(5, vocab_size) for _ in range(rng.randint(1, limit - 2))] + [3]})
    return lines
