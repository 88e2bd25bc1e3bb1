#include "runtime/bundle/checksum.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

// At -O2 gcc leaves the inner loop of XXH3 rolled: 1.5 to 2 times as slow on a Xeon.
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__)
#pragma GCC optimize("O3")
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pets::bundle {
namespace {

constexpr uint64_t kBytesWorthAThread = uint64_t{8} << 20;  // a thread costs about 50 us, 8 MiB about 500 us
constexpr unsigned kMaxThreads = 4;                         // beyond it the memory, not the cores, is the limit

}  // namespace

uint64_t checksum(std::span<const std::byte> bytes) noexcept { return XXH3_64bits(bytes.data(), bytes.size()); }

std::vector<uint64_t> checksums(const std::vector<std::span<const std::byte>>& ranges) {
  std::vector<uint64_t> results(ranges.size());
  uint64_t total = 0;
  for (const auto& range : ranges) total += range.size();
  std::atomic<size_t> next{0};
  const auto work = [&]() noexcept {
    for (size_t i = next.fetch_add(1); i < ranges.size(); i = next.fetch_add(1)) results[i] = checksum(ranges[i]);
  };
  const uint64_t wanted = std::min<uint64_t>({total / kBytesWorthAThread, std::thread::hardware_concurrency(), kMaxThreads, ranges.size()});
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

}  // namespace pets::bundle
