// The worker's half of a server: takes batches from the scheduler and runs them.
#include <algorithm>
#include <utility>

#include "runtime/serving/server_impl.h"
#include "runtime/serving/submission.h"

namespace pets {

using serving::kNoSlot;
using serving::Nanoseconds;
using serving::Slot;

namespace {

/// Device errors one after another, without a batch that went well between them, after which the worker gives up.
constexpr uint32_t kMostRestarts = 3;

/// How often what became late while late queries were answered is looked for before a batch runs.
constexpr uint32_t kMostExpiries = 4;

/// The callbacks that this thread is in, the innermost first: one that cancels a query of another server is in both servers' callbacks.
struct Frame {
  const void* server;
  const Frame* outer;
};
thread_local const Frame* innermost = nullptr;

}  // namespace

void Server::Impl::call(const Slot& slot, const Answer& answer) const {
  const Frame frame{this, innermost};
  innermost = &frame;
  slot.on_answer(slot.context, slot.submission, slot.part, answer);
  innermost = frame.outer;
}

bool Server::Impl::in_callback() const {
  const Frame* frame = innermost;
  while (frame != nullptr && frame->server != this) frame = frame->outer;
  return frame != nullptr;
}

void Server::Impl::work() {
  worker_id_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  Lock lock(mutex_);
  for (;;) {
    while (scheduler_.waiting().empty() && !stopping_) {
      worker_sleeps_ = true;
      work_.wait(lock);
      worker_sleeps_ = false;
    }
    if (stopping_ && !finish_) refuse_all(Status::error(ErrorCode::kCancelled, "the server was stopped"), lock);
    if (scheduler_.waiting().empty()) {
      if (stopping_) return;
      continue;
    }
    for (uint32_t times = 0; times < kMostExpiries && expire(lock); ++times) continue;
    serving::Scheduler::Batch batch;
    if (!scheduler_.next(serving::now(), batch)) continue;
    run_batch(batch, lock);
    if (batch_failed_) recover(lock);
  }
}

bool Server::Impl::expire(Lock& lock) {
  const Nanoseconds time = serving::now();
  uint32_t late = kNoSlot;
  for (std::size_t i = 0; i < scheduler_.waiting().size();) {
    const serving::Item& item = scheduler_.waiting()[i];
    if (item.deadline > time) {
      ++i;
    } else {
      late = take_out(item.slot, late);  // another one has its place now
    }
  }
  if (late == kNoSlot) return false;
  answer_all(late, serving::too_late(), lock);
  return true;
}

void Server::Impl::refuse_all(const Status& status, Lock& lock) {
  uint32_t all = kNoSlot;
  while (!scheduler_.waiting().empty()) all = take_out(scheduler_.waiting().back().slot, all);
  answer_all(all, status, lock);
}

/// Marks the batch's queries as running and copies their tokens out, which makes room for others.
void Server::Impl::stage(const serving::Scheduler::Batch& batch) {
  prepared_.clear();
  running_.clear();
  batch_tasks_.clear();
  tokenizer::Token* tokens = staged_tokens_.data();
  for (const uint32_t first : batch.slots) {
    Slot& leader = queue_[first];
    queue_.unlist(first);
    const std::span<const tokenizer::Token> staged(tokens, leader.tokens);
    queue_.take_tokens(leader, tokens);
    tokens += leader.tokens;
    for (uint32_t index = first; index != kNoSlot; index = queue_[index].next) {
      Slot& slot = queue_[index];
      prepared_.push_back({slot.task.get(), staged, batch.padded_length, slot.truncated, index != first});
      running_.push_back(index);
      batch_tasks_.push_back(slot.task.get());
    }
  }
}

void Server::Impl::run_batch(const serving::Scheduler::Batch& batch, Lock& lock) {
  stage(batch);
  grant_room();
  batch_failed_ = false;
  waiting_ -= static_cast<uint32_t>(prepared_.size());
  left_waiting_ = waiting_;
  lock.unlock();
  batch_start_ = serving::now();
  runner_->run(
      prepared_, [](void* self, std::size_t index, const Answer& answer) { static_cast<Impl*>(self)->deliver(index, answer); }, this);
  const Nanoseconds start = batch_start_, end = serving::now();
  record(batch, start, end);
  lock.lock();
  if (!batch_failed_) {
    restarts_ = 0;
    scheduler_.finished(batch, static_cast<double>(end - start) * 1e-9);
  }
}

void Server::Impl::record(const serving::Scheduler::Batch& batch, Nanoseconds start, Nanoseconds end) {
  if (records_.metrics == nullptr && records_.trace.capacity() == 0) return;
  std::sort(batch_tasks_.begin(), batch_tasks_.end());  // addresses only: the tasks may be gone
  serving::BatchRecord record;
  record.start_ns = static_cast<uint64_t>(start);
  record.end_ns = static_cast<uint64_t>(end);
  record.queries = static_cast<uint32_t>(prepared_.size());
  record.rows = batch.rows;
  record.padded_rows = batch.rows - std::min(batch.own_rows, batch.rows);
  record.tasks = static_cast<uint32_t>(std::unique(batch_tasks_.begin(), batch_tasks_.end()) - batch_tasks_.begin());
  record.queue_length = left_waiting_;
  record.predicted_seconds = batch.predicted_seconds;
  record.pet_seconds = batch.pet_seconds;
  if (records_.metrics != nullptr) records_.metrics->on_batch(record);
  records_.trace.record(record);
}

void Server::Impl::deliver(std::size_t index, const Answer& answer) {
  // The place is free before the callback runs, so that it can submit; the task lives until it has returned.
  Lock lock(mutex_);
  Slot slot = std::move(queue_[running_[index]]);
  queue_.free_slot(running_[index]);
  grant_room();
  lock.unlock();
  if (answer.status.code() == ErrorCode::kInternal) batch_failed_ = true;
  if (slot.metrics != nullptr) {
    records_.metrics->on_answer(*slot.metrics, answer.status ? serving::Outcome::kAnswered : serving::Outcome::kFailed,
                                static_cast<uint64_t>(batch_start_ - slot.arrival), static_cast<uint64_t>(serving::now() - slot.arrival),
                                slot.tokens);
  }
  call(slot, answer);
  slot.task.reset();  // perhaps the last one, whose file is unmapped then: not under the lock, but before drain returns
  lock.lock();
  if (--unanswered_ == 0) idle_.notify_all();
}

/// The device failed: what was in the batch has its errors, the rest goes on with a new session, or gets an error where that fails.
void Server::Impl::recover(Lock& lock) {
  lock.unlock();
  const Status restarted = restarts_ < kMostRestarts
                               ? runner_->restart()
                               : Status::error(ErrorCode::kInternal, "the device failed again after each of %u restarts", kMostRestarts);
  lock.lock();
  ++restarts_;
  if (restarted) return;
  failure_ = Status::error(ErrorCode::kUnavailable, "the server's worker failed: %s", restarted.c_str());
  wake_waiters();
  refuse_all(failure_, lock);
}

}  // namespace pets
