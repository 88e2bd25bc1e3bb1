// The seam between the engine and a backend that computes encoder and heads on a device of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "pets/status.h"
#include "pets/types.h"
#include "runtime/engine/batch.h"
#include "runtime/engine/encoder.h"
#include "runtime/engine/heads.h"
#include "runtime/engine/weights.h"

namespace pets::engine {

/// One session's encoder and heads on a device: their activations, its tasks, its queue of work.
class DeviceEncoder {
 public:
  virtual ~DeviceEncoder() = default;
  /// Does what Encoder::run and Heads::run do: fills logits and logit_begin of `heads`; `batch` has only the rows that heads read
  /// afterwards. Returns when the logits are there. After kInternal, an error of the device, the encoder refuses further work; other
  /// errors are of some task of the batch.
  virtual Status run(PackedBatch& batch, const tokenizer::Token* tokens, const HeadBuffers& heads) noexcept = 0;
  /// Of device memory that this session took.
  virtual uint64_t device_bytes() const noexcept = 0;
  virtual const DeviceCounters& counters() const noexcept = 0;
};

/// Bytes of device memory, counted by the code that lays them out.
class DeviceLayout {
 public:
  virtual ~DeviceLayout() = default;
  /// Nothing for weights that are read where the bundle lies.
  virtual uint64_t base_bytes() const noexcept = 0;
  /// Of a task's values.
  virtual uint64_t task_bytes(const TaskWeights& task) const noexcept = 0;
  virtual uint64_t session_bytes(const EncoderCapacity& capacity) const noexcept = 0;
};

/// A base's weights on a device. Shared by sessions; immutable.
class DeviceBase : public DeviceLayout {
 public:
  virtual std::string_view device_name() const noexcept = 0;
  /// As Model's.
  virtual WeightMemory weight_memory() const noexcept = 0;
  virtual std::string_view weight_memory_reason() const noexcept = 0;
  virtual Result<std::unique_ptr<DeviceEncoder>> make_encoder(const EncoderCapacity& capacity) const noexcept = 0;
};

/// Brings a base to the CUDA device: a copy, or what `memory` says. Fails where this build has no CUDA backend, this machine has no device
/// that it can use or none with that memory, or the base does not fit. `base` and its bundle must outlive the result.
Result<std::shared_ptr<const DeviceBase>> open_cuda(const BaseWeights& base, WeightMemory memory) noexcept;
/// Counts for a base without using a device, which is only asked, where there is one, how it reads the host's memory. Fails as open_cuda
/// does, but for want of a device or of memory. `base` must outlive the result.
Result<std::unique_ptr<const DeviceLayout>> plan_cuda(const BaseWeights& base, WeightMemory memory) noexcept;

}  // namespace pets::engine
