// The submitting thread's half of a server: reads queries and queues them.
#include "runtime/serving/submission.h"

#include <algorithm>

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
using serving::Room;
using serving::Slot;

namespace {

/// Layers whose rows a task shares with others of its text: those below the first that it changes.
uint32_t shared_layers(const engine::Task& task, uint32_t layers) { return std::min(task.weights.first_changed_layer, layers); }

Nanoseconds to_deadline(std::chrono::steady_clock::time_point time) {
  if (time == std::chrono::steady_clock::time_point::max()) return kNoDeadline;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

/// A desk while it is read at. Nothing that waits for anything happens meanwhile: a thread that waits for room would keep others, that
/// have a deadline or are what it waits for, from a desk.
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
    if (impl.on_worker()) return impl.worker_desk_.get();
    Lock lock(impl.mutex_);
    impl.desk_.wait(lock, [&] { return !impl.free_desks_.empty(); });
    Desk* desk = impl.free_desks_.back();
    impl.free_desks_.pop_back();
    return desk;
  }
  Impl& impl_;
  Desk* const desk_;
};

Status Server::Impl::read(Submission& submission, const engine::Task& task, Desk& desk) const {
  PETS_RETURN_IF_ERROR(engine::check_limits(task, capacity_));
  PETS_ASSIGN_OR_RETURN(submission.encoding, engine::encode_query(internals_, task, submission.query, desk.tokens, desk.scratch));
  submission.max_length = task.info.max_length;
  if (submission.encoding.count <= capacity_.tokens) return Status::ok();
  return Status::error(ErrorCode::kResourceExhausted, "the query has %u tokens, a batch of this session holds %u (max_batch_tokens)",
                       submission.encoding.count, capacity_.tokens);
}

/// The tasks from `first` on that read the query alike, and the item that they are together.
void Server::Impl::find_group(Submission& submission, std::size_t first) const {
  const Query& query = submission.query;
  const auto belongs = [&](std::size_t part) {
    if (part == first) return true;
    const engine::Task* const task = submission.done[part] ? nullptr : submission.task(part).get();
    if (task == nullptr || !task->limits.within(capacity_.tasks)) return false;
    if (task->info.head == HeadType::kQuestionAnswering && !query.has_ids && !query.has_text_pair) return false;
    return engine::same_tokens(submission.encoding, submission.max_length, task->info.max_length);
  };
  submission.group.reset();
  serving::Item item;
  item.length = submission.encoding.count;
  item.priority = submission.options.priority;
  item.arrival = submission.arrival;
  item.deadline = submission.deadline;
  item.task = static_cast<uint32_t>(submission.task(first)->id);
  const uint32_t layers = internals_.base.layers;
  uint32_t own = 0, shared = 0;  // layers
  for (std::size_t part = first; part < submission.tasks.size(); ++part) {
    if (!belongs(part)) continue;
    submission.group.set(part);
    const engine::Task& task = *submission.task(part);
    const serving::TaskCost cost = scheduler_.costs().task_cost(serving::work_of(task.weights, internals_.base));
    item.cost.fixed += cost.fixed;
    item.cost.per_row += cost.per_row;
    own += layers - shared_layers(task, layers);
    shared = std::max(shared, shared_layers(task, layers));
  }
  item.rows = std::max((item.length * (own + shared) + layers - 1) / layers, item.length);  // in rows of all layers
  item.cost.per_row *= static_cast<double>(item.length) / item.rows;                        // each task's operators run on its own rows
  submission.item = item;
}

