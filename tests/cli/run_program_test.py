"""pets-run as a user runs it: a bundle packed from the goldens, lines in, lines out.

PETS_RUN and PETS_CONVERT name the programs; PETS_SANITIZE is set where they are instrumented (memory is not measured then).
"""

import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
RUN = os.environ["PETS_RUN"]
CONVERT = os.environ["PETS_CONVERT"]
INSTRUMENTED = bool(os.environ.get("PETS_SANITIZE"))
MIB = 1 << 20

TASKS = {
    "embed": "{pet: {format: none}, head: {type: embedding, pooling: mean}}",
    "labels": "{pet: {path: PETS/lora-labels}, head: {type: sequence-classification, labels: [negative, positive]}, max_length: 32}",
    "many": "{pet: {path: PETS/lora-multilabel}, head: {type: multi-label-classification, labels: [red, green, blue, dark]}}",
    "number": "{pet: {path: PETS/lora-regression}}",
    "tokens": "{pet: {path: PETS/lora-tokens}}",
    "qa": "{pet: {path: PETS/lora-qa}, max_length: 40}",
}


def write_manifest(path: Path, tasks: dict[str, str]) -> None:
    lines = ["version: 1", f"base: {{path: {GOLDEN}/bases/tiny48}}", "tasks:"]
    for name, body in tasks.items():
        lines.append("  - {name: " + name + ", " + body.replace("PETS", f"{GOLDEN}/pets")[1:])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.work = Path(cls.folder.name)
        write_manifest(cls.work / "base.yaml", TASKS)
        write_manifest(cls.work / "extra.yaml", {"extra": "{pet: {path: PETS/lora-qv}}"})
        cls.bundle = str(cls.work / "base.pets")
        cls.delta = str(cls.work / "extra.pets")
        subprocess.run([CONVERT, "pack", str(cls.work / "base.yaml"), "-o", cls.bundle], check=True, capture_output=True)
        subprocess.run([CONVERT, "add", cls.bundle, str(cls.work / "extra.yaml"), "-o", cls.delta], check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_program(self, *arguments, lines="", environment=None, expect=None):
        text = lines if isinstance(lines, bytes) else lines.encode()
        result = subprocess.run([RUN, *arguments], input=text, capture_output=True, timeout=120, env={**os.environ, **(environment or {})})
        if expect is not None:
            self.assertEqual(result.returncode, expect, result.stderr.decode())
        return result

    def answers(self, *queries, arguments=(), expect=0, raw=False):
        lines = b"".join(q if isinstance(q, bytes) else json.dumps(q).encode() + b"\n" for q in queries)
        out = self.run_program(self.bundle, *arguments, lines=lines, expect=expect).stdout
        return out.decode().splitlines() if raw else [json.loads(line) for line in out.splitlines()]

    # --- what each head answers

    def test_every_head(self):
        label, many, number, embed = self.answers(
            {"id": "a", "task": "labels", "text": "good"},
            {"id": "b", "task": "many", "text": "good"},
            {"task": "number", "text": "good"},
            {"task": "embed", "text": "good"},
        )
        self.assertEqual(list(label), ["id", "task", "label", "scores"])
        self.assertIn(label["label"], ["negative", "positive"])
        self.assertAlmostEqual(sum(label["scores"].values()), 1, places=5)
        self.assertEqual(label["label"], max(label["scores"], key=label["scores"].get))
        self.assertEqual(list(many), ["id", "task", "labels", "scores"])
        self.assertEqual(many["labels"], [name for name, score in many["scores"].items() if score > 0.5])
        self.assertEqual(list(number), ["task", "value"])
        self.assertIsInstance(number["value"], float)
        self.assertEqual(list(embed), ["task", "embedding"])
        self.assertEqual(len(embed["embedding"]), 48)

    def test_tokens_and_spans_count_code_points(self):
        text = "\U0001f600 Zoë has 3 家"
        tokens = self.answers({"task": "tokens", "text": text})[0]["tokens"]
        for token in tokens:
            self.assertEqual(token["text"], text[token["start"] : token["end"]])
        self.assertIn("家", [token["text"] for token in tokens])
        answer = self.answers({"task": "qa", "text": "who?", "text_pair": text})[0]["answer"]
        self.assertEqual(answer["text"], text[answer["start"] : answer["end"]])

    def test_logits_are_shaped_by_the_head(self):
        label, tokens, qa, embed = self.answers(
            {"task": "labels", "text": "good"},
            {"task": "tokens", "text": "good"},
            {"task": "qa", "text": "who?", "text_pair": "me"},
            {"task": "embed", "text": "good"},
            arguments=["--logits"],
        )
        self.assertEqual(len(label["logits"]), 2)
        self.assertEqual(len(tokens["logits"]), len(tokens["tokens"]) + 2)  # [CLS] and [SEP] too
        start, end = qa["logits"]
        self.assertEqual(len(start), len(end))
        self.assertEqual(embed["logits"], embed["embedding"])

    def test_long_text_is_cut_and_says_so(self):
        short, long = self.answers({"task": "labels", "text": "a"}, {"task": "labels", "text": "word " * 20_000})
        self.assertNotIn("truncated", short)
        self.assertIs(long["truncated"], True)

    def test_empty_text_and_nul_are_valid(self):
        self.assertEqual(len(self.answers({"task": "labels", "text": ""}, {"task": "labels", "text": "a\0b"}, {"task": "qa", "text": "", "text_pair": ""})), 3)

    def test_token_ids_in_place_of_text(self):
        by_text = self.answers({"task": "labels", "text": ""})[0]
        vocabulary = (GOLDEN / "bases/tiny48/vocab.txt").read_text(encoding="utf-8").split("\n")
        ids = [vocabulary.index("[CLS]"), vocabulary.index("[SEP]")]
        self.assertEqual(self.answers({"task": "labels", "ids": ids})[0], by_text)

    # --- ids and order

    def test_ids_come_back_verbatim_and_in_order(self):
        written = ['1.0', '1e400', '{"a" : [1, 2.50]}', '"\\u00e9\\n"', 'null', '[]']
        lines = [f'{{"id": {text}, "task": "labels", "text": "x"}}\n'.encode() for text in written]
        for line, text in zip(self.answers(*lines, raw=True), written):
            self.assertTrue(line.startswith(f'{{"id":{text},"task"'), line)

    def test_mixed_batches_answer_like_single_queries(self):
        queries = [{"id": i, "task": list(TASKS)[i % 4], "text": "word " * (i % 7)} for i in range(100)]
        together = self.answers(*queries, arguments=["--threads", "2"], raw=True)
        for i in range(0, 100, 13):
            self.assertEqual(self.answers(queries[i], arguments=["--threads", "1"], raw=True), [together[i]])

    # --- bad lines

    def test_a_fan_out_answers_every_task_as_a_line_of_its_own(self):
        pair = "a context, where I am, that is longer than the question answering task's own limit allows, so that it is cut short there " * 2
        names = [*TASKS, "nobody", "labels"]
        whole = {"text": "where?", "text_pair": pair}
        fan, *singles = self.answers(
            {"id": {"a": 1}, "tasks": names, **whole}, *({"task": name, **whole} for name in names), arguments=["--logits"], expect=1
        )
        self.assertEqual(list(fan), ["id", "results"])
        self.assertEqual(fan["id"], {"a": 1})
        for name, result, single in zip(names, fan["results"], singles, strict=True):
            if name == "nobody":
                self.assertEqual(result, {"task": name, "error": single["error"]})
            else:
                self.assertEqual(result, single)  # to the bit: the shortest digits that read back the same
        fan, single = self.answers({"tasks": ["labels"], "text": "x"}, {"task": "labels", "text": "x"})
        self.assertEqual(fan["results"], [single])

    def test_every_strategy_answers_the_same(self):
        queries = [{"task": list(TASKS)[i % 4], "text": "word " * (i % 9)} for i in range(60)]
        expected = self.answers(*queries)
        for strategy in ("packed", "coordinated", "alpha", "beta", "fixed"):
            self.assertEqual(self.answers(*queries, arguments=["--strategy", strategy]), expected)

    def test_metrics_and_trace_are_written(self):
        metrics, trace = self.work / "metrics.prom", self.work / "trace.json"
        self.answers(
            *({"task": "labels", "text": "x"} for _ in range(20)), {"task": "nobody", "text": "x"}, expect=1,
            arguments=["--metrics", str(metrics), "--trace", str(trace)],
        )  # fmt: skip
        text = metrics.read_text(encoding="utf-8")
        self.assertRegex(text, r'pets_queries_total\{task="labels",outcome="answered"\} 20\n')
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
        self.assertEqual(sum(event["args"]["queries"] for event in events if event["ph"] == "X"), 20)
        for option, path in (("--metrics", "/nowhere/x"), ("--trace", "/nowhere/x"), ("--metrics", str(self.work))):
            result = self.run_program(self.bundle, option, path, lines='{"task": "labels", "text": "x"}\n', expect=1)
            self.assertIn(b"cannot open " + path.encode(), result.stderr)
            self.assertEqual(result.stdout, b"")  # told before the answers

    def test_a_deadline_that_is_met_changes_nothing(self):
        query = {"task": "labels", "text": "x"}
        self.assertEqual(self.answers(query, arguments=["--deadline-ms", "600000"]), self.answers(query))

    def test_a_profile_of_something_else_is_refused_in_one_line(self):
        table = self.work / "other.table"
        table.write_text("pets-latency-table 2\n", encoding="utf-8")
        for path, words in ((str(table), b"version"), ("/nowhere.table", b"/nowhere.table")):
            result = self.run_program(self.bundle, "--profile", path, lines="", expect=1)
            self.assertEqual(len(result.stderr.splitlines()), 1)
            self.assertIn(words, result.stderr)

    def test_a_bad_line_gets_an_error_in_its_place(self):
        out = self.answers(
            {"id": 1, "task": "labels", "text": "x"},
            b'{"id": 2, "task": "labels", "text": "x"\n',
            b"\n",
            {"id": 3, "task": "nope", "text": "x"},
            b'{"id": 4, "task": "labels", "text": "ab\xff"}\n',
            {"id": 5, "task": "labels", "ids": [1, 10**6]},
            {"id": 6, "task": "qa", "text": "no context"},
            {"id": 7, "task": "labels", "text": "x"},
            expect=1,
        )
        self.assertEqual([line["id"] for line in out], [1, 2, 3, 4, 5, 6, 7])
        self.assertEqual(["error" in line for line in out], [False, True, True, True, True, True, False])
        self.assertIn("nope", out[2]["error"])
        self.assertIn("byte 2", out[3]["error"])
        self.assertIn("1000000", out[4]["error"])

    def test_a_line_over_four_mebibytes(self):
        out = self.answers(
            b'{"task": "labels", "text": "' + b"x" * (5 * MIB) + b'"}\n', {"task": "labels", "text": "x"}, expect=1
        )
        self.assertIn("4194304", out[0]["error"])
        self.assertIn("label", out[1])

    def test_deep_nesting_in_an_id(self):
        line = b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b', "task": "labels", "text": "x"}\n'
        out = self.run_program(self.bundle, lines=line, expect=0).stdout
        self.assertTrue(out.startswith(b'{"id":' + b"[" * 100_000 + b"]"))

    # --- options

    def test_delta_bundles_add_tasks(self):
        lines = '{"task": "extra", "text": "x"}\n'
        self.assertIn(b"error", self.run_program(self.bundle, lines=lines, expect=1).stdout)
        self.assertIn(b"label", self.run_program(self.bundle, self.delta, lines=lines, expect=0).stdout)

    def test_a_refused_delta_leaves_the_others_at_work(self):
        broken = self.work / "broken.pets"
        broken.write_bytes(Path(self.delta).read_bytes()[:1000])
        result = self.run_program(self.bundle, str(broken), self.delta, lines='{"task": "extra", "text": "x"}\n', expect=1)
        self.assertIn(b"label", result.stdout)
        self.assertIn(b"broken.pets", result.stderr)

    def test_a_damaged_task_of_a_delta_leaves_the_others_at_work(self):
        write_manifest(self.work / "two.yaml", {"first": "{pet: {path: PETS/lora-qv}}", "second": "{pet: {path: PETS/lora-rslora}}"})
        two = self.work / "two.pets"
        subprocess.run([CONVERT, "add", self.bundle, str(self.work / "two.yaml"), "-o", str(two)], check=True, capture_output=True)
        data = bytearray(two.read_bytes())
        data[-1] ^= 1  # in the second task
        two.write_bytes(data)
        lines = '{"task": "first", "text": "x"}\n{"task": "second", "text": "x"}\n{"task": "labels", "text": "x"}\n'
        result = self.run_program(self.bundle, str(two), lines=lines, expect=1)
        self.assertEqual(["error" in json.loads(line) for line in result.stdout.splitlines()], [False, True, False])
        self.assertIn(b"task second is damaged", result.stderr)

    def test_input_and_output_files(self):
        source, target = self.work / "in.jsonl", self.work / "out.jsonl"
        source.write_text('{"task": "labels", "text": "x"}\n', encoding="utf-8")
        target.write_text("old content " * 100, encoding="utf-8")
        self.run_program(self.bundle, "--input", str(source), "--output", str(target), expect=0)
        self.assertEqual(len(target.read_text(encoding="utf-8").splitlines()), 1)
        result = self.run_program(self.bundle, "--input", str(source), "--output", str(source), expect=1)
        self.assertIn(b"overwrite", result.stderr)
        self.assertIn("labels", source.read_text(encoding="utf-8"))
        self.assertIn(b"/nonexistent", self.run_program(self.bundle, "--input", "/nonexistent", expect=1).stderr)

    def test_nothing_that_is_written_replaces_what_is_read_or_written(self):
        lines = b'{"task": "extra", "text": "x"}\n'
        delta, source, target = self.work / "kept.pets", self.work / "redirected.jsonl", self.work / "written.jsonl"
        delta.write_bytes(Path(self.delta).read_bytes())
        source.write_bytes(lines)
        for option in ("--output", "--metrics", "--trace"):
            result = self.run_program(self.bundle, str(delta), option, str(delta), lines=lines, expect=1)
            self.assertIn(f"{option} {delta} would overwrite what is read".encode(), result.stderr)
            self.assertEqual(delta.read_bytes(), Path(self.delta).read_bytes())
            # Standard input redirected from the file, as a shell does it.
            with open(source, "rb") as redirected:
                command = [RUN, self.bundle, self.delta, option, str(source)]
                result = subprocess.run(command, stdin=redirected, capture_output=True, timeout=120)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"overwrite", result.stderr)
            self.assertEqual(source.read_bytes(), lines)
        for first, second in (("--output", "--metrics"), ("--output", "--trace"), ("--metrics", "--trace")):
            target.unlink(missing_ok=True)
            result = self.run_program(self.bundle, self.delta, first, str(target), second, str(target), lines=lines, expect=1)
            self.assertIn(f"{first} and {second} are both {target}".encode(), result.stderr)

    def test_a_fifo_in_place_of_a_bundle_is_refused_at_once(self):
        fifo = self.work / "fifo.pets"
        os.mkfifo(fifo)
        self.assertIn(b"regular file", self.run_program(str(fifo), expect=1).stderr)
        self.assertIn(b"regular file", self.run_program(self.bundle, str(fifo), lines='{"task": "labels", "text": "x"}\n', expect=1).stderr)

    def test_closed_standard_streams_are_errors(self):
        target = self.work / "closed.out"
        for redirection in ("<&-", "<&- >&- 2>&-"):
            command = f'exec "$0" "$1" --output "$2" {redirection}'
            result = subprocess.run(["sh", "-c", command, RUN, self.bundle, str(target)], capture_output=True, timeout=60)
            self.assertEqual(result.returncode, 1, redirection)
            self.assertEqual(target.read_bytes(), b"")
        command = 'exec "$0" "$1" >&-'
        result = subprocess.run(
            ["sh", "-c", command, RUN, self.bundle], input=b'{"task": "labels", "text": "x"}\n', capture_output=True, timeout=60
        )
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"standard output", result.stderr)

    def test_messages_are_one_line_whatever_a_file_is_called(self):
        message = self.run_program("/nowhere/a\nb\x1b[2J", expect=1).stderr
        self.assertEqual(message.count(b"\n"), 1)
        self.assertNotIn(b"\x1b", message)

    def test_token_ids_of_special_tokens_are_not_listed(self):
        text = self.answers({"task": "tokens", "text": "good"})[0]["tokens"]
        vocabulary = (GOLDEN / "bases/tiny48/vocab.txt").read_text(encoding="utf-8").split("\n")
        ids = [vocabulary.index("[CLS]"), *[vocabulary.index("the")] * 2, vocabulary.index("[SEP]")]
        self.assertEqual(len(self.answers({"task": "tokens", "ids": ids})[0]["tokens"]), 2)
        self.assertTrue(text)

    def test_table(self):
        lines = '{"task": "labels", "text": "日本語"}\n{"task": "tokens", "text": "x"}\n{"task": "nope", "text": "x"}\n'
        out = self.run_program(self.bundle, "--table", lines=lines, environment={"COLUMNS": "80"}, expect=1).stdout.decode()
        self.assertEqual(len(out.splitlines()), 5)
        self.assertRegex(out.splitlines()[0], r"^task +text +answer +score$")
        self.assertIn("error: ", out.splitlines()[4])

    def test_self_check_alone_reads_nothing(self):
        result = self.run_program(self.bundle, self.delta, "--self-check", lines="not read", expect=0)
        lines = result.stdout.decode().splitlines()
        self.assertEqual([line.split(":")[0] for line in lines], [*TASKS, "extra"])
        self.assertTrue(all(": ok, " in line for line in lines), lines)

    def test_self_check_with_input_keeps_the_output_clean(self):
        lines = '{"task": "labels", "text": "x"}\n'
        source = self.work / "one.jsonl"
        source.write_text(lines, encoding="utf-8")
        result = self.run_program(self.bundle, "--self-check", "--input", str(source), expect=0)
        self.assertEqual(len(result.stdout.splitlines()), 1)
        self.assertIn(b"labels: ok", result.stderr)

    def test_memory_limit_is_refused_with_both_numbers(self):
        message = self.run_program(self.bundle, "--memory-limit", "100K", expect=1).stderr.decode()
        self.assertIn("102400", message)
        needed = int(re.search(r"needs (\d+)", message)[1])
        self.run_program(self.bundle, "--memory-limit", str(needed), expect=0)
        self.run_program(self.bundle, "--memory-limit", str(needed - 1), expect=1)

    def test_a_refused_delta_leaves_the_others_at_work_within_a_limit_too(self):
        lines = '{"task": "extra", "text": "x"}\n'
        result = self.run_program(self.bundle, "/nowhere.pets", self.delta, "--memory-limit", "64M", lines=lines, expect=1)
        self.assertIn(b"label", result.stdout)
        self.assertIn(b"/nowhere.pets", result.stderr)

    def test_usage(self):
        for arguments in (
            [],
            [self.bundle, "--nope"],
            [self.bundle, "--threads", "none"],
            [self.bundle, "--threads", "1025"],
            [self.bundle, "--max-batch-tokens", "4194305"],
            [self.bundle, "--memory-limit", "1X"],
            [self.bundle, "--weight-memory", "copy"],  # of the device that --backend cpu has not
        ):
            self.assertEqual(self.run_program(*arguments).returncode, 2, arguments)
        for option in ("--help", "--version"):
            with open("/dev/full", "wb") as full:
                self.assertEqual(subprocess.run([RUN, option], stdout=full, timeout=60).returncode, 1)
        self.assertEqual(self.run_program("--help").returncode, 0)
        self.assertRegex(self.run_program("--version").stdout.decode(), r"^pets-run \d+\.\d+\.\d+\n$")
        self.assertIn(b"cuda", self.run_program(self.bundle, "--backend", "cuda", expect=1).stderr)

    def test_bad_bundles_give_one_clear_line(self):
        damaged = self.work / "damaged.pets"
        for content in (b"", b"PETS", b"\0" * 10_000, Path(self.bundle).read_bytes()[:5000]):
            damaged.write_bytes(content)
            result = self.run_program(str(damaged), expect=1)
            self.assertEqual(len(result.stderr.splitlines()), 1)
            self.assertIn(b"damaged.pets", result.stderr)
        self.assertIn(b"missing.pets", self.run_program(str(self.work / "missing.pets"), expect=1).stderr)

    def test_copy_answers_the_same(self):
        query = {"task": "labels", "text": "x"}
        self.assertEqual(self.answers(query), self.answers(query, arguments=["--copy"]))

    def test_an_unknown_instruction_set_is_an_error(self):
        self.assertIn(b"PETS_ISA", self.run_program(self.bundle, environment={"PETS_ISA": "z80"}, expect=1).stderr)

    # --- streams

    def start(self, *arguments, **options):
        return subprocess.Popen([RUN, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def stop(self, process):
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()

    def test_each_line_is_answered_when_the_input_pauses(self):
        process = self.start(self.bundle)
        for i in range(3):
            process.stdin.write(b'{"id": %d, "task": "labels", "text": "x"}\n' % i)
            process.stdin.flush()
            self.assertTrue(select.select([process.stdout], [], [], 60)[0], "no answer came while the input was open")
            self.assertEqual(json.loads(process.stdout.readline())["id"], i)
        process.stdin.close()
        self.assertEqual(process.wait(60), 0)
        process.stdout.close()
        process.stderr.close()

    def test_interruption_ends_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start(self.bundle)
            process.stdin.write(b'{"task": "labels", "text": "x"}\n{"task": ')
            process.stdin.flush()
            self.assertTrue(process.stdout.readline().endswith(b"}\n"))
            process.send_signal(number)
            self.assertEqual(process.wait(60), 128 + number)
            self.assertEqual(process.stdout.read(), b"")
            self.stop(process)

    def test_an_ignored_interruption_stays_ignored(self):
        process = self.start(self.bundle, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        for _ in range(2):
            process.stdin.write(b'{"task": "labels", "text": "x"}\n')
            process.stdin.flush()
            self.assertTrue(process.stdout.readline().endswith(b"}\n"))
            process.send_signal(signal.SIGINT)
        process.stdin.close()
        self.assertEqual(process.wait(60), 0)
        process.stdout.close()
        process.stderr.close()

    def test_interruption_of_a_long_run_leaves_whole_lines(self):
        source = self.work / "long.jsonl"
        source.write_text('{"task": "labels", "text": "word word word word word"}\n' * 200_000, encoding="utf-8")
        target = self.work / "long.out"
        process = self.start(self.bundle, "--input", str(source), "--output", str(target))
        deadline = time.monotonic() + 60
        while (not target.exists() or target.stat().st_size == 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        content = target.read_bytes()
        self.assertTrue(content.endswith(b"}\n"))
        self.assertLess(content.count(b"\n"), 200_000)
        self.stop(process)

    def test_an_interrupt_while_a_pipe_has_no_other_end(self):
        fifo = self.work / "queries"
        os.mkfifo(fifo)
        process = subprocess.Popen([RUN, self.bundle, "--input", fifo], stderr=subprocess.PIPE)
        time.sleep(0.7)  # it waits in open() by then, or still loads
        process.send_signal(signal.SIGTERM)
        _, message = process.communicate(timeout=60)
        self.assertEqual((process.returncode, message), (128 + signal.SIGTERM, b"pets-run: interrupted before the first line\n"))

    def test_a_closed_pipe_and_a_full_disk_are_errors(self):
        lines = '{"task": "embed", "text": "x"}\n' * 2000
        process = self.start(self.bundle)
        process.stdout.close()
        _, message = process.communicate(lines.encode(), timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"Broken pipe", message)
        result = self.run_program(self.bundle, "--output", "/dev/full", lines=lines, expect=1)
        self.assertIn(b"No space left", result.stderr)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        command = [RUN, self.bundle, "--output", self.work / "short.jsonl"]
        result = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=60, preexec_fn=limit)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"File too large", result.stderr)
        with open("/dev/full", "wb") as full:
            result = subprocess.run([RUN, "--version"], stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((result.returncode, result.stderr), (1, b"pets-run: cannot write standard output\n"))

    def test_progress_is_drawn_on_a_terminal_and_removed(self):
        source = self.work / "progress.jsonl"
        source.write_text('{"task": "labels", "text": "' + "word " * 30 + '"}\n' * 1 + '{"task": "labels", "text": "x y z"}\n' * 20_000, encoding="utf-8")
        terminal, side = pty.openpty()
        process = subprocess.Popen([RUN, self.bundle, "--input", str(source), "--output", os.devnull, "--threads", "1"], stderr=side)
        self.assertEqual(process.wait(120), 0)
        # Read while the other side is open: a terminal whose other side is closed is an input error.
        drawn = ""
        while select.select([terminal], [], [], 0)[0]:  # a terminal hands out a few KiB at a time
            drawn += os.read(terminal, 1 << 16).decode()
        os.close(side)
        os.close(terminal)
        if drawn:  # a fast machine ends before the first drawing
            self.assertIn("lines/s", drawn)
            self.assertTrue(drawn.endswith("\r\x1b[K"), repr(drawn))

    def peak_memory(self, arguments, line, count):
        """The most resident memory, in bytes, that a run over `count` copies of `line` took."""
        process = self.start(self.bundle, *arguments)
        for _ in range(count):
            process.stdin.write(line)
            process.stdin.flush()
            process.stdout.readline()
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        process.stdin.close()
        self.assertIn(process.wait(60), (0, 1))
        process.stdout.close()
        process.stderr.close()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def planned_memory(self, arguments):
        message = self.run_program(self.bundle, *arguments, "--memory-limit", "1", expect=1).stderr.decode()
        return int(re.search(r"needs (\d+)", message)[1])

    def check_memory(self, arguments, line, count):
        peak, plan = self.peak_memory(arguments, line, count), self.planned_memory(arguments)
        self.assertLess(peak, plan + 16 * MIB, f"peak {peak}, planned {plan}")

    if not INSTRUMENTED:

        def test_threads_that_cannot_be_started_are_an_error(self):
            limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (200 * MIB, 200 * MIB))  # not enough for 64 stacks
            result = subprocess.run([RUN, self.bundle, "--threads", "64"], input=b"", capture_output=True, timeout=60, preexec_fn=limit)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"64 threads", result.stderr)

        def test_memory_stays_within_the_plan(self):
            self.check_memory([], b'{"task": "tokens", "text": "' + b"word " * 50 + b'"}\n', 20)

        def test_memory_stays_within_the_plan_for_the_longest_lines(self):
            size = 4 * MIB - 100
            self.check_memory([], b'{"task": "labels", "text": "' + b"word " * (size // 5) + b'"}\n', 3)
            self.check_memory([], b'{"task": "tokens", "text": "' + b"\\u0001" * (size // 6) + b'"}\n', 3)
            self.check_memory([], b'{"task": "labels", "ids": [' + b"1," * (size // 2) + b"1]}\n", 3)
            self.check_memory([], b'{"id": ' + b"[" * (size // 2) + b"]" * (size // 2) + b', "task": "labels", "text": ""}\n', 3)
            self.check_memory([], b"x" * (9 * MIB) + b"\n", 3)


if __name__ == "__main__":
    unittest.main()
