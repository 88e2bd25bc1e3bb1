#include "runtime/serving/metrics.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <functional>
#include <new>

#include "runtime/bundle/text.h"
#include "runtime/memory/arena.h"
#include "runtime/serving/decimal.h"

namespace pets::serving {

std::string_view outcome_name(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::kAnswered:
      return "answered";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kDeadlineMissed:
      return "deadline_missed";
    case Outcome::kRefused:
      return "refused";
  }
  return "?";
}

uint64_t TaskMetrics::count(Outcome outcome) const noexcept {
  const auto& counter = outcome == Outcome::kRefused ? refused_ : ended_[static_cast<size_t>(outcome)];
  return counter.load(std::memory_order_acquire);  // see on_answer
}

/// Where things lie in the block; the same code counts its bytes.
struct Metrics::Layout {
  Layout(memory::Arena& arena, uint32_t max_tasks)
      : table_size(std::bit_ceil(2 * (size_t{max_tasks} + 1))),
        tasks(arena.array<TaskMetrics>(size_t{max_tasks} + 1)),
        table(arena.array<std::atomic<uint32_t>>(table_size)) {}

  size_t table_size;
  TaskMetrics* tasks;
  std::atomic<uint32_t>* table;
};

void Metrics::Memory::operator()(std::byte* data) const noexcept { ::operator delete (data, std::align_val_t{memory::kCacheLine}); }

uint64_t Metrics::bytes_needed(uint32_t max_tasks) noexcept {
  memory::Arena arena;
  const Layout layout(arena, max_tasks);
  return sizeof(Metrics) + arena.used();
}

Result<std::unique_ptr<Metrics>> Metrics::create(uint32_t max_tasks) noexcept {
  if (max_tasks > kMostTasks) {
    return Status::error(ErrorCode::kInvalidArgument, "metrics: expected at most %u tasks, found %u", kMostTasks, max_tasks);
  }
  const size_t size = bytes_needed(max_tasks) - sizeof(Metrics);
  Block block(static_cast<std::byte*>(::operator new (size, std::align_val_t{memory::kCacheLine}, std::nothrow)));
  std::unique_ptr<Metrics> metrics(block == nullptr ? nullptr : new (std::nothrow) Metrics(max_tasks, std::move(block)));
  if (metrics == nullptr) return Status::error(ErrorCode::kResourceExhausted, "cannot allocate the metrics of %u tasks", max_tasks);
  return metrics;
}

Metrics::Metrics(uint32_t max_tasks, Block block) noexcept : max_tasks_(max_tasks), block_(std::move(block)) {
  memory::Arena arena(block_.get(), bytes_needed(max_tasks) - sizeof(Metrics));
  const Layout layout(arena, max_tasks);
  tasks_ = layout.tasks;
  table_ = layout.table;
  table_mask_ = layout.table_size - 1;
  for (size_t i = 0; i < layout.table_size; ++i) ::new (&table_[i]) std::atomic<uint32_t>(0);
  static_assert(TaskMetrics::kMaxName == bundle::kMaxNameBytes);
  constexpr std::string_view kOther = "other";
  TaskMetrics* const shared = ::new (&tasks_[max_tasks]) TaskMetrics;
  shared->name_length_ = static_cast<uint32_t>(kOther.copy(shared->name_.data(), TaskMetrics::kMaxName));
  table_[std::hash<std::string_view>()(kOther) & table_mask_].store(max_tasks + 1, std::memory_order_relaxed);
}

Metrics::~Metrics() = default;  // what lies in the block has nothing to destroy

TaskMetrics* Metrics::find(std::string_view name, size_t hash) noexcept {
  for (size_t at = hash & table_mask_;; at = (at + 1) & table_mask_) {
    const uint32_t entry = table_[at].load(std::memory_order_acquire);
    if (entry == 0) return nullptr;
    if (tasks_[entry - 1].name() == name) return &tasks_[entry - 1];
  }
}

TaskMetrics& Metrics::claim(std::string_view name, size_t hash) noexcept {
  const std::lock_guard lock(claiming_);
  if (TaskMetrics* const found = find(name, hash)) return *found;  // by another thread, while this one waited
  const uint32_t index = used_.load(std::memory_order_relaxed);
  if (index == max_tasks_) return other();
  TaskMetrics* const task = ::new (&tasks_[index]) TaskMetrics;
  task->name_length_ = static_cast<uint32_t>(name.copy(task->name_.data(), TaskMetrics::kMaxName));
  size_t at = hash & table_mask_;
  while (table_[at].load(std::memory_order_relaxed) != 0) at = (at + 1) & table_mask_;
  table_[at].store(index + 1, std::memory_order_release);  // publishes the slot to find()
  used_.store(index + 1, std::memory_order_release);       // and to reports
  return *task;
}

TaskMetrics& Metrics::task(std::string_view name) noexcept {
  const size_t hash = std::hash<std::string_view>()(name);
  if (TaskMetrics* const found = find(name, hash)) return *found;
  if (name.size() > TaskMetrics::kMaxName || used_.load(std::memory_order_acquire) == max_tasks_) return other();
  return claim(name, hash);
}

void Metrics::on_answer(TaskMetrics& task, Outcome outcome, uint64_t wait_ns, uint64_t latency_ns, uint64_t tokens) noexcept {
  if (outcome == Outcome::kRefused) return on_refuse(task);
  task.ended_[static_cast<size_t>(outcome)].fetch_add(1, std::memory_order_release);  // whoever sees it sees its submission, too
  if (tokens != 0) task.tokens_.fetch_add(tokens, std::memory_order_relaxed);
  task.wait_.record(wait_ns);
  if (outcome == Outcome::kAnswered) task.latency_.record(latency_ns);
}

