// The paper's scheduling of PET operators (Zhou et al., "PetS", USENIX ATC 2022, section 5.3): each task's operators are launches of their
// own, and tasks are spread over concurrent streams. Here to be compared with grouped launches.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/cuda/batch_tables.h"
#include "runtime/engine/task_set.h"

namespace pets::cuda {

/// Of one batch. Tasks go to the stream with the fewest rows so far, those with the most rows first (Graham 1969: the longest stream has at
/// most 4/3 of the best schedule's rows).
class StreamSchedule {
 public:
  struct Task {
    const engine::TaskWeights* weights = nullptr;
    uint32_t stream = 0;
  };

  /// Tasks of up to `slots` slots on 1 to kMostStreams streams. Allocates; nothing below does.
  StreamSchedule(uint32_t streams, uint32_t slots, uint32_t queries);
  /// Of a grouped batch. `slots`: of each sequence. `host`: the batch's tables on the host.
  void plan(const engine::PackedBatch& batch, const uint16_t* slots, const BatchTables& host);

  uint32_t streams() const { return static_cast<uint32_t>(load_.size()); }
  const Task& task(uint16_t slot) const { return tasks_[slot]; }
  const RowTables& rows(Stage stage) const { return host_->rows[stage]; }

 private:
  struct Work {
    uint32_t rows = 0;
    uint16_t slot = 0;
  };
  std::vector<Task> tasks_;  // by slot
  std::vector<Work> work_;
  std::vector<uint64_t> load_;  // rows by stream
  const BatchTables* host_ = nullptr;
};

}  // namespace pets::cuda
