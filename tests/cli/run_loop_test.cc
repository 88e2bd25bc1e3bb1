// RunLoop and LineReader: order, promptness, bounded memory, interruption. An echo stands in for the engine.
#include "runtime/cli/run_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "runtime/cli/json_writer.h"

namespace pets::cli {
namespace {

class Pipe {
 public:
  Pipe() { EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_writer();
    ::close(ends_[0]);
  }
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void close_writer() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  void write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t count = ::write(ends_[1], text.data(), text.size());
      ASSERT_GT(count, 0);
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  std::string read_some() const {
    char buffer[4096];
    const ssize_t count = ::read(ends_[0], buffer, sizeof buffer);
    return count > 0 ? std::string(buffer, static_cast<std::size_t>(count)) : "";
  }

 private:
  int ends_[2] = {-1, -1};
};

/// Answers each query with the length of its text; a text "fail" fails.
class Echo {
 public:
  Echo() {
    task_.name = "t";
    task_.head = HeadType::kRegression;
  }
  Status operator()(std::span<const Query> queries, Session::AnswerFn on_answer, void* context) {
    batches.push_back(queries.size());
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const float length = static_cast<float>(queries[i].text.size());
      Answer answer;
      answer.task = &task_;
      answer.logits = {&length, 1};
      if (queries[i].text == "fail") answer.status = Status::error(ErrorCode::kInvalidArgument, "asked to");
      if (queries[i].text == "stop") return Status::error(ErrorCode::kInternal, "stopped");
      on_answer(context, i, answer);
    }
    return Status::ok();
  }
  std::vector<std::size_t> batches;

 private:
  TaskInfo task_;
};

struct Outcome {
  RunEnd end = RunEnd::kInputEnd;
  std::string output;
  RunCounts counts;
  std::vector<std::size_t> batches;
};

Outcome run_text(const std::string& text, std::size_t max_line = kMaxLineBytes, std::size_t max_queries = 256) {
  Pipe in;
  std::thread feeder([&] {
    in.write(text);
    in.close_writer();
  });
  LineReader reader(in.reader(), "input", max_line);
  Output out;
  JsonLinesWriter writer(out, false);
  Echo echo;
  RunLoop loop(reader, writer, out, std::ref(echo), max_queries);
  Outcome outcome;
  outcome.end = loop.run([] { return false; }, [](const RunCounts&) {});
  feeder.join();
  outcome.output = out.buffered();
  outcome.counts = loop.counts();
  outcome.batches = echo.batches;
  return outcome;
}

TEST(RunLoop, AnswersInInputOrderWithErrorsInTheirPlace) {
  const Outcome o = run_text(
      "\xEF\xBB\xBF{\"id\":1,\"task\":\"t\",\"text\":\"abc\"}\n"
      "\n  \t\r\n"
      "{\"id\":2,\"nope\":1}\r\n"
      "{\"id\":3,\"task\":\"t\",\"text\":\"fail\"}\n"
      "{\"id\":4,\"task\":\"t\",\"text\":\"\"}");
  EXPECT_EQ(o.end, RunEnd::kInputEnd);
  EXPECT_EQ(o.output,
            "{\"id\":1,\"task\":\"t\",\"value\":3}\n"
            "{\"id\":2,\"error\":\"unknown key \\\"nope\\\" (known: id, task, text, text_pair, ids)\"}\n"
            "{\"id\":3,\"error\":\"asked to\"}\n"
            "{\"id\":4,\"task\":\"t\",\"value\":0}\n");
  EXPECT_EQ(o.counts.lines, 4U);
  EXPECT_EQ(o.counts.failed, 2U);
  EXPECT_EQ(o.counts.first_failed_line, 4U);
}

TEST(RunLoop, EmptyInputIsNoError) {
  const Outcome o = run_text("");
  EXPECT_EQ(o.end, RunEnd::kInputEnd);
  EXPECT_EQ(o.output, "");
  EXPECT_EQ(o.counts.lines, 0U);
}

TEST(RunLoop, ALineOverTheLimitIsSkippedAndTheNextIsAnswered) {
  const std::string good = R"({"task":"t","text":"ab"})";
  const std::string exact = R"({"task":"t","text":")" + std::string(kMaxLineBytes - 22, 'x') + "\"}";
  ASSERT_EQ(exact.size(), kMaxLineBytes);
  const std::string answer = "{\"task\":\"t\",\"value\":2}\n";
  const std::string refusal = "{\"error\":\"the line is longer than 4194304 bytes\"}\n";
  const std::string longest = "{\"task\":\"t\",\"value\":4194282}\n";
  EXPECT_EQ(run_text(good + "\n" + exact + " \n" + good + "\n").output, answer + refusal + answer);
  EXPECT_EQ(run_text(good + "\n" + exact + "\n" + good + "\n" + exact).output, answer + longest + answer + longest);
  EXPECT_EQ(run_text(std::string(20'000'000, 'x') + "\n" + good).output, refusal + answer);
  EXPECT_EQ(run_text(good + "\n" + std::string(20'000'000, ' ')).output, answer + refusal);
}

