#include "runtime/serving/query_queue.h"

#include <algorithm>
#include <bit>

namespace pets::serving {

QueryQueue::QueryQueue(uint32_t slots, uint32_t tokens)
    : slots_(slots),
      free_slots_(slots),
      lists_(std::bit_ceil(slots), kNoSlot),
      tokens_(static_cast<std::size_t>(pages_for(tokens)) * kPageTokens),
      next_page_(pages_for(tokens)),
      free_page_count_(pages_for(tokens)) {
  for (uint32_t i = 0; i < slots; ++i) free_slots_[i] = slots - 1 - i;
  for (uint32_t page = 0; page < next_page_.size(); ++page) next_page_[page] = page + 1 < next_page_.size() ? page + 1 : kNoSlot;
  free_page_ = next_page_.empty() ? kNoSlot : 0;
}

uint64_t QueryQueue::bytes(uint32_t slots, uint32_t tokens) {
  const uint64_t pages = pages_for(tokens);
  return uint64_t{slots} * (sizeof(Slot) + sizeof(uint32_t)) + std::bit_ceil(slots) * sizeof(uint32_t) +
         pages * (kPageTokens * sizeof(tokenizer::Token) + sizeof(uint32_t));
}

uint32_t QueryQueue::take_slot() {
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void QueryQueue::free_slot(uint32_t slot) {
  slots_[slot] = Slot();
  free_slots_.push_back(slot);
}

void QueryQueue::list(uint32_t leader) {
  uint32_t& first = list_of(slots_[leader].submission);
  slots_[leader].sibling = first;
  first = leader;
}

void QueryQueue::unlist(uint32_t leader) {
  uint32_t* link = &list_of(slots_[leader].submission);
  while (*link != leader) link = &slots_[*link].sibling;
  *link = slots_[leader].sibling;
}

uint32_t QueryQueue::find(QueryId submission) const {
  uint32_t leader = lists_[submission & (lists_.size() - 1)];
  while (leader != kNoSlot && slots_[leader].submission != submission) leader = slots_[leader].sibling;
  return leader;
}

Room QueryQueue::held(uint32_t leader) const {
  Room room{0, pages_for(slots_[leader].tokens)};
  for (uint32_t slot = leader; slot != kNoSlot; slot = slots_[slot].next) ++room.slots;
  return room;
}

void QueryQueue::store_tokens(Slot& slot, std::span<const tokenizer::Token> tokens) {
  slot.tokens = static_cast<uint32_t>(tokens.size());
  uint32_t* link = &slot.first_page;
  for (std::size_t begin = 0; begin < tokens.size(); begin += kPageTokens) {
    const uint32_t page = free_page_;
    free_page_ = next_page_[page];
    --free_page_count_;
    const auto part = tokens.subspan(begin, std::min<std::size_t>(kPageTokens, tokens.size() - begin));
    std::copy(part.begin(), part.end(), tokens_.begin() + static_cast<std::ptrdiff_t>(page) * kPageTokens);
    *link = page;
    link = &next_page_[page];
  }
  *link = kNoSlot;
}

void QueryQueue::take_tokens(Slot& slot, tokenizer::Token* to) {
  uint32_t page = slot.first_page;
  for (uint32_t begin = 0; begin < slot.tokens; begin += kPageTokens, page = next_page_[page]) {
    std::copy_n(tokens_.begin() + static_cast<std::ptrdiff_t>(page) * kPageTokens, std::min(kPageTokens, slot.tokens - begin), to + begin);
  }
  drop_tokens(slot);
}

void QueryQueue::drop_tokens(Slot& slot) {
  while (slot.first_page != kNoSlot) {
    const uint32_t page = slot.first_page;
    slot.first_page = next_page_[page];
    next_page_[page] = free_page_;
    free_page_ = page;
    ++free_page_count_;
  }
}

}  // namespace pets::serving
