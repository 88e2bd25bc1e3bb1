#include "runtime/cuda/stream_schedule.h"

#include <algorithm>

namespace pets::cuda {

StreamSchedule::StreamSchedule(uint32_t streams, uint32_t slots, uint32_t queries) : tasks_(slots), load_(streams) {
  work_.reserve(queries);
}

void StreamSchedule::plan(std::span<const engine::Sequence> sequences, const uint16_t* slots, const BatchTables& host) {
  host_ = &host;
  work_.clear();
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (s == 0 || slots[s] != slots[s - 1]) {
      work_.push_back({0, slots[s]});
      tasks_[slots[s]].weights = &sequences[s].task->weights;
    }
    work_.back().rows += sequences[s].rows;
  }
  std::sort(work_.begin(), work_.end(), [](const Work& a, const Work& b) { return a.rows != b.rows ? a.rows > b.rows : a.slot < b.slot; });
  std::fill(load_.begin(), load_.end(), uint64_t{0});
  for (const Work& work : work_) {
    const auto least = std::min_element(load_.begin(), load_.end());
    *least += work.rows;
    tasks_[work.slot].stream = static_cast<uint32_t>(least - load_.begin());
  }
}

}  // namespace pets::cuda
