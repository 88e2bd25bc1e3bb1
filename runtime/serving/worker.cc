// The worker's half of a server: takes batches from the scheduler and runs them.
#include <algorithm>
#include <utility>

#include "runtime/serving/server_impl.h"

namespace pets {

using serving::kNoSlot;
using serving::Nanoseconds;
using serving::Slot;

namespace {

/// Device errors one after another, without a batch that went well between them, after which the worker gives up.
constexpr uint32_t kMostRestarts = 3;

/// The server whose callback this thread is in.
thread_local const void* calling = nullptr;

}  // namespace

void Server::Impl::call(const Slot& slot, const Answer& answer) const {
  const void* const outer = std::exchange(calling, this);
  slot.on_answer(slot.context, slot.submission, slot.part, answer);
  calling = outer;
}

bool Server::Impl::in_callback() const { return calling == this; }

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
    const Nanoseconds time = serving::now();
    expire(time, lock);
    serving::Scheduler::Batch batch;
    if (!scheduler_.next(time, batch)) continue;
    run_batch(batch, lock);
    if (batch_failed_) recover(lock);
  }
}

void Server::Impl::expire(Nanoseconds time, Lock& lock) {
  // Withdrawing one changes the list, so it is looked through again; that is rare.
  for (std::size_t i = 0; i < scheduler_.waiting().size();) {
    const serving::Item& item = scheduler_.waiting()[i];
    if (item.deadline > time) {
      ++i;
      continue;
    }
    withdraw(queue_[item.slot].submission, Status::error(ErrorCode::kDeadlineExceeded, "the query's deadline passed before it ran"), lock);
    i = 0;
  }
}

void Server::Impl::refuse_all(const Status& status, Lock& lock) {
  while (!scheduler_.waiting().empty()) withdraw(queue_[scheduler_.waiting().front().slot].submission, status, lock);
}

/// Marks the batch's queries as running and copies their tokens out, which makes room for others.
void Server::Impl::stage(const serving::Scheduler::Batch& batch) {
  prepared_.clear();
  running_.clear();
  batch_tasks_.clear();
  tokenizer::Token* tokens = staged_tokens_.data();
  for (const uint32_t first : batch.slots) {
    Slot& leader = queue_[first];
    const std::span<const tokenizer::Token> staged(tokens, leader.tokens);
    queue_.take_tokens(leader, tokens);
    tokens += leader.tokens;
    for (uint32_t index = first; index != kNoSlot; index = queue_[index].next) {
      Slot& slot = queue_[index];
      slot.waiting = false;
      prepared_.push_back({slot.task.get(), staged, batch.padded_length, slot.truncated, index != first});
      running_.push_back(index);
      batch_tasks_.push_back(slot.task.get());
    }
  }
}

void Server::Impl::run_batch(const serving::Scheduler::Batch& batch, Lock& lock) {
  stage(batch);
  if (blocked_ != 0) room_.notify_all();
  batch_failed_ = false;
  left_waiting_ = static_cast<uint32_t>(scheduler_.waiting().size());
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
  const Slot slot = std::move(queue_[running_[index]]);
  queue_.free_slot(running_[index]);
  if (blocked_ != 0) room_.notify_all();
  lock.unlock();
  if (answer.status.code() == ErrorCode::kInternal) batch_failed_ = true;
  if (slot.metrics != nullptr) {
    records_.metrics->on_answer(*slot.metrics, answer.status ? serving::Outcome::kAnswered : serving::Outcome::kFailed,
                                static_cast<uint64_t>(batch_start_ - slot.arrival), static_cast<uint64_t>(serving::now() - slot.arrival),
                                slot.tokens);
  }
  call(slot, answer);
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
  room_.notify_all();
  refuse_all(failure_, lock);
}

}  // namespace pets
