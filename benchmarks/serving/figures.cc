#include "benchmarks/serving/figures.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pets::benchmarks {

double quantile(std::span<const double> sorted, double q) {
  const double rank = std::ceil(q * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::clamp(rank, 1.0, static_cast<double>(sorted.size()))) - 1];
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.empty() ? 0 : values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Figures summarize(const Trace& trace, std::span<const QueryEnd> ends, const BatchSums& batches) {
  Figures figures;
  figures.queries = ends.size();
  std::vector<double> latencies;
  double first = std::numeric_limits<double>::infinity(), last = 0, sum = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    const QueryEnd& end = ends[i];
    first = std::min(first, end.arrival_seconds);
    last = std::max(last, end.seconds);
    figures.expired += end.outcome == Outcome::kExpired ? 1 : 0;
    figures.refused += end.outcome == Outcome::kRefused ? 1 : 0;
    figures.shed += end.outcome == Outcome::kShed ? 1 : 0;
    if (end.outcome != Outcome::kAnswered) continue;
    const double latency = end.seconds - end.arrival_seconds, deadline = trace.arrivals[i].deadline_seconds;
    figures.late += deadline > 0 && latency > deadline ? 1 : 0;
    latencies.push_back(latency);
    sum += latency;
  }
  figures.answered = latencies.size();
  figures.seconds = ends.empty() ? 0 : last - first;
  if (!latencies.empty()) {
    std::sort(latencies.begin(), latencies.end());
    figures.mean = sum / static_cast<double>(latencies.size());
    figures.p50 = quantile(latencies, 0.50);
    figures.p95 = quantile(latencies, 0.95);
    figures.p99 = quantile(latencies, 0.99);
    figures.most = latencies.back();
  }
  figures.batches = batches.batches;
  if (batches.batches != 0) {
    figures.batch_rows = static_cast<double>(batches.rows) / static_cast<double>(batches.batches);
    figures.batch_queries = static_cast<double>(batches.queries) / static_cast<double>(batches.batches);
  }
  if (batches.rows != 0) figures.padding_share = static_cast<double>(batches.padded_rows) / static_cast<double>(batches.rows);
  if (figures.seconds > 0) {
    figures.throughput = static_cast<double>(figures.answered) / figures.seconds;
    figures.busy_share = batches.busy_seconds / figures.seconds;
  }
  return figures;
}

Figures medians(std::span<const Figures> rounds) {
  Figures result;
  const auto each = [&]<typename T>(T Figures::*field) {
    std::vector<double> values;
    for (const Figures& round : rounds) values.push_back(static_cast<double>(round.*field));
    result.*field = static_cast<T>(median(std::move(values)));
  };
  for (const auto field :
       {&Figures::queries, &Figures::answered, &Figures::expired, &Figures::late, &Figures::refused, &Figures::shed, &Figures::batches}) {
    each(field);
  }
  for (const auto field :
       {&Figures::throughput, &Figures::mean, &Figures::p50, &Figures::p95, &Figures::p99, &Figures::most, &Figures::seconds,
        &Figures::batch_rows, &Figures::batch_queries, &Figures::padding_share, &Figures::busy_share}) {
    each(field);
  }
  return result;
}

}  // namespace pets::benchmarks
