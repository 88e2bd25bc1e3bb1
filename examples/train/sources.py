"""Where the texts come from: fetched once into a cache folder, checked, and parsed.

* Sentiment: the four human-rated sets of Hutto and Gilbert (2014) inside the source package of vaderSentiment 3.3.2 (MIT).
* Packages: the descriptions that Debian's package index carries (each description is under its own package's licence;
  only package names, labels and hashes are committed here).
"""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

VADER = "vaderSentiment==3.3.2"
VADER_FILE = "vaderSentiment-3.3.2.tar.gz"
VADER_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
VADER_SETS = {
    "movie": "movieReviewSnippets",
    "product": "amazonReviewSnippets",
    "editorial": "nytEditorialSnippets",
    "tweet": "tweets",
}
APT_HELPER = "/usr/lib/apt/apt-helper"  # reads an index file whatever its compression


def fetch_vader(cache: Path) -> Path:
    """Returns the vaderSentiment source archive, downloaded with pip if it is not in `cache`."""
    archive = cache / VADER_FILE
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps", "-d", str(cache), VADER],
            check=True,
        )
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != VADER_SHA256:
        raise SystemExit(f"{archive}: sha256 is {found}, expected {VADER_SHA256}")
    return archive


def read_ratings(cache: Path, name: str) -> list[tuple[str, float, str]]:
    """Returns (row id, mean human rating in [-4, 4], text) of one of VADER_SETS, in file order."""
    with tarfile.open(fetch_vader(cache)) as outer:
        inner = outer.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz").read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith(f"{VADER_SETS[name]}_GroundTruth.txt"))
        raw = archive.extractfile(member).read().decode("utf-8-sig")
    rows = []
    for line in raw.splitlines():
        row_id, rating, text = line.split("\t")
        rows.append((row_id, float(rating), text.strip()))
    return rows


def fetch_package_lists(cache: Path) -> Path:
    """Returns a folder with the distribution's package indexes and English descriptions.

    They are fetched with apt into `cache`; the machine's own package lists stay as they are.
    """
    lists = cache / "apt" / "lists"
    if not any(lists.glob("*Translation-en*")):
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        (cache / "apt" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        options = [
            f"Dir::State::lists={lists}",
            f"Dir::Cache={cache / 'apt'}",
            "Acquire::Languages=en",
            "Acquire::IndexTargets::deb::Translations::MetaKey=$(COMPONENT)/i18n/Translation-$(LANGUAGE)",
        ]
        subprocess.run(["apt-get", "update", "-qq", *(a for o in options for a in ("-o", o))], check=True)
    return lists


def _stanzas(path: Path):
    """Yields each paragraph of a Debian control file as a dict; continuation lines keep their newlines."""
    text = subprocess.run([APT_HELPER, "cat-file", str(path)], check=True, capture_output=True).stdout.decode("utf-8")
    for block in text.split("\n\n"):
        fields, key = {}, None
        for line in block.splitlines():
            if line.startswith((" ", "\t")):
                fields[key] += "\n" + line[1:]
            else:
                key, _, value = line.partition(": ")
                fields[key] = value
        if fields:
            yield fields


def package_text(description: str) -> str:
    """The text of one package: its synopsis and the start (80 characters) of the first paragraph of its description."""
    synopsis, _, rest = description.partition("\n")
    paragraph = re.split(r"(?m)^\s*\.\s*$", rest)[0]
    start = textwrap.shorten(paragraph, 80, placeholder="")
    return f"{synopsis.strip().rstrip('.')}. {start}".strip()


def text_hash(text: str) -> str:
    """Twelve hexadecimal digits of the text's sha256: enough to notice any change of a row."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def read_packages(cache: Path) -> dict[str, dict]:
    """Returns name -> {source, section, tags, text} for every described package of the distribution's main archive."""
    lists = fetch_package_lists(cache)
    descriptions = {}
    for path in sorted(lists.glob("*Translation-en*")):
        for stanza in _stanzas(path):
            if "Description-en" in stanza:
                descriptions.setdefault(stanza["Description-md5"], stanza["Description-en"])
    packages = {}
    for path in sorted(lists.glob("*_Packages*")):
        for stanza in _stanzas(path):
            description = descriptions.get(stanza.get("Description-md5"))
            if description is None or "/main/" not in stanza.get("Filename", ""):
                continue
            packages.setdefault(
                stanza["Package"],
                {
                    "source": stanza.get("Source", stanza["Package"]).split()[0],
                    "section": stanza.get("Section", "").split("/")[-1],
                    "tags": set(re.split(r",\s*", stanza["Tag"].replace("\n", " "))) if "Tag" in stanza else set(),
                    "text": package_text(description),
                },
            )
    return packages
