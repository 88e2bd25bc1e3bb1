// What a Model holds; the session and the planner look inside.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "pets/model.h"
#include "runtime/engine/device_encoder.h"
#include "runtime/engine/task_set.h"
#include "runtime/engine/weights.h"
#include "runtime/tokenizer/tokenizer.h"

namespace pets {

class Model::Impl {
 public:
  const kernels::KernelTable* kernels = nullptr;
  ModelOptions options;
  std::shared_ptr<engine::MemoryCounters> memory = std::make_shared<engine::MemoryCounters>();
  std::atomic<uint64_t> session_bytes{0};         ///< arenas of living sessions
  std::atomic<uint64_t> session_device_bytes{0};  ///< their memory on the device
  std::shared_ptr<const engine::LoadedFile> base_file;
  engine::BaseWeights base;
  std::shared_ptr<const engine::DeviceBase> device;  ///< null: the encoder runs on the CPU
  bundle::Dimensions dimensions;
  std::string fingerprint;
  tokenizer::WordPieceTokenizer tokenizer;
  bool has_tokenizer = false;
  engine::TaskSetCell tasks;

  mutable std::mutex quarantine_mutex;
  std::vector<Model::Quarantined> quarantine;

  uint64_t device_bytes() const { return (device == nullptr ? 0 : device->base_bytes()) + session_device_bytes; }
  uint64_t used_bytes() const { return memory->mapped + memory->tables + session_bytes + device_bytes(); }
};

namespace engine {

/// The instruction set that PETS_ISA names, or the best one.
Result<const kernels::KernelTable*> select_kernels() noexcept;

/// Bytes of the tables of one file; `base` null: the file's own base is counted too and used, with what `backend` repacks of it.
uint64_t count_tables(const bundle::BundleFile& file, const BaseWeights* base, Backend backend = Backend::kCpu);

}  // namespace engine
}  // namespace pets
