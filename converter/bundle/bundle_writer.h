// Packs a base and tasks into segments, and segments into a file that appears whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "converter/bundle/precision.h"
#include "converter/files/temporary_file.h"
#include "converter/model/base_model.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

/// A golden query and what the engine answered at packing.
struct Golden {
  std::string text, text_pair;
  bool has_text_pair = false;
  std::vector<int32_t> ids;
  std::vector<float> logits;
};

/// One segment ready to be written: its FlatBuffer followed by its tensors.
struct SegmentImage {
  std::string name;  // empty for the base
  std::vector<std::byte> bytes;
  uint64_t metadata_length = 0;
};

/// Tokens of a task that names no max_length: the smaller of the tokenizer's model_max_length and the base's positions.
uint32_t default_max_length(const BaseModel& base);

/// Reduced precisions refuse weights that they cannot hold, by name: those beyond the range of fp16 and bf16, and what is not finite.
/// int8 is for the CPU alone.
Result<SegmentImage> make_base_segment(const BaseModel& base, Precision precision, Target target = Target::kCpu);
/// `task` must have passed check_task; `precision` is that of the base which answered the goldens.
Result<SegmentImage> make_task_segment(const BaseModel& base, const PetTask& task, const std::vector<Golden>& goldens,
                                       Precision precision = Precision::kFloat32);

/// Writes a bundle (`base` null: a delta bundle) beside `path`, syncs it and renames it into place; on any error or signal-free exit the
/// target is untouched and the temporary file is removed.
Status write_bundle(const std::string& path, const SegmentImage* base, const std::vector<SegmentImage>& tasks,
                    const std::string& fingerprint);

/// The same up to the last step: the file is complete under its temporary name, and appears at `path` with `commit`.
Result<TemporaryFile> stage_bundle(const std::string& path, const SegmentImage* base, const std::vector<SegmentImage>& tasks,
                                   const std::string& fingerprint);

}  // namespace pets::converter
