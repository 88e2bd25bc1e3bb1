// The seam between the engine and a backend that computes the encoder on a device of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "pets/status.h"
#include "runtime/engine/batch.h"
#include "runtime/engine/encoder.h"
#include "runtime/engine/weights.h"

namespace pets::engine {

/// One session's encoder on a device: its activations, its tasks, its queue of work.
class DeviceEncoder {
 public:
  virtual ~DeviceEncoder() = default;
  /// Does what Encoder::run does: fills `hidden` (EncoderBuffers::hidden, in strips) with the last hidden state of every row that a head
  /// reads; `batch` has only those rows afterwards. Returns when `hidden` is filled. After kInternal, an error of
  /// the device, the encoder refuses further work; other errors are of some task of the batch.
  virtual Status run(PackedBatch& batch, const tokenizer::Token* tokens, float* hidden) noexcept = 0;
  /// Of device memory that this session took.
  virtual uint64_t device_bytes() const noexcept = 0;
};

/// A base's weights on a device. Shared by sessions; immutable.
class DeviceBase {
 public:
  virtual ~DeviceBase() = default;
  virtual std::string_view device_name() const noexcept = 0;
  /// Of device memory that was taken: nothing for weights that are read where the bundle lies.
  virtual uint64_t device_bytes() const noexcept = 0;
  /// As Model's.
  virtual WeightMemory weight_memory() const noexcept = 0;
  virtual std::string_view weight_memory_reason() const noexcept = 0;
  /// Of device memory that a task's values take.
  virtual uint64_t task_bytes(const TaskWeights& task) const noexcept = 0;
  virtual Result<std::unique_ptr<DeviceEncoder>> make_encoder(const EncoderCapacity& capacity) const noexcept = 0;
};

/// Brings a base to the CUDA device: a copy, or what `memory` says. Fails where this build has no CUDA backend, this machine has no device
/// that it can use or none with that memory, or the base does not fit. `base` and the bundle must outlive the result.
Result<std::shared_ptr<const DeviceBase>> open_cuda(const BaseWeights& base, WeightMemory memory) noexcept;

}  // namespace pets::engine
