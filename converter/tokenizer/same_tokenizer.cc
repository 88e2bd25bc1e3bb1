#include "converter/tokenizer/same_tokenizer.h"

#include "converter/files/message_text.h"
#include "runtime/platform/check.h"

namespace pets::converter {

Status check_same_tokenizer(const BaseModel& base, const std::string& directory) {
  if (!base.has_tokenizer) return Status::ok();
  if (!is_file(join_path(directory, "tokenizer.json")) && !is_file(join_path(directory, "vocab.txt"))) return Status::ok();
  PETS_ASSIGN_OR_RETURN(const HfTokenizer own, read_hf_tokenizer(directory));
  if (own.fingerprint_text == base.tokenizer.fingerprint_text) return Status::ok();
  return Status::error(ErrorCode::kMismatch, "%s: its tokenizer gives other ids than the base's (%zu and %zu entries, or other options)",
                       directory.c_str(), own.tables.vocabulary.size(), base.tokenizer.tables.vocabulary.size());
}

}  // namespace pets::converter
