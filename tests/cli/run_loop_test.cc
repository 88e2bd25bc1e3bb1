// RunLoop and LineReader: order, promptness, bounded memory, interruption. An echo stands in for the engine.
#include "runtime/cli/run_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
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

/// Answers each query with the length of its text, once for every task but "nobody", whose answer is an error; a text "fail" fails, a text
/// "stop" is refused. Answers at once, or, with `later`, the last first when three queries have come or `flush` is called.
class Echo {
 public:
  explicit Echo(bool later = false) : later_(later) {
    task_.name = "t";
    task_.head = HeadType::kRegression;
  }
  Status operator()(std::span<const std::string_view> tasks, const Query& query, Server::AnswerFn on_answer, void* context) {
    if (query.text == "stop") return Status::error(ErrorCode::kUnavailable, "stopped");
    const std::vector<std::string> names(tasks.begin(), tasks.end());
    held_.push_back([this, names, text = std::string(query.text), on_answer, context] {
      const float length = static_cast<float>(text.size());
      for (std::size_t i = 0; i < names.size(); ++i) {
        Answer answer;
        answer.task = &task_;
        answer.logits = {&length, 1};
        if (text == "fail") answer.status = Status::error(ErrorCode::kInvalidArgument, "asked to");
        if (names[i] == "nobody") answer.status = Status::error(ErrorCode::kNotFound, "unknown task 'nobody'");
        on_answer(context, 1, static_cast<uint32_t>(i), answer);
      }
    });
    if (!later_ || held_.size() == 3) flush();
    return Status::ok();
  }
  void flush() {
    for (; !held_.empty(); held_.pop_back()) held_.back()();
  }

 private:
  bool later_;
  TaskInfo task_;
  std::vector<std::function<void()>> held_;
};

struct Outcome {
  RunEnd end = RunEnd::kInputEnd;
  std::string output;
  RunCounts counts;
};

Outcome run_text(const std::string& text, std::size_t max_line = kMaxLineBytes, std::size_t max_lines = 256, bool later = false) {
  Pipe in;
  std::thread feeder([&] {
    in.write(text);
    in.close_writer();
  });
  LineReader reader(in.reader(), "input", max_line);
  Output out;
  JsonLinesWriter writer(out, false);
  Echo echo(later);
  RunLoop loop(reader, writer, out, std::ref(echo), max_lines);
  Outcome outcome;
  outcome.end = loop.run([] { return false; }, [](const RunCounts&) {});
  feeder.join();
  outcome.output = out.buffered();
  outcome.counts = loop.counts();
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
            "{\"id\":2,\"error\":\"unknown key \\\"nope\\\" (known: id, task, tasks, text, text_pair, ids)\"}\n"
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

// Lines without a part to wait for were printed and gone while the reader still looked at them: the sanitizers see it at once.
TEST(RunLoop, LinesWithoutTasksAreReadToTheEndBeforeTheyArePrinted) {
  constexpr int kLines = 20'000;
  std::string text;
  for (int i = 0; i < kLines; ++i) text += i % 3 != 0 ? "{\"id\":1,\"tasks\":[]}\n" : "{\"id\":1,\"tasks\":7}\n";
  const Outcome o = run_text(text);
  EXPECT_EQ(o.end, RunEnd::kInputEnd);
  EXPECT_EQ(o.counts.lines, static_cast<uint64_t>(kLines));
  EXPECT_EQ(o.counts.failed, static_cast<uint64_t>(kLines));
  EXPECT_EQ(std::count(o.output.begin(), o.output.end(), '\n'), kLines);
}

TEST(RunLoop, ARefusedQueryHasItsErrorInItsPlace) {
  const Outcome o = run_text(
      "{\"id\":1,\"task\":\"t\",\"text\":\"a\"}\n{\"id\":2,\"task\":\"t\",\"text\":\"stop\"}\n{\"id\":3,\"task\":\"t\",\"text\":\"a\"}\n");
  EXPECT_EQ(o.counts.lines, 3U);
  EXPECT_EQ(o.output, "{\"id\":1,\"task\":\"t\",\"value\":1}\n{\"id\":2,\"error\":\"stopped\"}\n{\"id\":3,\"task\":\"t\",\"value\":1}\n");
}

TEST(RunLoop, AnswersThatComeInAnotherOrderArePrintedInInputOrder) {
  std::string input, expected;
  for (int i = 0; i < 300; ++i) {
    input += "{\"id\":" + std::to_string(i) + ",\"task\":\"t\",\"text\":\"" + std::string(static_cast<std::size_t>(i % 7), 'z') + "\"}\n";
    expected += "{\"id\":" + std::to_string(i) + ",\"task\":\"t\",\"value\":" + std::to_string(i % 7) + "}\n";
  }
  EXPECT_EQ(run_text(input, kMaxLineBytes, 256, true).output, expected);
}

TEST(RunLoop, AFanOutIsOneLineWithErrorsInTheirPlace) {
  const Outcome o = run_text(
      "{\"id\":\"x\",\"tasks\":[\"t\",\"nobody\",\"t\"],\"text\":\"abc\"}\n"
      "{\"tasks\":[],\"text\":\"abc\"}\n{\"tasks\":[\"t\",1],\"text\":\"abc\"}\n{\"tasks\":[\"t\"],\"task\":\"t\",\"text\":\"abc\"}\n"
      "{\"tasks\":[\"t\"],\"text\":\"abcd\"}\n");
  EXPECT_EQ(o.output,
            "{\"id\":\"x\",\"results\":[{\"task\":\"t\",\"value\":3},{\"task\":\"nobody\",\"error\":\"unknown task 'nobody'\"},"
            "{\"task\":\"t\",\"value\":3}]}\n"
            "{\"error\":\"tasks must name at least one task, found none\"}\n"
            "{\"error\":\"tasks[1] must be a string, found a number\"}\n"
            "{\"error\":\"\\\"tasks\\\" replace \\\"task\\\": give one or the other\"}\n"
            "{\"results\":[{\"task\":\"t\",\"value\":4}]}\n");
  EXPECT_EQ(o.counts.lines, 5U);
  EXPECT_EQ(o.counts.failed, 4U);
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

TEST(RunLoop, NoMoreLinesAreOnTheirWayThanAllowed) {
  Pipe in;
  std::string input;
  for (int i = 0; i < 10; ++i) input += "{\"task\":\"t\",\"text\":\"ab\"}\n";
  in.write(input);
  in.close_writer();
  LineReader reader(in.reader(), "input", kMaxLineBytes);
  Output out;
  JsonLinesWriter writer(out, false);
  Echo echo;
  std::atomic<int> submitted{0}, printed{0}, most{0};
  RunLoop loop(
      reader, writer, out,
      [&](std::span<const std::string_view> tasks, const Query& query, Server::AnswerFn on_answer, void* context) {
        most = std::max(most.load(), ++submitted - printed);
        return echo(tasks, query, on_answer, context);
      },
      4);
  EXPECT_EQ(loop.run([] { return false; }, [&](const RunCounts& counts) { printed = static_cast<int>(counts.lines); }), RunEnd::kInputEnd);
  EXPECT_EQ(loop.counts().lines, 10U);
  EXPECT_LE(most, 4 + 4);  // four that wait, and four at most that were printed and not yet told
}

}  // namespace
}  // namespace pets::cli
