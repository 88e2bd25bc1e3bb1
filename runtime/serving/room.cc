// Room in a server's queue: who waits for it, who gives way, and how queries leave without running.
#include <algorithm>

#include "runtime/platform/check.h"
#include "runtime/serving/server_impl.h"
#include "runtime/serving/submission.h"

namespace pets {

using serving::kNoDeadline;
using serving::kNoSlot;
using serving::QueryQueue;
using serving::Room;
using serving::Slot;

struct Server::Impl::Waiter {
  Room needed;
  bool granted = false;
  Waiter* next = nullptr;
  std::condition_variable ready{};  // room was granted, or the server stops
};

namespace {

serving::Outcome outcome_of(const Status& status) {
  switch (status.code()) {
    case ErrorCode::kCancelled:
      return serving::Outcome::kCancelled;
    case ErrorCode::kDeadlineExceeded:
      return serving::Outcome::kDeadlineMissed;
    default:
      return serving::Outcome::kFailed;
  }
}

Status full(const QueryQueue& queue) {
  return Status::error(ErrorCode::kResourceExhausted, "the queue is full: it holds %u queries and %u tokens", queue.slots(),
                       queue.pages() * QueryQueue::kPageTokens);
}

}  // namespace

Status Server::Impl::admits() const {
  if (!failure_.is_ok()) return failure_;
  return stopping_ ? Status::error(ErrorCode::kUnavailable, "the server was stopped") : Status::ok();
}

bool Server::Impl::has_room(Room needed) const {
  return queue_.free_slots() >= reserved_.slots + needed.slots && queue_.free_pages() >= reserved_.pages + needed.pages;
}

void Server::Impl::reserve(Room room) {
  reserved_.slots += room.slots;
  reserved_.pages += room.pages;
}

Status Server::Impl::make_room(const Submission& submission, Room needed, Reservation& reservation) {
  Lock lock(mutex_);
  reservation.give_back(lock);  // too little where the query's memory changed since
  PETS_RETURN_IF_ERROR(admits());
  if (needed.slots > queue_.slots() || needed.pages > queue_.pages()) {
    return Status::error(ErrorCode::kResourceExhausted, "the query needs %u places and %u tokens of a queue that has %u and %u",
                         needed.slots, needed.pages * QueryQueue::kPageTokens, queue_.slots(), queue_.pages() * QueryQueue::kPageTokens);
  }
  if (options_.overflow == Overflow::kShedLowest) {
    PETS_RETURN_IF_ERROR(shed(submission.options.priority, needed, lock));
  } else if (options_.overflow == Overflow::kBlock && !on_worker()) {  // while the worker waits nobody makes room
    PETS_RETURN_IF_ERROR(wait_for_room(submission, needed, lock));
  } else {
    return full(queue_);
  }
  reservation.keep(needed);
  return Status::ok();
}

Status Server::Impl::wait_for_room(const Submission& submission, Room needed, Lock& lock) {
  Waiter waiter{needed};
  Waiter** end = &first_waiter_;
  while (*end != nullptr) end = &(*end)->next;
  *end = &waiter;
  grant_room();  // where room came since it was looked for
  Status status = admits();
  while (!waiter.granted && status) {
    if (submission.deadline == kNoDeadline) {
      waiter.ready.wait(lock);
    } else if (waiter.ready.wait_until(lock, submission.options.deadline) == std::cv_status::timeout && !waiter.granted) {
      status = serving::too_late();
      break;
    }
    status = admits();
  }
  if (waiter.granted) return Status::ok();  // reserved; who stops meanwhile is seen when it is taken
  Waiter** link = &first_waiter_;
  while (*link != &waiter) link = &(*link)->next;
  *link = waiter.next;
  grant_room();  // those behind it may need less
  return status;
}

void Server::Impl::grant_room() {
  while (first_waiter_ != nullptr && has_room(first_waiter_->needed)) {
    Waiter& waiter = *first_waiter_;
    first_waiter_ = waiter.next;
    reserve(waiter.needed);
    waiter.granted = true;
    waiter.ready.notify_one();
  }
}

void Server::Impl::wake_waiters() {
  for (Waiter* waiter = first_waiter_; waiter != nullptr; waiter = waiter->next) waiter->ready.notify_one();
}

Status Server::Impl::shed(int32_t priority, Room needed, Lock& lock) {
  // Nobody is shed in vain: first see whether it is enough.
  uint64_t slots = queue_.free_slots(), pages = queue_.free_pages();
  const Room goal{reserved_.slots + needed.slots, reserved_.pages + needed.pages};
  const auto enough = [&] { return slots >= goal.slots && pages >= goal.pages; };
  const auto add = [&](Room held) {
    slots += held.slots;
    pages += held.pages;
  };
  for (const serving::Item& item : scheduler_.waiting()) {
    if (enough()) break;
    if (item.priority < priority) add(queue_.held(item.slot));
  }
  if (!enough()) return full(queue_);
  slots = queue_.free_slots();
  pages = queue_.free_pages();
  uint32_t victims = kNoSlot;
  while (!enough()) {
    const serving::Item* lowest = nullptr;
    for (const serving::Item& item : scheduler_.waiting()) {
      if (item.priority >= priority) continue;
      // Of one priority the youngest: the others have waited for longer.
      if (lowest == nullptr || item.priority < lowest->priority || (item.priority == lowest->priority && item.arrival > lowest->arrival)) {
        lowest = &item;
      }
    }
    add(queue_.held(lowest->slot));
    victims = take_out(lowest->slot, victims);
  }
  reserve(needed);  // a victim's callback that submits must not take it
  answer_all(victims, Status::error(ErrorCode::kResourceExhausted, "the queue is full and made room for a query of a higher priority"),
             lock);
  return Status::ok();
}

uint32_t Server::Impl::take_out(uint32_t leader, uint32_t list) {
  waiting_ -= queue_.held(leader).slots;
  scheduler_.remove(leader);
  queue_.unlist(leader);
  queue_.drop_tokens(queue_[leader]);
  uint32_t last = leader;
  while (queue_[last].next != kNoSlot) last = queue_[last].next;
  queue_[last].next = list;
  return leader;
}

void Server::Impl::answer_all(uint32_t list, const Status& status, Lock& lock) {
  Answer answer;
  answer.status = status;
  while (list != kNoSlot) {
    Slot slot = std::move(queue_[list]);
    queue_.free_slot(list);
    list = slot.next;
    grant_room();
    lock.unlock();
    if (slot.metrics != nullptr) {
      records_.metrics->on_answer(*slot.metrics, outcome_of(status), static_cast<uint64_t>(serving::now() - slot.arrival), 0, 0);
    }
    call(slot, answer);
    slot.task.reset();  // see deliver
    lock.lock();
    if (--unanswered_ == 0) idle_.notify_all();
  }
}

bool Server::Impl::cancel(QueryId id) {
  Lock lock(mutex_);
  uint32_t groups = kNoSlot;
  for (uint32_t leader = queue_.find(id); leader != kNoSlot; leader = queue_.find(id)) groups = take_out(leader, groups);
  if (groups == kNoSlot) return false;
  answer_all(groups, Status::error(ErrorCode::kCancelled, "the query was cancelled"), lock);
  return true;
}

}  // namespace pets