void Metrics::on_batch(const BatchRecord& record) noexcept {
  const auto add = [](std::atomic<uint64_t>& to, uint64_t more) { to.fetch_add(more, std::memory_order_relaxed); };
  on_queue_length(record.queue_length);
  batches_.queries.record(record.queries);
  batches_.rows.record(record.rows);
  batches_.tasks.record(record.tasks);
  add(batches_.padded_rows, record.padded_rows);
  add(batches_.busy_ns, record.end_ns - std::min(record.start_ns, record.end_ns));
  add(batches_.predicted_ns, nanoseconds_of(record.predicted_seconds));
  add(batches_.pet_ns, nanoseconds_of(record.pet_seconds));
}

namespace {

double seconds_of(uint64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

LatencySummary summarize(const Histogram& histogram) {
  Histogram still;  // so that all numbers are of the same records
  still.merge(histogram);
  LatencySummary summary;
  summary.count = still.count();
  if (summary.count == 0) return summary;
  summary.mean_seconds = seconds_of(still.sum()) / static_cast<double>(summary.count);
  summary.p50_seconds = seconds_of(still.quantile(0.50));
  summary.p95_seconds = seconds_of(still.quantile(0.95));
  summary.p99_seconds = seconds_of(still.quantile(0.99));
  summary.max_seconds = seconds_of(still.max());
  return summary;
}

SizeSummary summarize(const SizeHistogram& histogram) {
  SizeSummary summary;
  summary.count = histogram.count();
  if (summary.count != 0) summary.mean = static_cast<double>(histogram.sum()) / static_cast<double>(summary.count);
  summary.max = histogram.max();
  return summary;
}

QueryCounts query_counts(const TaskMetrics& task) {
  QueryCounts counts;  // ends before submissions: what ended was submitted
  counts.answered = task.count(Outcome::kAnswered);
  counts.failed = task.count(Outcome::kFailed);
  counts.cancelled = task.count(Outcome::kCancelled);
  counts.deadline_missed = task.count(Outcome::kDeadlineMissed);
  counts.refused = task.count(Outcome::kRefused);
  counts.tokens = task.tokens();
  counts.submitted = task.submitted();
  return counts;
}

void add_counts(QueryCounts& to, const QueryCounts& more) {
  to.submitted += more.submitted;
  to.answered += more.answered;
  to.failed += more.failed;
  to.cancelled += more.cancelled;
  to.deadline_missed += more.deadline_missed;
  to.refused += more.refused;
  to.tokens += more.tokens;
}

bool is_used(const QueryCounts& counts) { return counts.submitted != 0 || counts.refused != 0; }

/// The second number of /proc/self/statm: resident pages.
uint64_t resident_pages() {
  const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  std::array<char, 128> text{};
  const ssize_t length = ::read(file, text.data(), text.size());
  (void)::close(file);
  const char* const end = text.data() + std::max<ssize_t>(length, 0);
  uint64_t pages = 0;
  const char* const space = std::find(static_cast<const char*>(text.data()), end, ' ');
  if (space != end) (void)std::from_chars(space + 1, end, pages);
  return pages;
}

}  // namespace

MetricsSnapshot Metrics::snapshot() const {
  MetricsSnapshot snapshot;
  Histogram all_waits, all_latencies;
  const auto add_task = [&](const TaskMetrics& task) {
    const QueryCounts counts = query_counts(task);
    if (&task == &other() && !is_used(counts)) return;
    add_counts(snapshot.queries, counts);
    all_waits.merge(task.wait());
    all_latencies.merge(task.latency());
    snapshot.tasks.push_back({std::string(task.name()), counts, summarize(task.wait()), summarize(task.latency())});
  };
  const uint32_t used = tasks();
  snapshot.tasks.reserve(used + 1);
  for (uint32_t i = 0; i < used; ++i) add_task(task_at(i));
  add_task(other());
  snapshot.wait = summarize(all_waits);
  snapshot.latency = summarize(all_latencies);

  const QueryCounts& queries = snapshot.queries;
  const uint64_t ended = queries.answered + queries.failed + queries.cancelled + queries.deadline_missed;
  snapshot.queries_in_flight = queries.submitted - std::min(ended, queries.submitted);
  snapshot.queue_length = queue_length();
  snapshot.batch_queries = summarize(batches_.queries);
  snapshot.batch_rows = summarize(batches_.rows);
  snapshot.batch_tasks = summarize(batches_.tasks);
  snapshot.batches = snapshot.batch_queries.count;
  snapshot.padded_rows = batches_.padded_rows.load(std::memory_order_relaxed);
  snapshot.busy_seconds = seconds_of(batches_.busy_ns.load(std::memory_order_relaxed));
  snapshot.predicted_seconds = seconds_of(batches_.predicted_ns.load(std::memory_order_relaxed));
  snapshot.pet_seconds = seconds_of(batches_.pet_ns.load(std::memory_order_relaxed));
  if (snapshot.predicted_seconds > 0) snapshot.pet_share = snapshot.pet_seconds / snapshot.predicted_seconds;

  const ProcessUsage usage = process_usage();
  snapshot.minor_page_faults = usage.minor_page_faults;
  snapshot.major_page_faults = usage.major_page_faults;
  snapshot.resident_bytes = usage.resident_bytes;
  return snapshot;
}

ProcessUsage process_usage() noexcept {
  ProcessUsage usage;
  struct rusage resources {};
  if (::getrusage(RUSAGE_SELF, &resources) == 0) {
    usage.minor_page_faults = static_cast<uint64_t>(resources.ru_minflt);
    usage.major_page_faults = static_cast<uint64_t>(resources.ru_majflt);
  }
  usage.resident_bytes = resident_pages() * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return usage;
}

}  // namespace pets::serving
