"""The report and the list of points of benchmarks/paper, without measuring: from a small recorded run."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks/paper"))
sys.dont_write_bytecode = True
import figures  # noqa: E402
import points  # noqa: E402
import published  # noqa: E402
import report  # noqa: E402

RECORDED = Path(__file__).with_name("recorded.json")


class Report(unittest.TestCase):
    def setUp(self):
        self.results = json.loads(RECORDED.read_text())

    def rendered(self, results) -> str:
        with tempfile.TemporaryDirectory() as folder:
            report.write(results, Path(folder) / "paper.md")
            return (Path(folder) / "paper.md").read_text()

    def tables(self, text: str, title: str) -> list[list[str]]:
        """The lines of each table of a section."""
        section = text.split(f"## {title}")[1].split("\n## ")[0]
        return [block.splitlines() for block in section.split("\n\n") if block.startswith("|")]

    def test_every_section_names_machine_threads_date_and_rounds(self):
        text = self.rendered(self.results)
        for figure in points.FIGURES:
            run = next(iter(self.results[figure].values()))
            section = text.split(f"## {report.SECTIONS[figure][0]}")[1].split("\n## ")[0]
            for wanted in (run["machine"]["cpu"], run["date"], f"{run['threads']} thread"):
                self.assertIn(wanted, section)
            if figure != "5":
                self.assertIn("interleaved round", section)

    def test_tables_are_whole(self):
        text = self.rendered(self.results)
        for figure in points.FIGURES:
            tables = self.tables(text, report.SECTIONS[figure][0])
            self.assertTrue(tables)
            for table in tables:
                self.assertGreater(len(table), 2, table[0])
                self.assertEqual({line.count("|") for line in table}, {table[0].count("|")}, table[0])

    def test_ratios_are_medians_of_rounds(self):
        self.assertEqual(figures.ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0]), 2.0)
        self.assertEqual(figures.ratio([2.0, 4.0, 6.0], [2.0]), 2.0)

    def test_the_better_coordinated_and_the_best_fixed_are_taken(self):
        ways = [("fixed 32", 4.0), ("fixed 64", 3.0), ("coordinated, padding 0", 2.5), ("coordinated, padding 1", 2.0), ("packed", 1.0)]
        point = {"rows": 90, "ways": [{"name": n, "seconds": [s], "scheduling": [0.1], "rows": 100} for n, s in ways]}
        self.assertEqual(figures.times_as_fast(point, "coordinated"), 2.0)
        self.assertEqual(figures.times_as_fast(point, "packed", "coordinated"), 2.0)
        self.assertEqual(figures.way(point, "best fixed")["name"], "fixed 64")
        self.assertAlmostEqual(figures.padding(point, point["ways"][0]), 0.1)

    def test_a_shape_and_a_figure_may_be_missing(self):
        text = self.rendered({"5": self.results["5"]})
        self.assertIn("Not measured yet.", text)
        self.assertNotIn("](paper-", text)

    def test_what_was_left_out_and_what_did_not_fit_is_said(self):
        run = next(iter(self.results["8"].values()))
        run["left_out"] = [{"tasks": 16}]
        point = next(p for p in run["points"] if p["way"] == "sequential")
        del point["seconds"], point["resident"]
        point["absent"] = "needs 7.2 GB"
        text = self.rendered(self.results)
        self.assertIn("Left out for time: 1 point", text)
        self.assertIn("needs 7.2 GB", text)

    def test_a_refuted_prediction_is_loud(self):
        check = next(iter(self.results["5"].values()))["points"][0]["rows"][0]["check"]
        check["loads"] = False
        check["error"] = "needs more"
        self.assertIn("do not load**: needs more", self.rendered(self.results))

    def test_the_papers_numbers_cover_its_axes(self):
        for gpu in published.GPUS:
            self.assertEqual(set(published.FIGURE_12[gpu]), {1, 2, 4, 8})
            self.assertTrue(all(set(row) == {32, 64, 128} for row in published.FIGURE_12[gpu].values()))
            self.assertEqual(set(published.FIGURE_7[gpu]), set(points.LENGTHS_7[:3]))

    def test_the_usual_run_keeps_to_its_time(self):
        self.assertLessEqual(sum(sum(minutes.values()) for minutes in points.MINUTES.values()), 22.5)

    def test_points_become_command_lines(self):
        for figure in points.FIGURES:
            for extent in ("quick", "usual", "full"):
                for point in points.POINTS[figure]("bert-base", extent):
                    self.assertTrue(all(isinstance(word, str) for word in point.line(1.5)))
        line = points.figure_12("minilm", "usual")[0].line(1.5)
        self.assertEqual(line[:3], ["batching", "--kind", "types"])
        self.assertIn("--json", line)


if __name__ == "__main__":
    unittest.main()