void Server::Impl::enqueue_group(Submission& submission, std::span<const tokenizer::Token> tokens) {
  if (submission.id == 0) submission.id = ++last_id_;
  uint32_t leader = kNoSlot, last = kNoSlot;
  for (std::size_t part = 0; part < submission.tasks.size(); ++part) {
    if (!submission.group[part]) continue;
    const std::shared_ptr<const engine::Task>& task = submission.task(part);
    const uint32_t index = queue_.take_slot();
    Slot& slot = queue_[index];
    if (leader == kNoSlot) {
      leader = index;
      queue_.store_tokens(slot, tokens);
    } else {
      queue_[last].next = index;
    }
    last = index;
    if (records_.metrics != nullptr) {
      slot.metrics = &records_.metrics->task(task->info.name);
      records_.metrics->on_submit(*slot.metrics);
    }
    slot.tokens = submission.encoding.count;
    slot.task = task;
    slot.on_answer = submission.on_answer;
    slot.context = submission.context;
    slot.submission = submission.id;
    slot.part = static_cast<uint32_t>(part);
    slot.truncated = submission.encoding.truncated;
    slot.arrival = submission.arrival;
    ++unanswered_;
    ++waiting_;
  }
  queue_.list(leader);
  submission.item.slot = leader;
  scheduler_.add(submission.item);
}

void Server::Impl::count_refusal(const Submission& submission, std::size_t part) {
  if (records_.metrics == nullptr) return;
  const auto& task = submission.task(part);
  records_.metrics->on_refuse(task != nullptr ? records_.metrics->task(task->info.name) : records_.metrics->other());
}

Status Server::Impl::accept(Submission& submission, std::size_t part) {
  submission.group.reset();
  submission.group.set(part);
  const engine::Task* const task = submission.task(part).get();
  if (task == nullptr) return engine::unknown_task(submission.tasks[part]);
  Reservation reservation(*this);
  for (;;) {
    Room needed;
    bool queued = false, wake = false;
    {
      const AtDesk at(*this);
      PETS_RETURN_IF_ERROR(read(submission, *task, at.desk()));
      find_group(submission, part);
      needed = {static_cast<uint32_t>(submission.group.count()), QueryQueue::pages_for(submission.encoding.count)};
      Lock lock(mutex_);
      PETS_RETURN_IF_ERROR(admits());
      // Who came later leaves the room to those who wait for it; the worker cannot wait behind them.
      if (reservation.covers(needed) || ((first_waiter_ == nullptr || on_worker()) && has_room(needed))) {
        reservation.give_back(lock);
        enqueue_group(submission, std::span(at.desk().tokens).first(submission.encoding.count));
        queued = true;
        wake = worker_sleeps_;
      }
    }
    if (wake) work_.notify_one();  // not before: it would wait for the lock
    if (queued) return Status::ok();
    // The tokens are read again after that: others were read at this desk meanwhile.
    PETS_RETURN_IF_ERROR(make_room(submission, needed, reservation));
  }
}

Result<QueryId> Server::Impl::submit(std::span<const std::string_view> tasks, const Query& query, const SubmitOptions& options,
                                     AnswerFn on_answer, void* context) {
  if (on_answer == nullptr) return Status::error(ErrorCode::kInvalidArgument, "submit: expected a callback, found null");
  if (tasks.empty() || tasks.size() > serving::kMostTasks) {
    return Status::error(ErrorCode::kInvalidArgument, "submit: expected 1 to %zu tasks, found %zu", serving::kMostTasks, tasks.size());
  }
  struct Release {
    void operator()(const engine::TaskSet* set) const { set->release(); }
  };
  const Nanoseconds arrival = serving::now();
  const std::unique_ptr<const engine::TaskSet, Release> set([&] {
    const AtDesk at(*this);
    return at.desk().reader.acquire();
  }());
  Submission submission{tasks, query, options, on_answer, context, *set, arrival, to_deadline(options.deadline)};
  if (submission.deadline <= arrival) {
    for (std::size_t part = 0; part < tasks.size(); ++part) count_refusal(submission, part);
    return serving::too_late();
  }
  for (std::size_t first = 0; first < tasks.size(); ++first) {
    if (submission.done[first]) continue;
    Status status = accept(submission, first);
    submission.done |= submission.group;
    if (status) continue;
    Answer answer;
    answer.status = status;
    for (std::size_t part = first; part < tasks.size(); ++part) {
      if (!submission.group[part]) continue;
      count_refusal(submission, part);
      if (tasks.size() == 1) return status;
      if (submission.id == 0) {
        const Lock lock(mutex_);
        submission.id = ++last_id_;
      }
      call({nullptr, on_answer, context, submission.id, static_cast<uint32_t>(part)}, answer);
    }
  }
  return submission.id;
}

}  // namespace pets
