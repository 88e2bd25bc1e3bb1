#include "runtime/bundle/checksum.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/platform/processors.h"

namespace pets::bundle {
namespace {

using Bytes = std::span<const std::byte>;

constexpr uint64_t kBytesWorthAThread = uint64_t{8} << 20;  // a thread costs about 50 us, 8 MiB about 500 us
constexpr unsigned kMaxThreads = 4;                         // beyond it the memory, not the cores, is the limit

std::vector<uint64_t> checksums_of(const std::vector<Bytes>& ranges) {
  std::vector<uint64_t> results(ranges.size());
  uint64_t total = 0;
  for (const auto& range : ranges) total += range.size();
  std::atomic<size_t> next{0};
  const auto work = [&]() noexcept {
    for (size_t i = next.fetch_add(1); i < ranges.size(); i = next.fetch_add(1)) results[i] = checksum(ranges[i]);
  };
  const uint64_t wanted = std::min<uint64_t>({total / kBytesWorthAThread, usable_processors(), kMaxThreads, ranges.size()});
  std::vector<std::thread> helpers;
  helpers.reserve(kMaxThreads);
  for (uint64_t i = 1; i < wanted; ++i) {
    try {
      helpers.emplace_back(work);
    } catch (const std::system_error&) {
      break;  // no thread to be had: this one does it all
    }
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  return results;
}

}  // namespace

uint64_t checksum(Bytes bytes) noexcept { return XXH3_64bits(bytes.data(), bytes.size()); }

std::vector<uint64_t> segment_checksums(const std::vector<Bytes>& segments) {
  std::vector<Bytes> parts;
  for (const Bytes& segment : segments) {
    size_t at = 0;
    do {
      parts.push_back(segment.subspan(at, std::min(kChecksumPart, segment.size() - at)));
      at += kChecksumPart;
    } while (at < segment.size());
  }
  const std::vector<uint64_t> found = checksums_of(parts);
  std::vector<uint64_t> results;
  results.reserve(segments.size());
  const uint64_t* next = found.data();
  for (const Bytes& segment : segments) {
    const size_t count = std::max<size_t>(1, (segment.size() + kChecksumPart - 1) / kChecksumPart);
    results.push_back(count == 1 ? *next : checksum(std::as_bytes(std::span(next, count))));
    next += count;
  }
  return results;
}

uint64_t segment_checksum(Bytes segment) { return segment_checksums({segment})[0]; }

}  // namespace pets::bundle
