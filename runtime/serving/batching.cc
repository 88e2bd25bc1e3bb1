#include "runtime/serving/batching.h"

#include <algorithm>

#include "runtime/serving/fixed_batching.h"
#include "runtime/serving/packed_batching.h"
#include "runtime/serving/padded_batching.h"

namespace pets {
namespace {

constexpr std::string_view kStrategyNames[] = {"packed", "coordinated", "alpha", "beta", "fixed"};

}  // namespace

std::string_view strategy_name(Strategy strategy) noexcept { return kStrategyNames[static_cast<std::size_t>(strategy)]; }

bool parse_strategy(std::string_view name, Strategy* strategy) noexcept {
  const auto* found = std::find(std::begin(kStrategyNames), std::end(kStrategyNames), name);
  if (found == std::end(kStrategyNames)) return false;
  *strategy = static_cast<Strategy>(found - std::begin(kStrategyNames));
  return true;
}

namespace serving {

void BatchSum::add(const Item& item) {
  const uint32_t length = std::max(item.length, padded_length_);
  // A fan-out's rows beyond its length come on top of the padding.
  const uint32_t rows = padded_length_ == 0 ? item.rows : length + std::max(item.rows, item.length) - item.length;
  shape_.rows += rows;
  ++shape_.queries;
  shape_.pairs += static_cast<double>(rows) * length;
  pet_seconds_ += item.cost.per_row * rows + (last_task_ == item.task ? 0 : item.cost.fixed);
  last_task_ = item.task;
}

std::unique_ptr<BatchingStrategy> make_strategy(Strategy strategy, const BatchingOptions& options) {
  switch (strategy) {
    case Strategy::kFixed:
      return std::make_unique<FixedBatching>(options);
    case Strategy::kBeta:
    case Strategy::kAlpha:
    case Strategy::kCoordinated:
      return std::make_unique<PaddedBatching>(strategy, options);
    case Strategy::kPacked:
      break;
  }
  return std::make_unique<PackedBatching>(options);
}

}  // namespace serving
}  // namespace pets
