// The text against the grammar of https://prometheus.io/docs/instrumenting/exposition_formats, read by a strict parser.
#include "runtime/serving/prometheus.h"

#include <clocale>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "tests/serving/serving_test.h"

namespace pets::serving {
namespace {

struct Sample {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;
};

struct Family {
  std::string type;
  std::vector<Sample> samples;
};

/// Accepts lines "# HELP name text", "# TYPE name type" after it, and the samples of that family; nothing else.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::map<std::string, Family> parse() {
    EXPECT_TRUE(text_.ends_with('\n'));
    while (at_ < text_.size() && !testing::Test::HasFailure()) {
      if (take("# HELP ")) {
        begin_family();
      } else {
        sample();
      }
      expect("\n");
    }
    return families_;
  }

 private:
  bool take(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  void expect(std::string_view token) { EXPECT_TRUE(take(token)) << "expected '" << token << "' before: " << text_.substr(at_, 60); }

  /// [a-zA-Z_:][a-zA-Z0-9_:]* for metrics, without the colon for labels.
  std::string name(bool colon) {
    const auto fits = [&](char c, bool first) { return std::isalpha(c) || c == '_' || (colon && c == ':') || (!first && std::isdigit(c)); };
    const size_t begin = at_;
    while (at_ < text_.size() && fits(text_[at_], at_ == begin)) ++at_;
    EXPECT_GT(at_, begin) << "expected a name before: " << text_.substr(at_, 60);
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::string_view to_line_end() {
    const size_t begin = at_;
    at_ = text_.find('\n', at_);
    return text_.substr(begin, at_ - begin);
  }

  void begin_family() {
    current_ = name(true);
    EXPECT_FALSE(families_.contains(current_)) << current_ << " stands twice";
    expect(" ");
    EXPECT_FALSE(to_line_end().empty());
    expect("\n# TYPE ");
    EXPECT_EQ(name(true), current_);
    expect(" ");
    families_[current_].type = to_line_end();
    EXPECT_TRUE((std::set<std::string>{"counter", "gauge", "histogram"}).contains(families_[current_].type));
  }

  std::string label_value() {
    std::string value;
    expect("\"");
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n') {
      if (take("\\n")) {
        value += '\n';
      } else if (take("\\\\")) {
        value += '\\';
      } else if (take("\\\"")) {
        value += '"';
      } else {
        EXPECT_NE(text_[at_], '\\') << "an unknown escape before: " << text_.substr(at_, 60);
        value += text_[at_++];
      }
    }
    expect("\"");
    return value;
  }

  void sample() {
    Sample sample;
    sample.name = name(true);
    if (take("{")) {
      do {
        const std::string label = name(false);
        expect("=");
        EXPECT_TRUE(sample.labels.emplace(label, label_value()).second) << label << " stands twice";
      } while (take(","));
      expect("}");
    }
    expect(" ");
    const std::string number(to_line_end());
    EXPECT_EQ(number.find_first_not_of("0123456789."), std::string::npos) << number;
    char* end = nullptr;
    sample.value = std::strtod(number.c_str(), &end);
    EXPECT_TRUE(!number.empty() && *end == '\0') << number;
    EXPECT_TRUE(seen_.insert({sample.name, sample.labels}).second) << sample.name << " stands twice";
    EXPECT_FALSE(current_.empty()) << "a sample without TYPE: " << sample.name;
    Family& family = families_[current_];
    const std::string suffix = sample.name.starts_with(current_) ? sample.name.substr(current_.size()) : "another family";
    if (family.type == "histogram") {
      EXPECT_TRUE(suffix == "_bucket" || suffix == "_sum" || suffix == "_count") << sample.name;
      EXPECT_EQ(suffix == "_bucket", sample.labels.contains("le"));
    } else {
      EXPECT_EQ(suffix, "") << sample.name;
      EXPECT_EQ(family.type == "counter", current_.ends_with("_total")) << current_;
    }
    family.samples.push_back(std::move(sample));
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string current_;
  std::map<std::string, Family> families_;
  std::set<std::pair<std::string, std::map<std::string, std::string>>> seen_;
};

/// Every histogram's buckets ascend and count up, end in +Inf, and agree with _count; _sum is there.
void check_histograms(const std::map<std::string, Family>& families) {
  for (const auto& [name, family] : families) {
    if (family.type != "histogram") continue;
    struct Seen {
      double edge = -1, count = 0, infinity = -1;
      bool sum = false, counted = false;
    };
    std::map<std::map<std::string, std::string>, Seen> histograms;
    for (const Sample& sample : family.samples) {
      auto labels = sample.labels;
      labels.erase("le");
      Seen& seen = histograms[labels];
      if (sample.name == name + "_sum") {
        seen.sum = true;
      } else if (sample.name == name + "_count") {
        EXPECT_EQ(sample.value, seen.infinity) << name;
        seen.counted = true;
      } else {
        const std::string& le = sample.labels.at("le");
        const double edge = le == "+Inf" ? std::numeric_limits<double>::infinity() : std::stod(le);
        EXPECT_GT(edge, seen.edge) << name;
        EXPECT_GE(sample.value, seen.count) << name;
        seen.edge = edge;
        seen.count = sample.value;
        if (std::isinf(edge)) seen.infinity = sample.value;
      }
    }
    EXPECT_FALSE(histograms.empty()) << name;
    for (const auto& [labels, seen] : histograms) EXPECT_TRUE(seen.sum && seen.counted && seen.infinity >= 0) << name;
  }
}

std::map<std::string, Family> parse(const std::string& text) {
  auto families = Parser(text).parse();
  check_histograms(families);
  return families;
}

double value_of(const std::map<std::string, Family>& families, const std::string& family, const std::string& name,
                const std::map<std::string, std::string>& labels) {
  for (const Sample& sample : families.at(family).samples) {
    if (sample.name == name && sample.labels == labels) return sample.value;
  }
  ADD_FAILURE() << "no sample of " << name;
  return -1;
}
double value_of(const std::map<std::string, Family>& families, const std::string& name,
                const std::map<std::string, std::string>& labels = {}) {
  return value_of(families, name, name, labels);
}

TEST(Prometheus, IsValidBeforeAnythingHappened) {
  const auto families = parse(prometheus_text(*make_metrics(3)));
  EXPECT_EQ(value_of(families, "pets_batches_total"), 0);
  EXPECT_EQ(value_of(families, "pets_queries_submitted_total", {{"task", "other"}}), 0);
}

TEST(Prometheus, SaysWhatWasCounted) {
  const auto metrics = make_metrics(3);
  TaskMetrics& film = metrics->task("film");
  for (int i = 0; i < 3; ++i) metrics->on_submit(film);
  metrics->on_refuse(film);
  metrics->on_answer(film, Outcome::kAnswered, kMillisecond, 5 * kMillisecond, 12);
  metrics->on_answer(film, Outcome::kAnswered, kMillisecond + 1, 300'000 * kMillisecond, 13);
  metrics->on_answer(film, Outcome::kDeadlineMissed, 7 * kMillisecond, 0, 0);
  metrics->on_batch({0, 1'500'000'001, 3, 40, 15, 2, 4, 0.25, 0.125});
  const auto families = parse(prometheus_text(*metrics));

  const auto ended = [&](const char* outcome) {
    return value_of(families, "pets_queries_total", {{"task", "film"}, {"outcome", outcome}});
  };
  EXPECT_EQ(ended("answered"), 2);
  EXPECT_EQ(ended("failed"), 0);
  EXPECT_EQ(ended("cancelled"), 0);
  EXPECT_EQ(ended("deadline_missed"), 1);
  EXPECT_EQ(ended("refused"), 1);
  EXPECT_EQ(value_of(families, "pets_queries_submitted_total", {{"task", "film"}}), 3);
  EXPECT_EQ(value_of(families, "pets_tokens_total", {{"task", "film"}}), 25);

  const auto latency = [&](const char* le) {
    return value_of(families, "pets_query_latency_seconds", "pets_query_latency_seconds_bucket", {{"task", "film"}, {"le", le}});
  };
  EXPECT_EQ(latency("0.002"), 0);
  EXPECT_EQ(latency("0.005"), 1);  // at most, to the nanosecond
  EXPECT_EQ(latency("50"), 1);
  EXPECT_EQ(latency("+Inf"), 2);
  EXPECT_DOUBLE_EQ(value_of(families, "pets_query_latency_seconds", "pets_query_latency_seconds_sum", {{"task", "film"}}), 300.005);
  const auto wait = [&](const char* le) {
    return value_of(families, "pets_queue_wait_seconds", "pets_queue_wait_seconds_bucket", {{"task", "film"}, {"le", le}});
  };
  EXPECT_EQ(wait("0.001"), 1);
  EXPECT_EQ(wait("0.002"), 2);
  EXPECT_EQ(wait("0.01"), 3);

  EXPECT_EQ(value_of(families, "pets_batches_total"), 1);
  EXPECT_EQ(value_of(families, "pets_batch_queries", "pets_batch_queries_bucket", {{"le", "2"}}), 0);
  EXPECT_EQ(value_of(families, "pets_batch_queries", "pets_batch_queries_bucket", {{"le", "4"}}), 1);
  EXPECT_EQ(value_of(families, "pets_batch_rows", "pets_batch_rows_sum", {}), 40);
  EXPECT_EQ(value_of(families, "pets_batch_tasks", "pets_batch_tasks_sum", {}), 2);
  EXPECT_EQ(value_of(families, "pets_padded_rows_total"), 15);
  EXPECT_DOUBLE_EQ(value_of(families, "pets_busy_seconds_total"), 1.500000001);
  EXPECT_DOUBLE_EQ(value_of(families, "pets_predicted_seconds_total"), 0.25);
  EXPECT_DOUBLE_EQ(value_of(families, "pets_predicted_pet_seconds_total"), 0.125);
  EXPECT_EQ(value_of(families, "pets_queue_length"), 4);
  EXPECT_GT(value_of(families, "pets_resident_memory_bytes"), 0);
  EXPECT_GT(value_of(families, "pets_page_faults_total", {{"kind", "minor"}}), 0);
}

TEST(Prometheus, EscapesTaskNames) {
  const auto metrics = make_metrics(20);
  const std::string names[] = {R"(quo"te)", R"(back\slash)", "new\nline",    R"(\n)", R"(ends in \)", R"(\")",
                               "}",         "a,b=\"c\"",     "größe 大小 😀", " "};
  for (const std::string& name : names) metrics->on_submit(metrics->task(name));
  const auto families = parse(prometheus_text(*metrics));
  for (const std::string& name : names) EXPECT_EQ(value_of(families, "pets_queries_submitted_total", {{"task", name}}), 1) << name;
}

TEST(Prometheus, HugeValuesStayNumbers) {
  const auto metrics = make_metrics(1);
  TaskMetrics& task = metrics->task("film");
  metrics->on_answer(task, Outcome::kAnswered, UINT64_MAX, UINT64_MAX, UINT64_MAX);
  const double infinity = std::numeric_limits<double>::infinity();
  metrics->on_batch({0, UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, infinity, -infinity});
  const auto families = parse(prometheus_text(*metrics));
  EXPECT_DOUBLE_EQ(value_of(families, "pets_query_latency_seconds", "pets_query_latency_seconds_sum", {{"task", "film"}}),
                   9007199.254740992);
  EXPECT_DOUBLE_EQ(value_of(families, "pets_tokens_total", {{"task", "film"}}), 18446744073709551615.0);
}

TEST(Prometheus, IsValidWhileOthersCount) {
  const auto metrics = make_metrics(8);
  write_and_read(
      3,
      [&](uint32_t thread) {
        for (uint32_t i = 0; i < 500U * kEffort; ++i) {
          TaskMetrics& task = metrics->task("task " + std::to_string((i + thread) % 12));
          metrics->on_submit(task);
          metrics->on_answer(task, Outcome::kAnswered, i * 1000, i * 100'000, 1);
          if (thread == 0) metrics->on_batch({i, i + 10, i, i, 0, 1, 0, 1e-6, 1e-7});
        }
      },
      [&] { parse(prometheus_text(*metrics)); });
}

}  // namespace
}  // namespace pets::serving
