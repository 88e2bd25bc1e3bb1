"""pets-convert as a user runs it: manifests in, bundles out, and everything that must be refused.

PETS_CONVERT names the program.
"""

import json
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CONVERT = os.environ["PETS_CONVERT"]
PETS = GOLDEN / "pets"


def manifest(path: Path, tasks: dict, base="bases/tiny48", extra="") -> Path:
    """Writes a manifest of tasks {name: (pet, head)}; a pet is a directory's name, a whole YAML mapping, or None."""
    lines = ["version: 1"]
    if base:
        lines.append(f"base: {{path: {GOLDEN}/{base}{extra}}}")
    lines.append("tasks:" if tasks else "tasks: []")
    for name, (pet, head) in tasks.items():
        pet = "{format: none}" if pet is None else pet if pet.startswith("{") else f"{{path: {PETS}/{pet}}}"
        lines.append(f"  - {{name: {name}, pet: {pet}" + (f", head: {head}" if head else "") + "}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


EMBEDDING = (None, "{type: embedding, pooling: mean}")
TASKS = {"lora": ("lora-qv", None), "bottleneck": ("houlsby", None), "mask": ("op-mask", None), "embed": EMBEDDING}


def scaled(source: Path, target: Path, part: str, factor: float) -> None:
    """Copies a PET and multiplies its F32 tensors whose names hold `part`."""
    shutil.copytree(source, target)
    file = target / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    for name, tensor in json.loads(data[8 : 8 + length]).items():
        if part not in name:
            continue
        assert tensor["dtype"] == "F32", name
        begin, end = (8 + length + offset for offset in tensor["data_offsets"])
        values = struct.unpack_from(f"<{(end - begin) // 4}f", data, begin)
        struct.pack_into(f"<{len(values)}f", data, begin, *(value * factor for value in values))
    file.write_bytes(data)


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.shared = Path(cls.folder.name)
        cls.bundle = cls.shared / "base.pets"
        manifest(cls.shared / "base.yaml", TASKS)
        subprocess.run([CONVERT, "pack", cls.shared / "base.yaml", "-o", cls.bundle], check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.work = Path(folder.name)

    def convert(self, *arguments, expect=0):
        result = subprocess.run([CONVERT, *map(str, arguments)], capture_output=True, timeout=300, text=True)
        self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        return result

    def pack(self, tasks, *arguments, expect=0, **options):
        """Packs to out.pets and gives what was said; with an error nothing may be left."""
        before = {*self.work.iterdir(), self.work / "m.yaml"}
        text = self.convert("pack", manifest(self.work / "m.yaml", tasks, **options), "-o", self.work / "out.pets", *arguments, expect=expect)
        if expect != 0:
            self.assertEqual({*self.work.iterdir()}, before)
        return text.stderr

    def inspect(self, file, expect=0):
        return json.loads(self.convert("inspect", file, "--json", expect=expect).stdout)

    def expected(self, manifest_name, tasks, rename=lambda task: task):
        """A file with the Python libraries' answers for some tasks."""
        path = self.work / "expected.jsonl"
        with open(GOLDEN / "expected" / f"{manifest_name}.jsonl", encoding="utf-8") as lines, open(path, "w", encoding="utf-8") as out:
            for line in map(json.loads, lines):
                if line["task"] in tasks:
                    line["task"] = rename(line["task"])
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
        return path

    # --- usage

    def test_help_and_version(self):
        for command in ([], ["pack"], ["add"], ["inspect"], ["verify"]):
            self.assertIn("Usage" if command else "pack", self.convert(*command, "--help").stdout)
            self.assertRegex(self.convert(*command, "--version").stdout, r"^pets-convert \d+\.\d+\.\d+\n$")

    def test_wrong_usage_is_2(self):
        for arguments in (
            [],
            ["nonsense"],
            ["pack"],
            ["pack", "m.yaml"],
            ["pack", "m.yaml", "-o", ""],
            ["pack", "m.yaml", "-o", "x", "--precision", "fp8"],
            ["pack", "m.yaml", "-o", "x", "--max-drift", "-1"],
            ["pack", "m.yaml", "-o", "x", "--max-drift", "nan"],
            ["verify"],
            ["verify", "x", "--tolerance", "much"],
            ["inspect", "a", "b"],
        ):
            self.assertEqual(self.convert(*arguments, expect=2).stdout, "")

    def test_an_unknown_command_is_named(self):
        self.assertIn("no command is called nonsense", self.convert("nonsense", expect=2).stderr)

    def test_what_cannot_be_printed_is_no_success(self):
        for arguments in (["inspect", self.bundle], ["inspect", self.bundle, "--json"], ["verify", self.bundle], ["--help"], ["pack", "--version"]):
            with open("/dev/full", "wb") as full:
                result = subprocess.run([CONVERT, *arguments], stdout=full, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(result.returncode, 1, arguments)
            self.assertIn(b"cannot write standard output", result.stderr)
        reading, writing = os.pipe()
        os.close(reading)
        result = subprocess.run([CONVERT, "inspect", self.bundle], stdout=writing, stderr=subprocess.PIPE, timeout=60)
        os.close(writing)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"Broken pipe", result.stderr)

    def test_messages_that_nobody_reads_cost_no_bundle(self):
        path = manifest(self.work / "m.yaml", TASKS)
        reading, writing = os.pipe()
        os.close(reading)
        result = subprocess.run([CONVERT, "pack", path, "-o", self.work / "out.pets", "--precision", "fp16"], stderr=writing, timeout=120)
        os.close(writing)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(sorted(file.name for file in self.work.iterdir()), ["m.yaml", "out.pets"])

    def test_a_limit_on_the_size_of_files_is_an_error(self):
        path = manifest(self.work / "m.yaml", TASKS)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        result = subprocess.run([CONVERT, "pack", path, "-o", self.work / "out.pets"], capture_output=True, timeout=120, preexec_fn=limit)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"File too large", result.stderr)
        self.assertEqual([file.name for file in self.work.iterdir()], ["m.yaml"])

    def test_a_closed_standard_output_is_an_error(self):
        command = ["sh", "-c", 'exec "$0" inspect "$1" <&- >&-', CONVERT, self.bundle]
        result = subprocess.run(command, capture_output=True, timeout=60, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("standard output", result.stderr)

    # --- pack for a GPU

    def test_a_base_for_cuda_serves_the_cpu_too(self):
        for precision, tables in (("fp32", "float32"), ("fp16", "float16"), ("bf16", "bfloat16"), ("int8", "float16")):
            with self.subTest(precision):
                self.pack(TASKS, "--target", "cuda", "--precision", precision)
                out = self.work / "out.pets"
                info, plain = self.inspect(out), self.inspect(self.bundle)
                base = info["base"]
                self.assertEqual((base["target"], base["layout"], base["tables"], base["precision"]), ("cuda", "plain", tables, precision))
                self.assertEqual((plain["base"]["target"], plain["base"]["layout"], plain["base"]["tables"]), ("cpu", "panels16", "float32"))
                self.assertEqual(info["base_fingerprint"], plain["base_fingerprint"])
                self.assertIn("packed for cuda: layout plain, tables in " + tables, self.convert("inspect", out).stdout)
                self.assertEqual(self.convert("verify", out).stdout.count(": ok"), len(TASKS))
                # Tasks that were packed beside either base serve beside the other.
                for_cuda, for_cpu = self.work / "a.pets", self.work / "b.pets"
                path = manifest(self.work / "add.yaml", {"ia3": ("ia3", None)}, base=None)
                self.convert("add", out, path, "-o", for_cuda)
                self.convert("add", self.bundle, path, "-o", for_cpu)
                self.convert("verify", out, for_cuda)
                self.convert("verify", out, for_cpu)
                self.convert("verify", self.bundle, for_cuda)

    def test_the_answers_of_a_base_for_cuda_are_those_of_the_python_libraries(self):
        self.pack({"lora": ("lora-qv", None)}, "--target", "cuda")
        expected = self.expected("tiny48", {"lora-qv"}, lambda _: "lora")
        self.assertIn("ok", self.convert("verify", self.work / "out.pets", "--against", expected).stdout)

    def test_what_cuda_does_not_take_is_refused_by_name(self):
        said = self.pack({"embed": EMBEDDING}, "--target", "cuda", base="bases/tiny64h", expect=1)  # heads of 8
        self.assertIn("--target cuda: backend cuda: head size: expected a multiple of 16, at most 128, found 8", said)
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertIn("cpu,cuda", self.convert("pack", "m.yaml", "-o", "x", "--target", "tpu", expect=2).stderr.replace("{", "").replace(" ", ""))

    # --- pack

    def test_packing_twice_gives_the_same_bytes(self):
        self.pack(TASKS)
        self.assertEqual((self.work / "out.pets").read_bytes(), self.bundle.read_bytes())

    def test_inspect_tells_what_is_there(self):
        info = self.inspect(self.bundle)
        self.assertEqual(info["format_version"], 1)
        self.assertEqual(info["base"]["hidden"], 48)
        self.assertEqual(info["base"]["precision"], "fp32")
        self.assertEqual([task["name"] for task in info["tasks"]], list(TASKS))
        lora, bottleneck, mask, embed = info["tasks"]
        self.assertIn("low_rank", lora["operators"])
        self.assertIn("bottleneck", bottleneck["operators"])
        self.assertIn("mask", mask["operators"])
        self.assertEqual(embed["head"]["type"], "embedding")
        self.assertEqual(embed["head"]["outputs"], 48)
        self.assertEqual(lora["max_length"], info["base"]["default_max_length"])
        self.assertTrue(all(task["goldens"] > 0 for task in info["tasks"]))
        text = self.convert("inspect", self.bundle).stdout
        for part in (*TASKS, "hidden 48", "embedding", info["base_fingerprint"]):
            self.assertIn(part, text)

    def test_a_label_cannot_break_the_listing(self):
        self.pack({"a": ("lora-labels", '{labels: ["a\\nb\\x1b[2J", good]}')})
        text = self.convert("inspect", self.work / "out.pets").stdout
        self.assertIn("  labels    a?b?[2J, good\n", text)
        self.assertEqual(self.inspect(self.work / "out.pets")["tasks"][0]["head"]["labels"][0], "a\nb\x1b[2J")

    def test_a_bundle_without_tasks(self):
        self.pack({})
        self.assertEqual(self.inspect(self.work / "out.pets")["tasks"], [])
        self.convert("verify", self.work / "out.pets")

    def test_every_error_of_every_task_is_reported_and_nothing_written(self):
        said = self.pack(
            {
                "good": ("lora-qv", None),
                "shape": ("lora-wrong-shape", None),
                "nan": ("lora-nan", None),
                "nothing": ("{path: /nowhere/at/all}", None),
                "headless": (None, "{type: sequence-classification}"),
            },
            expect=1,
        )
        lines = said.splitlines()
        self.assertEqual(len(lines), 4, said)
        for line, name in zip(lines, ("shape", "nan", "nothing", "headless")):
            self.assertIn(str(self.work / "m.yaml"), line)
            self.assertIn(f"'{name}'", line)

    def test_a_failed_pack_keeps_the_old_bundle(self):
        (self.work / "out.pets").write_text("old")
        self.pack({"bad": ("lora-nan", None)}, expect=1)
        self.assertEqual((self.work / "out.pets").read_text(), "old")

    def test_the_output_replaces_nothing_that_is_read(self):
        base, pet = self.work / "base", self.work / "pet"
        shutil.copytree(GOLDEN / "bases/tiny48", base)
        shutil.copytree(PETS / "lora-qv", pet)
        path = self.work / "m.yaml"
        path.write_text("version: 1\nbase: {path: base}\ntasks: [{name: a, pet: {path: pet}}]\n")
        for output in (path, base / "model.safetensors", base / "config.json", pet / "adapter_model.safetensors"):
            before = output.read_bytes()
            self.assertIn("would replace", self.convert("pack", path, "-o", output, expect=1).stderr)
            self.assertEqual(output.read_bytes(), before)
        texts = self.work / "texts.txt"
        texts.write_text("hello\n")
        self.assertIn("calibration", self.convert("pack", path, "-o", texts, "--precision", "fp16", "--calibration", texts, expect=1).stderr)
        self.assertEqual(texts.read_text(), "hello\n")
        for _ in range(2):  # an older bundle among the model's files may be replaced
            self.convert("pack", path, "-o", base / "out.pets")
        delta = manifest(self.work / "add.yaml", {"embed2": EMBEDDING}, base=None)
        self.assertIn("would replace", self.convert("add", base / "out.pets", delta, "-o", base / "out.pets", expect=1).stderr)
        self.convert("verify", base / "out.pets")

    def test_labels_without_a_name_get_one(self):
        self.pack({"a": ("lora-labels", '{labels: ["", good]}')})
        self.assertEqual(self.inspect(self.work / "out.pets")["tasks"][0]["head"]["labels"], ["LABEL_0", "good"])
        (self.work / "out.pets").unlink()
        self.assertIn("LABEL_1", self.pack({"a": ("lora-labels", '{labels: [LABEL_1, ""]}')}, expect=1))

    def test_bad_manifests_are_one_clear_line(self):
        for text, part in (
            ("version: 1\nbase: {path: x}\ntasks: [", "m.yaml:"),
            ("version: 2\nbase: {path: x}\n", "version"),
            ("version: 1\nversion: 1\n", "version"),
            ("version: 1\nbases: {path: x}\n", "bases"),
            ("version: 1\ntasks: []\n", "base"),
            (f"version: 1\nbase: {{path: {GOLDEN}/bases/tiny48, precision: fp8}}\n", "fp8"),
            ('version: "1"\n', "the text `1` in quotes"),
            ('version: 1\nbase: {path: "a\\nb"}\n', "a?b"),
        ):
            path = self.work / "m.yaml"
            path.write_text(text)
            said = self.convert("pack", path, "-o", self.work / "out.pets", expect=1).stderr
            self.assertEqual(len(said.splitlines()), 1, said)
            self.assertIn(part, said)
        self.assertIn("none.yaml", self.convert("pack", self.work / "none.yaml", "-o", self.work / "out.pets", expect=1).stderr)

    def test_a_place_that_cannot_be_written_is_named(self):
        path = manifest(self.work / "m.yaml", {"embed": EMBEDDING})
        for output in ("/nowhere/at/all/out.pets", "/dev/null", self.work):
            self.assertIn(str(output), self.convert("pack", path, "-o", output, expect=1).stderr)

    def test_max_length_defaults_to_the_tokenizers_and_must_fit(self):
        tasks = "  - {name: a, pet: {format: none}, head: {type: embedding, pooling: mean}, max_length: %d}\n"
        path = self.work / "m.yaml"
        for length, status in ((7, 0), (97, 1)):
            path.write_text(f"version: 1\nbase: {{path: {GOLDEN}/bases/tiny48}}\ntasks:\n" + tasks % length)
            said = self.convert("pack", path, "-o", self.work / "out.pets", expect=status).stderr
        self.assertIn("96 positions", said)
        self.assertEqual(self.inspect(self.work / "out.pets")["tasks"][0]["max_length"], 7)

    def test_a_signal_leaves_nothing(self):
        path = manifest(self.work / "m.yaml", {f"t{i}": ("houlsby", None) for i in range(200)})
        for delay in (0.05, 0.3, 0.8):
            process = subprocess.Popen([CONVERT, "pack", path, "-o", self.work / "out.pets"], stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            ended = process.wait(timeout=60)
            self.assertIn(ended, (-signal.SIGTERM, 0))
            self.assertFalse([file for file in self.work.iterdir() if ".tmp-" in file.name])
            self.assertEqual((self.work / "out.pets").exists(), ended == 0)
            (self.work / "out.pets").unlink(missing_ok=True)

    def test_progress_is_for_terminals_only(self):
        path = manifest(self.work / "m.yaml", TASKS)
        master, slave = pty.openpty()
        with subprocess.Popen([CONVERT, "pack", path, "-o", self.work / "out.pets"], stderr=slave) as process:
            os.close(slave)
            seen = b""
            while True:
                try:
                    data = os.read(master, 65536)
                except OSError:  # Linux says so when the other side is closed
                    break
                if not data:
                    break
                seen += data
        os.close(master)
        self.assertEqual(process.returncode, 0)
        self.assertIn(b"reading tasks", seen)
        self.assertIn(b"4/4", seen)
        self.assertNotIn("\r", self.pack(TASKS))

    # --- precision

    def test_a_low_rank_fit_tells_what_remains(self):
        path = manifest(self.work / "fit.yaml", {"fit": (f"{{path: {PETS}/ckpt-low-rank, format: checkpoint, as: low-rank, rank: 1}}", None)}, "bases/tiny48c")
        told = self.convert("pack", path, "-o", self.work / "fit.pets").stderr
        self.assertRegex(told, r"task 'fit': checkpoint: .*approximated: [\d.]+ % of the difference remains, at most [\d.]+ % at layer\.")

    def test_reduced_precision_reports_drift_and_refuses_too_much(self):
        texts = self.work / "texts.txt"
        texts.write_text("the first man\n\nwas it good?\n", encoding="utf-8")
        sizes = [self.bundle.stat().st_size]
        for precision, bound in (("fp16", 2e-3), ("bf16", 2e-2), ("int8", 1e-1)):
            said = self.pack(TASKS, "--precision", precision, "--calibration", texts, "--max-drift", bound)
            self.assertIn(f"what {precision} changes beside fp32, on the golden queries and 2 calibration texts", said)
            rows = re.findall(r"^pets-convert: (\S+) +[\d.e-]+ +([\d.e-]+)  (-|\d+ of 5)$", said, re.MULTILINE)
            self.assertEqual(sorted(name for name, _, _ in rows), sorted(TASKS), said)
            drifts = [float(relative) for _, relative, _ in rows]
            self.assertEqual(drifts, sorted(drifts, reverse=True))
            self.assertGreater(drifts[-1], 0)
            self.assertEqual([flips for name, _, flips in rows if name == "embed"], ["-"])
            reduced = self.work / "out.pets"
            self.assertEqual(self.inspect(reduced)["base"]["precision"], precision)
            self.assertIn(f", {precision}, ", self.convert("inspect", reduced).stdout)
            self.assertEqual(self.inspect(reduced)["base_fingerprint"], self.inspect(self.bundle)["base_fingerprint"])
            self.convert("verify", reduced)
            sizes.append(reduced.stat().st_size)
            reduced.unlink()
            said = self.pack(TASKS, "--precision", precision, "--max-drift", "1e-9", expect=1)
            errors = [line for line in said.splitlines() if "error" in line]
            self.assertEqual(len(errors), 1, said)
            self.assertRegex(errors[0], rf"task '\w+' drifts by .* in {precision}, more than --max-drift 1e-09; 4 of 4 tasks do")
        fp32, fp16, bf16, int8 = sizes
        self.assertLess(fp16, fp32)
        self.assertEqual(bf16, fp16)
        self.assertLess(int8, bf16)

    def test_the_flag_beats_the_manifest(self):
        self.pack({}, "--precision", "fp32", extra=", precision: fp16")
        self.assertEqual(self.inspect(self.work / "out.pets")["base"]["precision"], "fp32")
        self.pack({}, extra=", precision: fp16")
        self.assertEqual(self.inspect(self.work / "out.pets")["base"]["precision"], "fp16")

    def test_calibration_that_is_no_text_is_refused(self):
        texts = self.work / "texts.txt"
        texts.write_bytes(b"good\nba\xffd\n")
        self.assertIn("texts.txt:2", self.pack({"lora": ("lora-qv", None)}, "--precision", "fp16", "--calibration", texts, expect=1))

    # --- verify

    def test_goldens_are_run_again(self):
        said = self.convert("verify", self.bundle).stdout
        for name in TASKS:
            self.assertRegex(said, f"{name}: \\d golden queries, largest relative error 0: ok")

    def test_the_librarys_answers_agree(self):
        names = ["lora-qv", "houlsby", "op-mask", "lora-tokens"]
        self.pack({name: (name, None) for name in names})
        said = self.convert("verify", self.work / "out.pets", "--against", self.expected("tiny48", names)).stdout
        for name in names:
            self.assertRegex(said, f"{name}: \\d+ expected lines, largest relative error .*: ok")

    def test_one_delta_scaled_by_a_hundredth_is_noticed(self):
        scaled(PETS / "lora-qv", self.work / "scaled", "lora_B", 1.01)
        expected = self.expected("tiny48", ["lora-qv"])
        self.pack({"lora-qv": (f"{{path: {self.work}/scaled}}", None)})
        result = self.convert("verify", self.work / "out.pets", "--against", expected, expect=1)
        self.assertIn("lora-qv", result.stderr)
        self.assertIn("FAILED", result.stdout)
        self.convert("verify", self.work / "out.pets", "--against", expected, "--tolerance", "0.5")

    def test_expected_lines_that_make_no_sense_are_named(self):
        path = self.work / "expected.jsonl"
        good = '{"task": "lora", "text": "a", "logits": [1, 2, 3]}'
        for bad, part in (
            ('{"task": "lora", "text": "a", "logits": [1, 2', ""),
            ('{"task": "nobody", "text": "a", "logits": [1]}', "nobody"),
            ('{"task": "lora", "text": "a"}', "logits"),
            ('{"task": "lora", "text": "a", "logits": [1, 2]}', "[2]"),
            ('{"task": "lora", "text": "a", "logits": [[1, 2, 3]]}', "[1, 3]"),
            ('{"task": "lora", "text": "a", "logits": [1, "2", 3]}', "logits"),
            ('{"task": "lora", "text": "a", "ids": [2, 3], "logits": [1, 2, 3]}', "ids"),
            ('{"task": "lora", "ids": [2, 100000], "logits": [1, 2, 3]}', "100000"),
            ('{"task": "lora", "ids": [2.5], "logits": [1, 2, 3]}', "ids"),
            ('{"text": "a", "logits": [1, 2, 3]}', "task"),
            ('{"task": "lora", "text": "a", "logits": [1, 2, 3], "label": 1}', "label"),
        ):
            path.write_text(good + "\n\n" + bad + "\n")
            said = self.convert("verify", self.bundle, "--against", path, "--tolerance", "1e9", expect=1).stderr
            self.assertIn("expected.jsonl:3", said)
            self.assertIn(part, said)
        bad_lines = ['{"task": "nobody", "text": "a", "logits": [1]}', "{", '{"task": "lora", "text": "' + "a" * (4 << 20) + '", "logits": [1, 2, 3]}']
        path.write_text("\n".join([bad_lines[0], good, *bad_lines[1:], good]))
        result = self.convert("verify", self.bundle, "--against", path, "--tolerance", "1e9", expect=1)
        self.assertIn("lora: 2 expected lines", result.stdout)  # the bad ones do not keep the good ones from being compared
        for number in (1, 3, 4):
            self.assertIn(f"expected.jsonl:{number}: ", result.stderr)
        self.assertIn("4 MiB", result.stderr)
        for nothing in ("", "\n\n"):
            path.write_text(nothing)
            self.assertIn("found none", self.convert("verify", self.bundle, "--against", path, expect=1).stderr)
        self.assertIn("none.jsonl", self.convert("verify", self.bundle, "--against", self.work / "none.jsonl", expect=1).stderr)

    def test_damage_is_named_and_the_other_tasks_are_checked(self):
        data = bytearray(self.bundle.read_bytes())
        data[-1] ^= 1  # in the last task
        damaged = self.work / "damaged.pets"
        damaged.write_bytes(data)
        result = self.convert("verify", damaged, expect=1)
        self.assertIn('task "embed"', result.stderr)
        self.assertIn("lora:", result.stdout)
        damaged.write_bytes(data[:-4096])
        self.assertIn("truncated", self.convert("verify", damaged, expect=1).stderr)
        self.assertIn("truncated", self.convert("inspect", damaged, expect=1).stderr)
        damaged.write_bytes(b"not a bundle at all, but long enough to hold a header of sixty-four bytes")
        self.assertIn("not a pets bundle", self.convert("inspect", damaged, expect=1).stderr)

    # --- add

    def add(self, tasks, expect=0, base=None, bundle=None):
        path = manifest(self.work / "add.yaml", tasks, base=base)
        return self.convert("add", bundle or self.bundle, path, "-o", self.work / "delta.pets", expect=expect).stderr

    def test_a_delta_needs_no_base_directory(self):
        names = ["lora-rslora", "pfeiffer", "ia3", "dora", "lora-pooler-target"]
        self.add({name: (name, None) for name in names} | {"embed2": EMBEDDING})
        info = self.inspect(self.work / "delta.pets")
        self.assertIsNone(info["base"])
        self.assertEqual(info["base_fingerprint"], self.inspect(self.bundle)["base_fingerprint"])
        self.assertEqual(info["tasks"][0]["max_length"], 64)
        said = self.convert("verify", self.work / "delta.pets", self.bundle).stdout
        for name in (*names, *TASKS):
            self.assertRegex(said, f"(?m)^{name}: ")
        for source in ("tiny48", "tiny48-extra"):
            expected = self.expected(source, names)
            if expected.read_text():
                self.convert("verify", self.bundle, self.work / "delta.pets", "--against", expected)

    def test_a_delta_holds_the_segments_that_pack_writes(self):
        def task_bytes(path):
            data, info = path.read_bytes(), self.inspect(path)
            return data[-info["tasks"][-1]["bytes"] :]

        self.pack({"dora": ("dora", None)})
        self.add({"dora": ("dora", None)})
        self.assertEqual(task_bytes(self.work / "delta.pets"), task_bytes(self.work / "out.pets"))

    def test_a_checkpoint_needs_the_base_directory(self):
        self.pack({"embed": EMBEDDING}, base="bases/tiny48c")
        bundle = self.work / "out.pets"
        self.assertIn("base", self.add({"mask": ("ckpt-mask", None)}, bundle=bundle, expect=1))
        self.assertFalse((self.work / "delta.pets").exists())
        self.add({"mask": ("ckpt-mask", None)}, base="bases/tiny48c", bundle=bundle)
        self.convert("verify", self.work / "delta.pets", bundle)

    def test_a_base_that_is_another_is_refused(self):
        said = self.add({"embed2": EMBEDDING}, base="bases/tiny64", expect=1)
        self.assertIn(self.inspect(self.bundle)["base_fingerprint"], said)

    def test_a_delta_is_no_base_and_cannot_be_verified_alone(self):
        self.add({"embed2": EMBEDDING})
        self.assertIn("delta bundle", self.add({"embed3": EMBEDDING}, bundle=self.work / "delta.pets", expect=1))
        said = self.convert("verify", self.work / "delta.pets", expect=1).stderr
        self.assertIn("name the base bundle beside it", said)
        self.convert("inspect", self.work / "delta.pets")

    def test_a_delta_may_replace_a_task(self):
        self.add({"lora": ("lora-rslora", None)})
        result = self.convert("verify", self.bundle, self.work / "delta.pets")
        self.assertEqual(result.stdout.count("lora:"), 2)  # the one that it replaces, and its own
        self.assertIn("replaces task 'lora'", result.stderr)

    def test_a_delta_fits_the_same_base_in_another_precision(self):
        for precision in ("fp16", "bf16", "int8"):
            self.pack({"lora": ("lora-qv", None)}, "--precision", precision)
            self.add({"dora": ("dora", None)}, bundle=self.work / "out.pets")
            self.convert("verify", self.work / "out.pets", self.work / "delta.pets")
            self.add({"dora": ("dora", None)})  # over the fp32 base: its goldens differ by what the precision does
            said = self.convert("verify", self.work / "out.pets", self.work / "delta.pets").stdout
            self.assertRegex(said, r"dora: 3 golden queries, .*another precision")


if __name__ == "__main__":
    unittest.main()