TEST(RunLoop, ManyLinesOfManySizesComeBackComplete) {
  std::string input;
  std::string expected;
  uint32_t seed = 3;
  for (int i = 0; i < 3000; ++i) {
    seed = seed * 1664525U + 1013904223U;
    const std::size_t length = i % 500 == 499 ? 700'000 : seed >> 22;
    input += "{\"id\":" + std::to_string(i) + ",\"task\":\"t\",\"text\":\"" + std::string(length, 'y') + "\"}\n";
    Output number;
    write_json_number(number, static_cast<float>(length));
    expected += "{\"id\":" + std::to_string(i) + ",\"task\":\"t\",\"value\":" + std::string(number.buffered()) + "}\n";
  }
  EXPECT_EQ(run_text(input).output, expected);
  EXPECT_EQ(run_text(input, kMaxLineBytes, 1).output, expected);
}

TEST(RunLoop, AFailedRunGivesTheUnansweredAnError) {
  const Outcome o = run_text(
      "{\"id\":1,\"task\":\"t\",\"text\":\"a\"}\n{\"id\":2,\"task\":\"t\",\"text\":\"stop\"}\n{\"id\":3,\"task\":\"t\",\"text\":\"a\"}\n");
  EXPECT_EQ(o.counts.lines, 3U);
  EXPECT_NE(o.output.find("{\"id\":2,\"error\":\"stopped\"}\n"), std::string::npos) << o.output;
}

TEST(RunLoop, AnswersEachLineWhenTheInputPauses) {
  Pipe in;
  Pipe back;
  std::thread runner([&] {
    LineReader reader(in.reader(), "input", kMaxLineBytes);
    Output out(back.writer(), "output");
    JsonLinesWriter writer(out, false);
    RunLoop loop(reader, writer, out, Echo(), 256);
    EXPECT_EQ(loop.run([] { return false; }, [](const RunCounts&) {}), RunEnd::kInputEnd);
  });
  for (int i = 0; i < 3; ++i) {
    in.write(R"({"task":"t",)");
    in.write("\"text\":\"ab\"}\n");
    EXPECT_EQ(back.read_some(), "{\"task\":\"t\",\"value\":2}\n");  // blocks for ever if the answer is held back
  }
  in.close_writer();
  runner.join();
}

TEST(RunLoop, WakingEndsTheWaitAfterWhatIsComplete) {
  Pipe in;
  Pipe wake;
  in.write("{\"task\":\"t\",\"text\":\"ab\"}\n{\"task\":");
  LineReader reader(in.reader(), "input", kMaxLineBytes, wake.reader());
  Output out;
  JsonLinesWriter writer(out, false);
  RunLoop loop(reader, writer, out, Echo(), 256);
  EXPECT_EQ(loop.run([] { return false; }, [&](const RunCounts&) { wake.write("x"); }), RunEnd::kInterrupted);
  EXPECT_EQ(out.buffered(), "{\"task\":\"t\",\"value\":2}\n");
}

TEST(RunLoop, AWriteErrorEndsTheRun) {
  Pipe in;
  in.write("{\"task\":\"t\",\"text\":\"ab\"}\n");
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  LineReader reader(in.reader(), "input", kMaxLineBytes);
  Output out(full, "/dev/full");
  JsonLinesWriter writer(out, false);
  RunLoop loop(reader, writer, out, Echo(), 256);
  EXPECT_EQ(loop.run([] { return false; }, [](const RunCounts&) {}), RunEnd::kOutputError);
  EXPECT_EQ(out.status().message(), "cannot write /dev/full: No space left on device");
  ::close(full);
}

TEST(RunLoop, AReadErrorEndsTheRun) {
  const int directory = ::open("/", O_RDONLY | O_CLOEXEC);
  LineReader reader(directory, "/", kMaxLineBytes);
  Output out;
  JsonLinesWriter writer(out, false);
  RunLoop loop(reader, writer, out, Echo(), 256);
  EXPECT_EQ(loop.run([] { return false; }, [](const RunCounts&) {}), RunEnd::kInputError);
  EXPECT_EQ(reader.status().message(), "cannot read /: Is a directory");
  ::close(directory);
}

TEST(RunLoop, NoMoreThanTheBatchHolds) {
  std::string input;
  for (int i = 0; i < 10; ++i) input += "{\"task\":\"t\",\"text\":\"ab\"}\n";
  const Outcome o = run_text(input, kMaxLineBytes, 4);
  for (const std::size_t batch : o.batches) EXPECT_LE(batch, 4U);
  EXPECT_EQ(o.counts.lines, 10U);
}

}  // namespace
}  // namespace pets::cli
