#include "runtime/tokenizer/vocabulary.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstring>

#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"
#include "schema/bundle_generated.h"

namespace pets::tokenizer {
namespace {

// The bytes of a one-dimensional plain tensor, checked against the segment.
Result<std::span<const std::byte>> tensor_bytes(const schema::Tensor* tensor, schema::DataType dtype, uint32_t element, const char* name,
                                                std::span<const std::byte> segment) noexcept {
  const auto damaged = [&](const char* what) { return Status::error(ErrorCode::kDamaged, "tokenizer: %s: %s", name, what); };
  if (tensor == nullptr) return damaged("missing");
  if (tensor->dtype() != dtype) return damaged("wrong dtype");
  if (tensor->layout() != schema::Layout::kPlain) return damaged("wrong layout");
  const auto* shape = tensor->shape();
  if (shape == nullptr || shape->size() != 1) return damaged("not one-dimensional");
  if (tensor->offset() > segment.size() || tensor->length() > segment.size() - tensor->offset()) return damaged("outside the segment");
  if (tensor->length() % element != 0 || shape->Get(0) != tensor->length() / element) return damaged("length does not fit the shape");
  const auto bytes = segment.subspan(tensor->offset(), tensor->length());
  if (reinterpret_cast<uintptr_t>(bytes.data()) % element != 0) return damaged("misaligned");
  return bytes;
}

}  // namespace

uint64_t hash_entry(std::string_view entry) noexcept { return XXH3_64bits(entry.data(), entry.size()); }

Result<Vocabulary> Vocabulary::create(const schema::WordPiece& tables, std::span<const std::byte> segment) noexcept {
  using schema::DataType;
  PETS_ASSIGN_OR_RETURN(const auto bytes, tensor_bytes(tables.vocabulary_bytes(), DataType::kUInt8, 1, "vocabulary_bytes", segment));
  PETS_ASSIGN_OR_RETURN(const auto offsets, tensor_bytes(tables.vocabulary_offsets(), DataType::kUInt32, 4, "vocabulary_offsets", segment));
  PETS_ASSIGN_OR_RETURN(const auto slots, tensor_bytes(tables.vocabulary_slots(), DataType::kUInt32, 4, "vocabulary_slots", segment));
  const uint64_t offset_count = offsets.size() / 4, slot_count = slots.size() / 4;
  if (offset_count < 2 || offset_count - 1 > INT32_MAX) {
    return Status::error(ErrorCode::kDamaged, "tokenizer: vocabulary_offsets: %" PRIu64 " values", offset_count);
  }
  if (slot_count > UINT32_MAX || !std::has_single_bit(slot_count)) {
    return Status::error(ErrorCode::kDamaged, "tokenizer: vocabulary_slots: %" PRIu64 " slots, not a power of two", slot_count);
  }
  Vocabulary vocabulary;
  vocabulary.bytes_ = reinterpret_cast<const char*>(bytes.data());
  vocabulary.offsets_ = reinterpret_cast<const uint32_t*>(offsets.data());
  vocabulary.slots_ = reinterpret_cast<const uint32_t*>(slots.data());
  vocabulary.entries_ = static_cast<uint32_t>(offset_count - 1);
  vocabulary.slot_mask_ = static_cast<uint32_t>(slot_count - 1);
  PETS_RETURN_IF_ERROR(vocabulary.check_entries(bytes.size()));
  PETS_RETURN_IF_ERROR(vocabulary.check_slots());
  return vocabulary;
}

Status Vocabulary::check_entries(uint64_t bytes_length) noexcept {
  if (offsets_[0] != 0 || offsets_[entries_] != bytes_length) {
    return Status::error(ErrorCode::kDamaged, "tokenizer: vocabulary_offsets: do not cover vocabulary_bytes");
  }
  for (uint32_t id = 0; id < entries_; ++id) {
    if (offsets_[id] > offsets_[id + 1] || offsets_[id + 1] > bytes_length) {
      return Status::error(ErrorCode::kDamaged, "tokenizer: vocabulary_offsets: entry %u is out of order", id);
    }
    const std::string_view text = entry(id);
    if (text.size() > kMaxEntryBytes) {
      return Status::error(ErrorCode::kUnsupported, "tokenizer: vocabulary: entry %u has %zu bytes, at most %u are supported", id,
                           text.size(), kMaxEntryBytes);
    }
    if (!utf8::is_valid(text)) return Status::error(ErrorCode::kDamaged, "tokenizer: vocabulary: entry %u is not UTF-8", id);
    const auto length = static_cast<uint32_t>(text.size());
    longest_ = std::max(longest_, length);
    lengths_[length / 64] |= uint64_t{1} << (length % 64);
  }
  return Status::ok();
}

Status Vocabulary::check_slots() noexcept {
  const auto damaged = [](const char* what) { return Status::error(ErrorCode::kDamaged, "tokenizer: vocabulary_slots: %s", what); };
  // A lookup ends at an empty slot: no stretch without one may be long. Walk from an empty slot once around.
  const uint64_t count = uint64_t{slot_mask_} + 1;
  uint64_t empty = 0;
  while (empty < count && slots_[empty] != 0) ++empty;
  if (empty == count) return damaged("none is empty");
  uint64_t used = 0, stretch = 0;
  for (uint64_t i = 1; i <= count; ++i) {
    const uint32_t slot = slots_[(empty + i) & slot_mask_];
    if (slot > entries_) return damaged("an id beyond the vocabulary");
    stretch = slot == 0 ? 0 : stretch + 1;
    used += slot != 0;
    if (stretch >= kMaxProbes) return damaged("too many in a row are taken");
  }
  uint64_t named = 0;
  for (uint32_t id = 0; id < entries_; ++id) {
    const std::string_view text = entry(id);
    if (text.empty()) continue;
    ++named;
    if (find(text) != id) {
      return Status::error(ErrorCode::kDamaged, "tokenizer: vocabulary_slots: entry %u is not found, or twice in the vocabulary", id);
    }
  }
  if (named != used) return damaged("taken slots do not match the vocabulary's entries");
  return Status::ok();
}

int64_t Vocabulary::find(std::string_view token) const noexcept {
  for (uint32_t i = static_cast<uint32_t>(hash_entry(token)) & slot_mask_;; i = (i + 1) & slot_mask_) {
    const uint32_t slot = slots_[i];
    if (slot == 0) return -1;
    const uint32_t id = slot - 1, begin = offsets_[id];
    if (offsets_[slot] - begin == token.size() && std::memcmp(bytes_ + begin, token.data(), token.size()) == 0) return id;
  }
}

}  // namespace pets::tokenizer
