// A query on its way into a server's queue.
#pragma once

#include <bitset>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "runtime/serving/server_impl.h"

namespace pets {

namespace serving {

inline constexpr std::size_t kMostTasks = 4096;  // of a fan-out

inline Status too_late() { return Status::error(ErrorCode::kDeadlineExceeded, "the query's deadline passed before it ran"); }

}  // namespace serving

struct Server::Impl::Submission {
  std::span<const std::string_view> tasks;
  const Query& query;
  const SubmitOptions& options;
  AnswerFn on_answer;
  void* context;
  const engine::TaskSet& set;
  serving::Nanoseconds arrival = 0, deadline = serving::kNoDeadline;
  QueryId id = 0;
  std::bitset<serving::kMostTasks> done{};  ///< by task: it is queued or answered
  // Of the group of tasks that is read:
  std::bitset<serving::kMostTasks> group{};
  tokenizer::Encoding encoding{};
  uint32_t max_length = 0;  ///< that its tokens were cut at
  serving::Item item{};

  /// Null: there is none of that name.
  const std::shared_ptr<const engine::Task>& task(std::size_t part) const {
    static const std::shared_ptr<const engine::Task> none;
    const std::optional<uint32_t> found = set.find(tasks[part]);
    return found ? set.tasks[*found] : none;
  }
};

/// Room that a submission reserved, while it does not take it. Reserved and given back under the lock.
class Server::Impl::Reservation {
 public:
  explicit Reservation(Impl& impl) : impl_(impl) {}
  ~Reservation() {
    if (room_.slots == 0) return;
    const Lock lock(impl_.mutex_);
    give_back(lock);
    impl_.grant_room();
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  /// Keeps what was reserved under the lock.
  void keep(serving::Room room) { room_ = room; }
  bool covers(serving::Room needed) const { return needed.slots <= room_.slots && needed.pages <= room_.pages; }
  /// To be taken, or to be left to others.
  void give_back(const Lock&) {
    impl_.reserved_.slots -= room_.slots;
    impl_.reserved_.pages -= room_.pages;
    room_ = {};
  }

 private:
  Impl& impl_;
  serving::Room room_;
};

}  // namespace pets
