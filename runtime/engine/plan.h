// What a session on a bundle needs, from the bundle's metadata alone.
#pragma once

#include <string>
#include <vector>

#include "pets/model.h"
#include "runtime/engine/encoder.h"

namespace pets::engine {

struct SessionPlan {
  Plan plan;
  EncoderCapacity capacity;
  uint32_t positions = 0;          ///< of the base
  size_t tokenizer_scratch = 0;    ///< bytes; 0: the bundle holds no tokenizer
  uint64_t device_base_bytes = 0;  ///< the base's part of plan.device_bytes
};

/// As pets::plan, which reports `plan` of it. May throw std::bad_alloc.
Result<SessionPlan> plan_session(const char* path, const ModelOptions& model, const SessionOptions& session,
                                 const std::vector<std::string>& delta_paths);

}  // namespace pets::engine
