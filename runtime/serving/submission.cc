// The submitting thread's half of a server: reads queries and queues them.
#include <algorithm>
#include <bitset>
#include <optional>

#include "runtime/engine/query_encoder.h"
#include "runtime/platform/check.h"
#include "runtime/serving/server_impl.h"
#include "runtime/serving/task_work.h"

namespace pets {

using serving::Desk;
using serving::kNoDeadline;
using serving::kNoSlot;
using serving::Nanoseconds;
using serving::QueryQueue;
using serving::Slot;

namespace {

constexpr std::size_t kMostTasks = 4096;  // of a fan-out

/// Rows of all layers that a task of a fan-out computes for itself: the share of layers from the first that it changes on.
uint32_t own_rows(const engine::Task& task, uint32_t length, uint32_t layers) {
  const uint32_t own = layers - std::min(task.weights.first_changed_layer, layers);
  return (length * own + layers - 1) / layers;
}

}  // namespace

/// A query on its way into the queue.
struct Server::Impl::Submission {
  std::span<const std::string_view> tasks;
  const Query& query;
  SubmitOptions options;
  AnswerFn on_answer;
  void* context;
  const engine::TaskSet& set;
  Nanoseconds arrival = 0, deadline = kNoDeadline;
  QueryId id = 0;
  std::bitset<kMostTasks> done;  // by task: it is queued or answered
  // Of the group of tasks that is read:
  tokenizer::Encoding encoding;
  uint32_t max_length = 0;  // that its tokens were cut at

  Result<std::shared_ptr<const engine::Task>> task(std::size_t part) const {
    const std::optional<uint32_t> found = set.find(tasks[part]);
    if (!found) return engine::unknown_task(tasks[part]);
    return set.tasks[*found];
  }
};

namespace {

Nanoseconds to_deadline(std::chrono::steady_clock::time_point time) {
  if (time == std::chrono::steady_clock::time_point::max()) return kNoDeadline;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

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

Status too_late() { return Status::error(ErrorCode::kDeadlineExceeded, "the query's deadline passed before it ran"); }

}  // namespace

/// A desk while it is read at. Nothing that may call back happens meanwhile: a callback may submit, and would wait for a desk.
class Server::Impl::AtDesk {
 public:
  explicit AtDesk(Impl& impl) : impl_(impl), desk_(take(impl)) {}
  ~AtDesk() {
    if (desk_ == impl_.worker_desk_.get()) return;
    const Lock lock(impl_.mutex_);
    impl_.free_desks_.push_back(desk_);
    impl_.desk_.notify_one();
  }
  AtDesk(const AtDesk&) = delete;
  AtDesk& operator=(const AtDesk&) = delete;
  Desk& desk() const { return *desk_; }

