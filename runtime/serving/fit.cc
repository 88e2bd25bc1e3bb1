#include "runtime/serving/fit.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "runtime/engine/session_impl.h"

namespace pets::serving {
namespace {

using Clock = std::chrono::steady_clock;

/// What a family's unit of work takes, in multiply-adds of the shared encoder. Seen by pets-bench profile on an EPYC with AVX2, MiniLM's
/// shape, float32, one thread.
struct FamilyFactor {
  OperatorFamily family;
  double per_row;  ///< for every row
  double fixed;    ///< once a batch, in rows
};
constexpr FamilyFactor kFactors[] = {
    {OperatorFamily::kBias, 2, 300},        // a start of its own for every output of a strip
    {OperatorFamily::kNorm, 2, 150},        // a segment more in a norm that is computed anyway
    {OperatorFamily::kLowRank, 0.8, 24},    // whole strips, thin products
    {OperatorFamily::kSparse, 3.5, 110},    // a strip's gather a weight
    {OperatorFamily::kMask, 0.03, 18},      // in place of the dense product, which partly masked strips need, too
    {OperatorFamily::kScale, 12, 250},      // a pass over inputs or outputs
    {OperatorFamily::kBottleneck, 1, 28}};  // whole strips, gathered and put back

/// The fastest of `rounds` runs, in seconds; 0 where a query fails.
double fastest(Session::Impl& session, std::span<const engine::PreparedQuery> queries, int rounds) {
  double best = std::numeric_limits<double>::infinity();
  bool failed = false;
  for (int round = 0; round < rounds; ++round) {
    const auto start = Clock::now();
    session.run_prepared(
        queries, [](void* context, size_t, const Answer& answer) { *static_cast<bool*>(context) |= !answer.status.is_ok(); }, &failed);
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return failed ? 0 : best;
}

/// Multiply-adds of the linears for one row.
double linear_work(const engine::BaseWeights& base) {
  const double hidden = base.hidden;
  return base.layers * (4 * hidden * hidden + 2 * hidden * base.intermediate);
}

}  // namespace

std::vector<BetaPoint> usual_beta(const engine::BaseWeights& base, double seconds, double multiply_adds) {
  std::vector<BetaPoint> points;
  const double rate = seconds / multiply_adds;
  // Two sizes and two numbers of rows determine the plane through the origin.
  for (const FamilyFactor& factor : kFactors) {
    for (const double work : {1.0 * base.hidden, 64.0 * base.hidden}) {
      for (const uint32_t rows : {1U, 256U})
        points.push_back({factor.family, work, rows, rate * work * (factor.fixed + factor.per_row * rows)});
    }
  }
  return points;
}

LatencyTable fit_at_load(Session::Impl& session, double seconds) {
  constexpr uint32_t kShort = 16, kLong = 128, kMostMeasured = 2048;
  const engine::BaseWeights& base = session.internals.base;
  LatencyTable table;
  table.key = key_of(session);

  const std::vector<engine::TaskLayer> unchanged(base.layers);
  engine::Task task;  // changes nothing and answers nothing: its head is the base's pooler, or only the first token
  task.weights.layer = unchanged.data();
  task.weights.head.type = schema::HeadType::kEmbedding;
  task.weights.head.pooling = base.pooler.panels != nullptr ? schema::Pooling::kPooler : schema::Pooling::kCls;
  task.info.head = HeadType::kEmbedding;

  const uint32_t most_rows = std::min(session.capacity.tokens, kMostMeasured);
  const std::vector<tokenizer::Token> tokens(std::min({kLong, base.positions, most_rows}));
  std::vector<engine::PreparedQuery> queries;
  const auto start = Clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  double last = 0;  // of the size before
  for (uint32_t rows = std::min(kShort, most_rows), sizes = 0; rows <= most_rows; rows *= 2, ++sizes) {
    if (sizes >= 2 && spent() + 2 * 2 * last > seconds) break;
    for (const uint32_t wanted : {kShort, kLong}) {
      const uint32_t length = std::min<uint32_t>({wanted, rows, static_cast<uint32_t>(tokens.size())});
      // Long queries tell what attention takes: few of them do.
      if (wanted == kLong && (length <= kShort || (sizes > 3 && spent() + 4 * last > seconds))) continue;
      engine::PreparedQuery query;
      query.task = &task;
      query.tokens = std::span(tokens).first(length);
      queries.assign(std::min(rows / length, session.capacity.queries), query);
      if (sizes == 0) (void)fastest(session, queries, 1);  // touches the weights' pages and wakes the pool
      const double measured = fastest(session, queries, 2);
      if (!(measured > 0)) continue;
      table.alpha.push_back({static_cast<uint32_t>(queries.size()), length, measured});
      if (wanted == kShort) last = measured;
    }
  }
  // The rate is that of the last rows that were added: what a batch that is there already takes more.
  const auto rows_of = [](const AlphaPoint& point) { return static_cast<double>(point.queries) * point.length; };
  if (table.alpha.empty()) return table;
  const auto order = [&](const AlphaPoint& a, const AlphaPoint& b) { return rows_of(a) < rows_of(b); };
  const auto [least, most] = std::minmax_element(table.alpha.begin(), table.alpha.end(), order);
  double row_seconds = most->seconds / rows_of(*most);
  if (rows_of(*most) > rows_of(*least) && most->seconds > least->seconds) {
    row_seconds = (most->seconds - least->seconds) / (rows_of(*most) - rows_of(*least));
  }
  table.beta = usual_beta(base, row_seconds, linear_work(base));
  return table;
}

LatencyTable nominal_table(const Session::Impl& session) {
  constexpr double kRate = 2e10;    // multiply-adds a second and thread: a core of 2020
  constexpr double kStartRows = 8;  // of a batch
  LatencyTable table;
  const double work = linear_work(session.internals.base);
  const double row_seconds = work / (kRate * session.capacity.threads);
  for (const uint32_t queries : {1U, 64U}) table.alpha.push_back({queries, 32, row_seconds * (32 * queries + kStartRows)});
  table.beta = usual_beta(session.internals.base, row_seconds, work);
  return table;
}

}  // namespace pets::serving
