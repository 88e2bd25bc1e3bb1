#include "runtime/serving/batch_trace.h"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "runtime/serving/decimal.h"

namespace pets::serving {
namespace {

// Field by field, since a record has padding, whose bits are nobody's.
using Words = std::array<uint64_t, 7>;

Words pack(const BatchRecord& record) {
  const auto pair = [](uint32_t low, uint32_t high) { return low | uint64_t{high} << 32; };
  return {record.start_ns,
          record.end_ns,
          pair(record.queries, record.rows),
          pair(record.padded_rows, record.tasks),
          record.queue_length,
          std::bit_cast<uint64_t>(record.predicted_seconds),
          std::bit_cast<uint64_t>(record.pet_seconds)};
}

BatchRecord unpack(const Words& words) {
  BatchRecord record;
  record.start_ns = words[0];
  record.end_ns = words[1];
  record.queries = static_cast<uint32_t>(words[2]);
  record.rows = static_cast<uint32_t>(words[2] >> 32);
  record.padded_rows = static_cast<uint32_t>(words[3]);
  record.tasks = static_cast<uint32_t>(words[3] >> 32);
  record.queue_length = static_cast<uint32_t>(words[4]);
  record.predicted_seconds = std::bit_cast<double>(words[5]);
  record.pet_seconds = std::bit_cast<double>(words[6]);
  return record;
}

}  // namespace

Result<BatchTrace> BatchTrace::create(uint32_t capacity) noexcept {
  if (capacity > kMaxCapacity) {
    return Status::error(ErrorCode::kInvalidArgument, "trace: expected at most %u batches, found %u", kMaxCapacity, capacity);
  }
  BatchTrace trace;
  if (capacity != 0) {
    trace.entries_.reset(new (std::nothrow) Entry[capacity]);
    if (trace.entries_ == nullptr) return Status::error(ErrorCode::kResourceExhausted, "cannot allocate a trace of %u batches", capacity);
    trace.capacity_ = capacity;
  }
  return trace;
}

BatchTrace::BatchTrace(BatchTrace&& other) noexcept
    : entries_(std::move(other.entries_)),
      capacity_(std::exchange(other.capacity_, 0)),
      written_(other.written_.exchange(0, std::memory_order_relaxed)) {}

// A sequence lock without fences (ThreadSanitizer does not know them): words are released and acquired one by one. A reader that sees a
// word of a later record therefore also sees that record's odd version, and drops what it read.

void BatchTrace::record(const BatchRecord& record) noexcept {
  if (capacity_ == 0) return;
  const uint64_t number = written_.load(std::memory_order_relaxed);
  Entry& entry = entries_[number % capacity_];
  const Words words = pack(record);
  entry.version.store(2 * number + 1, std::memory_order_relaxed);
  for (size_t i = 0; i < kWords; ++i) entry.words[i].store(words[i], std::memory_order_release);
  entry.version.store(2 * number + 2, std::memory_order_release);
  written_.store(number + 1, std::memory_order_release);
}

std::vector<BatchRecord> BatchTrace::records() const {
  std::vector<BatchRecord> records;
  if (capacity_ == 0) return records;
  records.reserve(capacity_);
  const uint64_t end = written_.load(std::memory_order_acquire);
  for (uint64_t number = end - std::min<uint64_t>(end, capacity_); number < end; ++number) {
    const Entry& entry = entries_[number % capacity_];
    const uint64_t whole = 2 * number + 2;
    if (entry.version.load(std::memory_order_acquire) != whole) continue;
    Words words{};
    for (size_t i = 0; i < kWords; ++i) words[i] = entry.words[i].load(std::memory_order_acquire);
    if (entry.version.load(std::memory_order_relaxed) == whole) records.push_back(unpack(words));
  }
  return records;
}

namespace {

void append_key(std::string& out, const char* key) {
  out += ",\"";
  out += key;
  out += "\":";
}

void append_number(std::string& out, const char* key, uint64_t value) {
  append_key(out, key);
  out += std::to_string(value);
}

void append_microseconds(std::string& out, const char* key, uint64_t nanoseconds) {
  append_key(out, key);
  append_decimal(out, nanoseconds, 3);
}

void append_batch(std::string& out, const BatchRecord& record, uint64_t origin_ns) {
  const uint64_t start = record.start_ns - std::min(origin_ns, record.start_ns);
  out += R"(,
{"name":"batch","cat":"batch","ph":"X","pid":1,"tid":1)";
  append_microseconds(out, "ts", start);
  append_microseconds(out, "dur", record.end_ns - std::min(record.start_ns, record.end_ns));
  append_key(out, "args");
  out += "{\"queries\":" + std::to_string(record.queries);
  append_number(out, "rows", record.rows);
  append_number(out, "padded_rows", record.padded_rows);
  append_number(out, "tasks", record.tasks);
  append_microseconds(out, "predicted_us", nanoseconds_of(record.predicted_seconds));
  append_microseconds(out, "pet_us", nanoseconds_of(record.pet_seconds));
  out += R"(}},
{"name":"queue","ph":"C","pid":1)";
  append_microseconds(out, "ts", start);
  append_key(out, "args");
  out += "{\"queries\":" + std::to_string(record.queue_length) + "}}";
}

}  // namespace

std::string chrome_trace(std::span<const BatchRecord> records) {
  std::string out = R"({"displayTimeUnit":"ms","traceEvents":[
{"name":"process_name","ph":"M","pid":1,"args":{"name":"pets"}},
{"name":"thread_name","ph":"M","pid":1,"tid":1,"args":{"name":"batches"}})";
  for (const BatchRecord& record : records) append_batch(out, record, records.front().start_ns);
  out += "\n]}\n";
  return out;
}

}  // namespace pets::serving
