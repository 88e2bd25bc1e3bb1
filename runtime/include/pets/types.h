// Plain types of the public API: options, tasks, queries and answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pets/status.h"

namespace pets {

/// Where a model runs.
enum class Backend : uint8_t {
  kCpu = 0,
  kCuda = 1  ///< an NVIDIA GPU, in builds with the CUDA toolkit; answers equal the CPU's within the precision of the base
};

/// What a task's head answers.
enum class HeadType : uint8_t {
  kSequenceClassification = 1,    ///< one label a query
  kMultiLabelClassification = 2,  ///< any number of labels a query
  kRegression = 3,                ///< numbers a query
  kTokenClassification = 4,       ///< one label a token
  kQuestionAnswering = 5,         ///< a span of the context
  kEmbedding = 6                  ///< a vector a query
};

/// "sequence-classification", ...: the names that manifests use.
std::string_view head_type_name(HeadType type) noexcept;

/// How a server cuts waiting queries into batches. All but kPacked are of the PetS paper (USENIX ATC 2022) and there to be compared with:
/// they pad every query of a batch to the longest.
enum class Strategy : uint8_t {
  kPacked = 0,  ///< no padding, as many rows as run at the best rate (more of a deep queue), deadlines and priorities, tasks kept together
  kCoordinated = 1,  ///< within tasks, then across tasks, by two dynamic programmes
  kAlpha = 2,        ///< across tasks by length
  kBeta = 3,         ///< within tasks
  kFixed = 4         ///< so many queries in the order of arrival
};

/// "packed", ...: the names that the command lines use.
std::string_view strategy_name(Strategy strategy) noexcept;
/// The strategy of that name; false where there is none.
bool parse_strategy(std::string_view name, Strategy* strategy) noexcept;

/// Where a GPU reads the weights of a base that was packed for it (`pets-convert pack --target cuda`). Of another base's, what the kernels
/// read is always a copy. The steps of a ladder, from the least memory to the most:
enum class WeightMemory : uint8_t {
  kAuto = 0,            ///< the first of the others that bundle and device allow, where the device shares the host's memory; else kCopy
  kHostPageTables = 1,  ///< the mapped file itself: the device follows the process's page tables
  kRegistered = 2,      ///< the mapped file itself, its pages pinned
  kCopy = 3             ///< one copy in device memory
};

/// "auto", "host-page-tables", "registered", "copy": the names that the command lines use.
std::string_view weight_memory_name(WeightMemory memory) noexcept;
/// The step of that name; false where there is none.
bool parse_weight_memory(std::string_view name, WeightMemory* memory) noexcept;

struct ModelOptions {
  Backend backend = Backend::kCpu;
  /// Backend::kCuda: any but kAuto is taken, or the load is refused; a device with memory of its own would read it over the bus, again with
  /// every batch.
  WeightMemory weight_memory = WeightMemory::kAuto;
  /// Copies the bundle into memory instead of mapping it: immune to a file that is truncated underneath, at the price of its size.
  bool copy = false;
  /// Upper bound for the bytes of `Plan::total_bytes`; 0: none. A load over it is refused with both numbers.
  uint64_t memory_limit = 0;
};

class ThreadPool;

struct SessionOptions {
  /// Worker threads, the calling one included; 0: one per available processor. Ignored where `pool` is given.
  uint32_t threads = 0;
  /// Tokens (special ones included) that one packed batch holds at most; a run with more is split. Bounds the activations' memory.
  uint32_t max_batch_tokens = 2048;
  /// Queries that one packed batch holds at most.
  uint32_t max_batch_queries = 256;
  /// Answers come in any order, and the queries of a task are brought together over up to 8,192 queries of a run before they are cut into
  /// batches: faster where a run is many batches of shuffled tasks. Neighbours that share work (Session::run) stay together. Costs 64 KiB.
  /// A query's answer is the same bits.
  bool any_order = false;
  /// Backend::kCuda: bytes of device memory for the values of tasks; 0: of all tasks at hand and a usual one that is added later. Tasks
  /// beyond it are brought in when they are needed, the least recently used leave; a batch whose tasks do not fit together is split.
  uint64_t device_task_bytes = 0;
  /// Backend::kCuda with a base in fp32: the shared products round their operands to TF32, 10 bits of mantissa, which tensor cores
  /// multiply. Sums stay in float, as do all other operators.
  bool device_tf32 = false;
  /// Backend::kCuda: launches of batches that come again, by their number of rows, are captured as CUDA graphs and replayed, whatever their
  /// tasks. Rows are rounded up for it, by an eighth at most.
  bool device_graphs = true;
  /// Backend::kCuda with graphs: before a graph is captured, the shared products of its number of rows are timed with each algorithm that
  /// cuBLASLt offers, and the fastest is kept by the session: some 10 ms for each of about four products, once for a number of rows. Which
  /// one that is may differ where several are alike; so a query's answers may differ in their last bits between sessions and between runs
  /// of the program, and a session's first ones from later ones. False: the same algorithm for a number of rows every time.
  bool device_tuning = true;
  /// Backend::kCuda: 0: the PET operators of all tasks of a batch are one launch a family and site; 1 to 32: a launch for each task, on so
  /// many streams, as the PetS paper schedules them. There to be compared with; no graphs then.
  uint32_t operator_streams = 0;
  /// The application's own pool; it must outlive the session.
  ThreadPool* pool = nullptr;
};

/// Every byte that a model and one session use, computed before they use any.
struct Plan {
  uint64_t mapped_bytes = 0;  ///< bundle files, mapped (or copied, with ModelOptions::copy)
  uint64_t model_bytes = 0;   ///< tables that describe tasks and sites, allocated at load
  uint64_t arena_bytes = 0;   ///< one session's activations and scratch, one allocation
  uint64_t server_bytes = 0;  ///< a server's queue and counters, in a plan of one
  /// Backend::kCuda: memory of the device, one allocation for the base and one a session. What CUDA's own libraries, kernels' code and
  /// captured graphs take comes on top. On a Jetson it is the same memory as the rest.
  uint64_t device_bytes = 0;
  uint64_t total_bytes = 0;  ///< the sum
};

/// Backend::kCuda: what a session's work on the device has been.
struct DeviceCounters {
  uint64_t batches = 0;
  uint64_t captures = 0;     ///< graphs made
  uint64_t replays = 0;      ///< batches that were a graph's
  uint64_t task_copies = 0;  ///< tasks brought to the device
  uint64_t layer_rows = 0;   ///< rows of batches, added up over their layers: what queries on one text share counts once
  double host_seconds = 0;   ///< of the calling thread until all work of a batch was queued, summed over batches
};

/// What a bundle says of one task.
struct TaskInfo {
  std::string name;
  HeadType head = HeadType::kSequenceClassification;
  std::vector<std::string> labels;  ///< in logit order; for an embedding empty
  uint32_t outputs = 0;             ///< logits a query (or a token, or a question: 2); for an embedding its length
  uint32_t max_length = 0;          ///< tokens, special ones included
  uint64_t bytes = 0;               ///< of its segment in the file
  std::string source;               ///< for people
};

/// A query: text (and text_pair), or token ids instead. Views must outlive the run. Queries of many tasks on one text are cheapest one
/// after another with the very same views (the same memory, not only the same characters): see Session::run.
struct Query {
  std::string_view task{};
  std::string_view text{};
  std::string_view text_pair{};
  bool has_text_pair = false;
  /// Used instead of the texts where `has_ids`: complete ids, special tokens included; token types are all 0.
  std::span<const int32_t> ids{};
  bool has_ids = false;
};

/// One token of an answer for token classification.
struct AnswerToken {
  uint32_t start = 0;  ///< bytes [start, end) of its text; 0, 0 for special tokens and for queries given as ids
  uint32_t end = 0;
  uint8_t segment = 0;   ///< 0: text, 1: text_pair
  bool special = false;  ///< [CLS] or [SEP]; never set where the bundle holds no tokenizer
  int32_t id = 0;
};

/// The best span of a context: bytes of `text_pair`.
struct AnswerSpan {
  bool found = false;  ///< false where the context has no token
  uint32_t start = 0;
  uint32_t end = 0;
  float score = 0;  ///< start logit + end logit
};

/// The result for one query. Views point into the session and are valid until the callback returns.
struct Answer {
  Status status;  ///< of this query alone; when not ok nothing below is set
  const TaskInfo* task = nullptr;
  bool truncated = false;               ///< something of the text was cut to meet max_length
  std::span<const AnswerToken> tokens;  ///< all tokens of the query, special ones included
  /// The head's raw output: [outputs]; token classification [tokens][outputs]; question answering [2][tokens], start then end.
  std::span<const float> logits;
  /// Probabilities where the head has them, shaped like logits: softmax over labels, or sigmoids for multi-label; else empty.
  std::span<const float> scores;
  AnswerSpan span;  ///< question answering only
};

}  // namespace pets
