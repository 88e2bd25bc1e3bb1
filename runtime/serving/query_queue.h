// Queries that wait or run: their tasks, tokens and callbacks, in memory of fixed size.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pets/server.h"
#include "runtime/engine/task_set.h"
#include "runtime/serving/batching.h"
#include "runtime/serving/metrics.h"
#include "runtime/tokenizer/token.h"

namespace pets::serving {

inline constexpr uint32_t kNoSlot = UINT32_MAX;

/// One query of one task.
struct Slot {
  std::shared_ptr<const engine::Task> task;  ///< null: free
  Server::AnswerFn on_answer = nullptr;
  void* context = nullptr;
  QueryId submission = 0;
  uint32_t part = 0;
  uint32_t next = kNoSlot;     ///< the next one of its group: queries of one submission with the same tokens
  uint32_t sibling = kNoSlot;  ///< of a listed group's first one: the next group of the list
  bool truncated = false;
  Nanoseconds arrival = 0;
  uint32_t tokens = 0;
  TaskMetrics* metrics = nullptr;  ///< null: nothing is counted
  uint32_t first_page = kNoSlot;   ///< of the tokens, of a group's first one
};

/// Queries and tokens that the queue holds, or has room for.
struct Room {
  uint32_t slots = 0, pages = 0;
};

/// Does not allocate after it was made. Not thread-safe.
class QueryQueue {
 public:
  static constexpr uint32_t kPageTokens = 32;

  /// Room for `slots` queries and `tokens` tokens, rounded up to pages.
  QueryQueue(uint32_t slots, uint32_t tokens);
  static uint64_t bytes(uint32_t slots, uint32_t tokens);

  static uint32_t pages_for(uint32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }
  uint32_t slots() const { return static_cast<uint32_t>(slots_.size()); }
  uint32_t pages() const { return static_cast<uint32_t>(next_page_.size()); }
  uint32_t free_slots() const { return static_cast<uint32_t>(free_slots_.size()); }
  uint32_t free_pages() const { return free_page_count_; }

  Slot& operator[](uint32_t slot) { return slots_[slot]; }
  const Slot& operator[](uint32_t slot) const { return slots_[slot]; }
  /// A free slot, of which there is one.
  uint32_t take_slot();
  /// Empties the slot; its pages were given back.
  void free_slot(uint32_t slot);
  /// Makes a group findable by its submission, and no more. `leader`: its first slot.
  void list(uint32_t leader);
  void unlist(uint32_t leader);
  /// The first slot of one of the listed groups of that submission, or kNoSlot.
  uint32_t find(QueryId submission) const;
  /// What the group holds.
  Room held(uint32_t leader) const;
  /// Copies the tokens into pages, of which there are enough.
  void store_tokens(Slot& slot, std::span<const tokenizer::Token> tokens);
  /// Copies them out to `to`, and gives the pages back.
  void take_tokens(Slot& slot, tokenizer::Token* to);
  /// Gives the pages back.
  void drop_tokens(Slot& slot);

 private:
  uint32_t& list_of(QueryId submission) { return lists_[submission & (lists_.size() - 1)]; }

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::vector<uint32_t> lists_;           // groups by submission, whose numbers follow each other: about one a list
  std::vector<tokenizer::Token> tokens_;  // [pages][kPageTokens]
  std::vector<uint32_t> next_page_;
  uint32_t free_page_ = kNoSlot;
  uint32_t free_page_count_ = 0;
};

}  // namespace pets::serving
