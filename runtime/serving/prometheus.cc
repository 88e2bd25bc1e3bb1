#include "runtime/serving/prometheus.h"

#include <array>
#include <vector>

#include "runtime/serving/decimal.h"

namespace pets::serving {
namespace {

constexpr size_t kNanoPlaces = 9;  ///< seconds are written from nanoseconds

/// 0.5 ms to 50 s: edges of Histogram, so that their counts are exact.
constexpr std::array<uint64_t, 16> kLatencyEdges = {
    500'000,     1'000'000,   2'000'000,     5'000'000,     10'000'000,    20'000'000,     50'000'000,     100'000'000,
    200'000'000, 500'000'000, 1'000'000'000, 2'000'000'000, 5'000'000'000, 10'000'000'000, 20'000'000'000, 50'000'000'000};

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

class PrometheusWriter {
 public:
  explicit PrometheusWriter(const Metrics& metrics) : metrics_(metrics), used_(metrics.tasks()) {}

  std::string take() { return std::move(out_); }

  /// What the samples that follow are of. A counter's name ends in _total.
  void begin(const char* name, const char* type, const char* help) {
    name_ = name;
    out_.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
  }

  /// `labels` are whole: task="...",outcome="...".
  void sample(std::string_view labels, uint64_t value, size_t places = 0) { sample("", labels, value, places); }

  template <class Function>
  void for_each_task(Function function) {
    std::string labels;
    for (uint32_t i = 0; i <= used_; ++i) {
      const TaskMetrics& task = i == used_ ? metrics_.other() : metrics_.task_at(i);
      labels = "task=\"";
      append_escaped(labels, task.name());
      labels += '"';
      function(task, labels);
    }
  }

  void histogram(std::string_view labels, const Histogram& histogram) {
    std::array<uint64_t, kLatencyEdges.size()> counts{};
    const uint64_t total = histogram.cumulative(kLatencyEdges, counts);
    for (size_t i = 0; i < counts.size(); ++i) {
      edge_.clear();
      append_decimal(edge_, kLatencyEdges[i], kNanoPlaces);
      bucket(labels, edge_, counts[i]);
    }
    end_histogram(labels, total, histogram.sum(), kNanoPlaces);
  }

  void histogram(const SizeHistogram& histogram) {
    std::array<uint64_t, SizeHistogram::kEdges> counts{};
    const uint64_t total = histogram.cumulative(counts);
    for (uint32_t i = 0; i < counts.size(); ++i) bucket({}, std::to_string(SizeHistogram::edge(i)), counts[i]);
    end_histogram({}, total, histogram.sum(), 0);
  }

 private:
  void sample(const char* suffix, std::string_view labels, uint64_t value, size_t places) {
    out_.append(name_).append(suffix);
    if (!labels.empty()) out_.append("{").append(labels).append("}");
    out_ += ' ';
    append_decimal(out_, value, places);
    out_ += '\n';
  }

  void bucket(std::string_view labels, std::string_view edge, uint64_t count) {
    bucket_labels_.assign(labels);
    if (!labels.empty()) bucket_labels_ += ',';
    bucket_labels_.append("le=\"").append(edge).append("\"");
    sample("_bucket", bucket_labels_, count, 0);
  }

  void end_histogram(std::string_view labels, uint64_t count, uint64_t sum, size_t places) {
    bucket(labels, "+Inf", count);
    sample("_sum", labels, sum, places);
    sample("_count", labels, count, 0);
  }

  const Metrics& metrics_;
  uint32_t used_;  ///< read once, so that every family has the same tasks
  std::string out_;
  const char* name_ = "";
  std::string edge_, bucket_labels_;
};

void write_queries(PrometheusWriter& out) {
  // What ended first, then what was submitted: a difference of the two is never short.
  out.begin("pets_queries_total", "counter", "Queries that ended, by outcome; refused ones were never accepted.");
  out.for_each_task([&](const TaskMetrics& task, const std::string& labels) {
    for (uint32_t i = 0; i < kOutcomes; ++i) {
      const auto outcome = static_cast<Outcome>(i);
      out.sample(labels + ",outcome=\"" + std::string(outcome_name(outcome)) + '"', task.count(outcome));
    }
  });
  out.begin("pets_queries_submitted_total", "counter", "Queries accepted into the queue.");
  out.for_each_task([&](const TaskMetrics& task, const std::string& labels) { out.sample(labels, task.submitted()); });
  out.begin("pets_tokens_total", "counter", "Tokens of queries that ran, special ones included.");
  out.for_each_task([&](const TaskMetrics& task, const std::string& labels) { out.sample(labels, task.tokens()); });
  out.begin("pets_queue_wait_seconds", "histogram", "Time from submission until a batch took the query or it was dropped.");
  out.for_each_task([&](const TaskMetrics& task, const std::string& labels) { out.histogram(labels, task.wait()); });
  out.begin("pets_query_latency_seconds", "histogram", "Time from submission to the answer, of answered queries.");
  out.for_each_task([&](const TaskMetrics& task, const std::string& labels) { out.histogram(labels, task.latency()); });
}

void write_batches(PrometheusWriter& out, const Metrics& metrics) {
  const auto counter = [&](const char* name, const char* help, uint64_t value, size_t places) {
    out.begin(name, "counter", help);
    out.sample({}, value, places);
  };
  const BatchMetrics& batches = metrics.batches();
  out.begin("pets_queue_length", "gauge", "Queries that wait, as last reported.");
  out.sample({}, metrics.queue_length());
  counter("pets_batches_total", "Batches that ran.", batches.queries.count(), 0);
  out.begin("pets_batch_queries", "histogram", "Queries in a batch.");
  out.histogram(batches.queries);
  out.begin("pets_batch_rows", "histogram", "Rows (tokens and padding) in a batch.");
  out.histogram(batches.rows);
  out.begin("pets_batch_tasks", "histogram", "Different tasks in a batch.");
  out.histogram(batches.tasks);
  counter("pets_padded_rows_total", "Rows that were padding.", batches.padded_rows.load(std::memory_order_relaxed), 0);
  counter("pets_busy_seconds_total", "Time in which a batch ran.", batches.busy_ns.load(std::memory_order_relaxed), kNanoPlaces);
  counter("pets_predicted_seconds_total", "Time that the cost model predicted for the batches that ran.",
          batches.predicted_ns.load(std::memory_order_relaxed), kNanoPlaces);
  counter("pets_predicted_pet_seconds_total", "The part of pets_predicted_seconds_total in operators of single tasks.",
          batches.pet_ns.load(std::memory_order_relaxed), kNanoPlaces);
}

void write_process(PrometheusWriter& out) {
  const ProcessUsage usage = process_usage();
  out.begin("pets_page_faults_total", "counter", "Page faults of the process: minor from memory, major from a file or swap.");
  out.sample("kind=\"minor\"", usage.minor_page_faults);
  out.sample("kind=\"major\"", usage.major_page_faults);
  out.begin("pets_resident_memory_bytes", "gauge", "Resident memory of the process.");
  out.sample({}, usage.resident_bytes);
}

}  // namespace

std::string prometheus_text(const Metrics& metrics) {
  PrometheusWriter out(metrics);
  write_queries(out);
  write_batches(out, metrics);
  write_process(out);
  return out.take();
}

}  // namespace pets::serving
