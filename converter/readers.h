// Where sources enter: one function a format. Each accounts for every tensor and every configuration key of its source: consumed, known
// not to matter, or at its default; anything else is refused by name.
#pragma once

#include <string>

#include "converter/model/base_model.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

/// A Hugging Face directory: config.json, model.safetensors (or sharded with model.safetensors.index.json), tokenizer files.
Result<BaseModel> read_base(const std::string& directory);

/// What kind of PET a directory holds, by looking: "peft", "adapterhub", "checkpoint", "operators".
Result<std::string> detect_pet_format(const std::string& directory);

struct PetSource {
  std::string path;  // directory
  HeadRequest head;
  bool as_low_rank = false;  // checkpoint only
  uint32_t rank = 0;
};

/// Fills operators, head and source of the task (not name and max_length).
Result<PetTask> read_peft(const BaseModel& base, const PetSource& source);
Result<PetTask> read_adapterhub(const BaseModel& base, const PetSource& source);
Result<PetTask> read_checkpoint(const BaseModel& base, const PetSource& source);
Result<PetTask> read_operators(const BaseModel& base, const PetSource& source);
/// `format: none`: no operators; the head comes from the request alone (an embedding), or from the base directory's own classifier.
/// `source.path` is the base's directory; where it is empty, only an embedding can be made.
Result<PetTask> read_none(const BaseModel& base, const PetSource& source);

}  // namespace pets::converter