 private:
  static Desk* take(Impl& impl) {
    if (impl.on_worker()) return impl.worker_desk_.get();  // the others may be held by threads that wait for the worker
    Lock lock(impl.mutex_);
    impl.desk_.wait(lock, [&] { return !impl.free_desks_.empty(); });
    Desk* desk = impl.free_desks_.back();
    impl.free_desks_.pop_back();
    return desk;
  }
  Impl& impl_;
  Desk* const desk_;
};

Status Server::Impl::wait_for_room(const Submission& submission, uint32_t slots, uint32_t pages, Lock& lock) {
  if (slots > queue_.slots() || pages > queue_.pages()) {
    return Status::error(ErrorCode::kResourceExhausted, "the query needs %u places and %u tokens of a queue that has %u and %u", slots,
                         pages * QueryQueue::kPageTokens, queue_.slots(), queue_.pages() * QueryQueue::kPageTokens);
  }
  const auto has_room = [&] { return queue_.free_slots() >= slots && queue_.free_pages() >= pages; };
  const auto full = [&] {
    return Status::error(ErrorCode::kResourceExhausted, "the queue is full: it holds %u queries and %u tokens", queue_.slots(),
                         queue_.pages() * QueryQueue::kPageTokens);
  };
  for (;;) {
    if (!failure_.is_ok()) return failure_;
    if (stopping_) return Status::error(ErrorCode::kUnavailable, "the server was stopped");
    if (has_room()) return Status::ok();
    if (options_.overflow != Overflow::kBlock || on_worker()) return full();  // while the worker waits nobody makes room
    ++blocked_;
    std::cv_status waited = std::cv_status::no_timeout;
    if (submission.deadline == kNoDeadline) {
      room_.wait(lock);
    } else {
      waited = room_.wait_until(lock, submission.options.deadline);
    }
    --blocked_;
    if (waited == std::cv_status::timeout && !has_room()) return too_late();
  }
}

bool Server::Impl::shed(int32_t priority) {
  Lock lock(mutex_);
  const Slot* lowest = nullptr;
  for (const serving::Item& item : scheduler_.waiting()) {
    const Slot& slot = queue_[item.slot];
    if (slot.priority >= priority) continue;
    // Of one priority the youngest: the others have waited for longer.
    if (lowest == nullptr || slot.priority < lowest->priority || (slot.priority == lowest->priority && slot.arrival > lowest->arrival)) {
      lowest = &slot;
    }
  }
  if (lowest == nullptr) return false;
  return withdraw(lowest->submission,
                  Status::error(ErrorCode::kResourceExhausted, "the queue is full and made room for a query of a higher priority"), lock);
}

bool Server::Impl::withdraw(QueryId submission, const Status& status, Lock& lock) {
  // Slots are emptied one by one: a callback, which runs without the lock, may change everything else.
  bool any = false;
  for (uint32_t index = 0; index < queue_.slots(); ++index) {
    Slot& slot = queue_[index];
    if (slot.task == nullptr || slot.submission != submission || !slot.waiting) continue;
    any = true;
    scheduler_.remove(index);
    queue_.drop_tokens(slot);
    const Slot taken = std::move(slot);
    queue_.free_slot(index);
    if (blocked_ != 0) room_.notify_all();
    Answer answer;
    answer.status = status;
    lock.unlock();
    if (taken.metrics != nullptr) {
      records_.metrics->on_answer(*taken.metrics, outcome_of(status), static_cast<uint64_t>(serving::now() - taken.arrival), 0, 0);
    }
    call(taken, answer);
    lock.lock();
    if (--unanswered_ == 0) idle_.notify_all();
  }
  return any;
}

bool Server::Impl::cancel(QueryId id) {
  Lock lock(mutex_);
  return withdraw(id, Status::error(ErrorCode::kCancelled, "the query was cancelled"), lock);
}

Status Server::Impl::read(Submission& submission, const engine::Task& task, Desk& desk) const {
  PETS_RETURN_IF_ERROR(engine::check_limits(task, capacity_));
  PETS_ASSIGN_OR_RETURN(submission.encoding, engine::encode_query(internals_, task, submission.query, desk.tokens, desk.scratch));
  submission.max_length = task.info.max_length;
  if (submission.encoding.count <= capacity_.tokens) return Status::ok();
  return Status::error(ErrorCode::kResourceExhausted, "the query has %u tokens, a batch of this session holds %u (max_batch_tokens)",
                       submission.encoding.count, capacity_.tokens);
}

Status Server::Impl::enqueue_group(Submission& submission, std::size_t first, std::span<const tokenizer::Token> tokens, Lock& lock) {
  // The group: those of the tasks behind the first one that read the query alike.
  const auto belongs = [&](std::size_t part) -> std::shared_ptr<const engine::Task> {
    if (submission.done[part]) return nullptr;
    auto task = submission.task(part);
    if (!task || !engine::check_limits(**task, capacity_)) return nullptr;
    const TaskInfo& info = (*task)->info;
    const Query& query = submission.query;
    if (info.head == HeadType::kQuestionAnswering && !query.has_ids && !query.has_text_pair) return nullptr;
    return engine::same_tokens(submission.encoding, submission.max_length, info.max_length) ? *task : nullptr;
  };
  uint32_t slots = 0;
  for (std::size_t part = first; part < submission.tasks.size(); ++part) slots += belongs(part) != nullptr ? 1 : 0;
  PETS_RETURN_IF_ERROR(wait_for_room(submission, slots, QueryQueue::pages_for(submission.encoding.count), lock));

  if (submission.id == 0) submission.id = ++last_id_;
  serving::Item item;
  item.length = submission.encoding.count;
  item.priority = submission.options.priority;
  item.arrival = submission.arrival;
  item.deadline = submission.deadline;
  uint32_t leader = kNoSlot, last = kNoSlot;
  for (std::size_t part = first; part < submission.tasks.size(); ++part) {
    std::shared_ptr<const engine::Task> task = belongs(part);
    if (task == nullptr) continue;
    submission.done.set(part);
    const serving::TaskCost cost = scheduler_.costs().task_cost(serving::work_of(task->weights, internals_.base));
    item.cost.fixed += cost.fixed;
    item.cost.per_row += cost.per_row;
    const uint32_t index = queue_.take_slot();
    Slot& slot = queue_[index];
    if (leader == kNoSlot) {
      leader = item.slot = index;
      item.task = static_cast<uint32_t>(task->id);
      queue_.store_tokens(slot, tokens.first(submission.encoding.count));
    } else {
      queue_[last].next = index;
    }
    last = index;
    item.rows += own_rows(*task, item.length, internals_.base.layers);
    if (records_.metrics != nullptr) {
      slot.metrics = &records_.metrics->task(task->info.name);
      records_.metrics->on_submit(*slot.metrics);
    }
    slot.tokens = submission.encoding.count;
    slot.task = std::move(task);
    slot.on_answer = submission.on_answer;
    slot.context = submission.context;
    slot.submission = submission.id;
    slot.part = static_cast<uint32_t>(part);
    slot.waiting = true;
    slot.truncated = submission.encoding.truncated;
    slot.arrival = submission.arrival;
    slot.deadline = submission.deadline;
    slot.priority = submission.options.priority;
  }
  item.rows = std::max(item.rows, item.length);
  item.cost.per_row *= static_cast<double>(item.length) / item.rows;  // each task's operators run on its own rows
  unanswered_ += slots;
  scheduler_.add(item);
  if (worker_sleeps_) work_.notify_one();
  return Status::ok();
}

void Server::Impl::count_refusal(const Submission& submission, std::size_t part) {
  if (records_.metrics == nullptr) return;
  const auto task = submission.task(part);
  records_.metrics->on_refuse(task ? records_.metrics->task((*task)->info.name) : records_.metrics->other());
}

Status Server::Impl::accept(Submission& submission, std::size_t part) {
  const auto task = submission.task(part);
  if (!task) return task.status();
  for (;;) {
    Status status;
    {
      const AtDesk at(*this);
      PETS_RETURN_IF_ERROR(read(submission, **task, at.desk()));
      Lock lock(mutex_);
      status = enqueue_group(submission, part, at.desk().tokens, lock);
    }
    // The tokens are read again after that: other queries were answered meanwhile, at this desk, too.
    const bool full = status.code() == ErrorCode::kResourceExhausted && options_.overflow == Overflow::kShedLowest;
    if (!full || !shed(submission.options.priority)) return status;
  }
}

Result<QueryId> Server::Impl::submit(std::span<const std::string_view> tasks, const Query& query, const SubmitOptions& options,
                                     AnswerFn on_answer, void* context) {
  if (on_answer == nullptr) return Status::error(ErrorCode::kInvalidArgument, "submit: expected a callback, found null");
  if (tasks.empty() || tasks.size() > kMostTasks) {
    return Status::error(ErrorCode::kInvalidArgument, "submit: expected 1 to %zu tasks, found %zu", kMostTasks, tasks.size());
  }
  const Nanoseconds arrival = serving::now(), deadline = to_deadline(options.deadline);
  if (deadline <= arrival) return too_late();
  struct Release {
    void operator()(const engine::TaskSet* set) const { set->release(); }
  };
  const std::unique_ptr<const engine::TaskSet, Release> set([&] {
    const AtDesk at(*this);
    return at.desk().reader.acquire();
  }());
  Submission submission{tasks, query, options, on_answer, context, *set, arrival, deadline, 0, {}, {}, 0};
  for (std::size_t part = 0; part < tasks.size(); ++part) {
    if (submission.done[part]) continue;
    const Status status = accept(submission, part);
    if (status) continue;
    count_refusal(submission, part);
    if (tasks.size() == 1) return status;
    if (submission.id == 0) {
      const Lock lock(mutex_);
      submission.id = ++last_id_;
    }
    submission.done.set(part);
    Answer answer;
    answer.status = status;
    call({nullptr, on_answer, context, submission.id, static_cast<uint32_t>(part)}, answer);
  }
  return submission.id;
}

}  // namespace pets
