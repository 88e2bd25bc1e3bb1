// One text, many tasks: rows are shared as long as tasks change nothing, and every answer is the bits that the query alone gets.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"
#include "runtime/engine/session_impl.h"

namespace pets {
namespace {

using converter::Precision;
using engine::PackedBatch;
using engine::Sequence;
using engine::Task;
using engine::TaskWeights;

constexpr uint32_t kLayers = 4;

// --- which rows every layer has ---------------------------------------------------------------------------------------------------

struct Packed {
  static constexpr uint32_t kTokens = 4096, kQueries = 128;
  memory::Block block;
  PackedBatch batch;

  Packed() {
    memory::Arena counting;
    PackedBatch().lay_out(counting, kTokens, kQueries);
    block = std::move(memory::Block::allocate(counting.used())).value();
    memory::Arena arena(block.data(), block.size());
    batch.lay_out(arena, kTokens, kQueries);
  }

  /// `leader`: of the group that it joins, by input order. Returns the sequence's place in input order.
  uint32_t append(const Task& task, uint32_t tokens, uint32_t leader = Sequence::kItself) {
    Sequence sequence;
    sequence.query = static_cast<uint32_t>(batch.sequences().size());
    sequence.task = &task;
    sequence.leader = leader;
    sequence.token_begin = leader == Sequence::kItself ? batch.token_end() : batch.sequences()[leader].token_begin;
    sequence.rows = sequence.tokens = tokens;
    EXPECT_TRUE(batch.fits(sequence, kTokens));
    batch.append(sequence);
    return sequence.query;
  }

  /// Goes through the layers; the rows of each.
  std::vector<uint32_t> rows_of_layers() {
    std::vector<uint32_t> rows;
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      if (batch.forks_at(layer)) batch.fork();
      rows.push_back(batch.rows());
    }
    return rows;
  }
};

std::vector<Task> tasks_changed_from(const std::vector<uint32_t>& layers) {
  std::vector<Task> tasks(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    tasks[i].weights.first_changed_layer = layers[i];
    tasks[i].weights.head.pooling = schema::Pooling::kCls;
  }
  return tasks;
}

bool same_tasks_are_together(std::span<const Sequence> sequences) {
  std::set<uint64_t> seen;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const uint64_t order = batch_order(*sequences[i].task);
    if ((i == 0 || order != batch_order(*sequences[i - 1].task)) && !seen.insert(order).second) return false;
  }
  return true;
}

TEST(FanOutRows, HeadsAloneShareAllRows) {
  const auto tasks = tasks_changed_from(std::vector<uint32_t>(16, TaskWeights::kNoLayer));
  Packed packed;
  const uint32_t leader = packed.append(tasks[0], 32);
  for (uint32_t i = 1; i < 16; ++i) packed.append(tasks[i], 32, leader);
  EXPECT_EQ(packed.batch.rows(), 32U);
  packed.batch.group();
  EXPECT_EQ(packed.rows_of_layers(), (std::vector<uint32_t>{32, 32, 32, 32}));
  EXPECT_TRUE(packed.batch.keep_read_rows([](uint32_t, uint32_t) {}));
  EXPECT_EQ(packed.batch.rows(), 1U);
}

TEST(FanOutRows, RowsForkWhereTasksBeginToDiffer) {
  const auto tasks = tasks_changed_from({2, 2, 0, 3, TaskWeights::kNoLayer, 2, TaskWeights::kNoLayer, 1});
  Packed packed;
  const uint32_t leader = packed.append(tasks[0], 10);
  for (uint32_t i = 1; i < tasks.size(); ++i) packed.append(tasks[i], 10, leader);
  packed.append(tasks[0], 7);  // a single one beside them
  packed.batch.group();
  EXPECT_EQ(packed.rows_of_layers(), (std::vector<uint32_t>{27, 37, 67, 77}));
}

TEST(FanOutRows, TheLastMemberToForkKeepsTheSharedRows) {
  const auto tasks = tasks_changed_from({1, 3, 3});
  Packed packed;
  const uint32_t leader = packed.append(tasks[0], 10);
  packed.append(tasks[1], 10, leader);
  packed.append(tasks[2], 10, leader);
  packed.batch.group();
  EXPECT_EQ(packed.rows_of_layers(), (std::vector<uint32_t>{10, 20, 20, 30}));
}

TEST(FanOutRows, AnswersForTokensAreBoundedBySessions) {
  auto tasks = tasks_changed_from({TaskWeights::kNoLayer, TaskWeights::kNoLayer});
  tasks[0].weights.head.pooling = schema::Pooling::kTokens;
  Packed packed;
  const uint32_t leader = packed.append(tasks[0], 40);
  Sequence next;
  next.task = &tasks[0];
  next.leader = leader;
  next.rows = next.tokens = 40;
  EXPECT_TRUE(packed.batch.fits(next, 80));
  EXPECT_FALSE(packed.batch.fits(next, 79));
  next.task = &tasks[1];
  EXPECT_TRUE(packed.batch.fits(next, 40));
  next.leader = Sequence::kItself;
  EXPECT_TRUE(packed.batch.fits(next, 80));
  EXPECT_FALSE(packed.batch.fits(next, 79));
}

TEST(FanOutRows, EverySequenceHasItsTokensInEveryLayer) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<uint32_t> changed(12);
    for (uint32_t& layer : changed) layer = random() % 3 == 0 ? TaskWeights::kNoLayer : static_cast<uint32_t>(random() % kLayers);
    std::vector<Task> tasks = tasks_changed_from(changed);
    constexpr schema::Pooling kPoolings[] = {schema::Pooling::kCls, schema::Pooling::kTokens, schema::Pooling::kPooler,
                                             schema::Pooling::kMean};
    for (Task& task : tasks) {
      task.weights.head.pooling = kPoolings[random() % 4];
      task.weights.masked = random() % 4 == 0;
    }
    Packed packed;
    std::map<uint32_t, std::vector<const Task*>> groups;  // by where their tokens begin
    std::map<uint32_t, uint32_t> lengths;
    for (uint32_t group = 0; group < 1 + random() % 8; ++group) {
      const auto tokens = static_cast<uint32_t>(1 + random() % 40);
      uint32_t leader = Sequence::kItself;
      const uint32_t begin = packed.batch.token_end();
      for (uint32_t i = 0; i < 1 + random() % 8; ++i) {
        const Task& task = tasks[random() % tasks.size()];
        const uint32_t place = packed.append(task, tokens, leader);
        if (leader == Sequence::kItself) leader = place;
        groups[begin].push_back(&task);
      }
      lengths[begin] = tokens;
    }
    const uint32_t most = packed.batch.rows();
    PackedBatch& batch = packed.batch;
    batch.group();
    std::vector<uint32_t> memory;  // each row holds the token that it is of
    const auto check = [&](auto&& row_count) {
      EXPECT_TRUE(std::is_sorted(batch.sequences().begin(), batch.sequences().end(),
                                 [](const Sequence& a, const Sequence& b) { return a.task->weights.masked < b.task->weights.masked; }));
      EXPECT_TRUE(same_tasks_are_together(batch.sequences()));
      uint32_t owned = 0;
      for (uint32_t i = 0; i < batch.sequences().size(); ++i) {
        const Sequence& sequence = batch.sequences()[i];
        const uint32_t rows = row_count(sequence);
        EXPECT_GE(sequence.rows, rows);
        for (uint32_t r = 0; r < rows; ++r) {
          EXPECT_EQ(memory[sequence.first_row + r], sequence.token_begin + r);
          EXPECT_EQ(batch.row_tokens()[sequence.first_row + r], sequence.token_begin + r);
          EXPECT_EQ(batch.row_sequences()[sequence.first_row + r], sequence.owner);
        }
        if (!batch.owns_rows(i)) continue;
        EXPECT_EQ(sequence.first_row, owned);
        owned += sequence.rows;
      }
      EXPECT_EQ(batch.rows(), owned);
      EXPECT_EQ(memory.size(), owned);
      // Every row is in one segment of both tables.
      for (uint32_t row = 0; row < owned; ++row) {
        const Sequence& owner = batch.sequences()[batch.row_sequences()[row]];
        uint32_t found = 0;
        for (const engine::RowSegment& segment : batch.groups().of(row / 16)) {
          if (row % 16 >= segment.lane_begin && row % 16 < segment.lane_end) found += segment.task == owner.task ? 1 : 100;
        }
        const engine::SequenceMap map = batch.sequence_map();
        for (uint32_t s = map.strip_begin[row / 16]; s < map.strip_begin[row / 16 + 1]; ++s) {
          const auto& segment = map.segments[s];
          if (row % 16 < segment.lane_begin || row % 16 >= segment.lane_end) continue;
          found += segment.first_row == owner.first_key && segment.rows == owner.tokens ? 10 : 1000;
        }
        EXPECT_EQ(found, 11U);
      }
    };
    const auto all = [](const Sequence& sequence) { return sequence.tokens; };
    for (uint32_t row = 0; row < batch.rows(); ++row) memory.push_back(batch.row_tokens()[row]);
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      if (batch.forks_at(layer)) {
        const std::vector<uint32_t> before = memory;
        batch.fork();
        memory.clear();
        for (uint32_t i = 0; i < batch.sequences().size(); ++i) {
          const Sequence& sequence = batch.sequences()[i];
          for (uint32_t r = 0; batch.owns_rows(i) && r < sequence.rows; ++r) memory.push_back(before[sequence.source_row + r]);
        }
      }
      check(all);
      uint32_t expected = 0;
      for (const auto& [begin, members] : groups) {
        uint32_t own = 0;
        bool shared = false;
        for (const Task* task : members) {
          own += task->weights.first_changed_layer <= layer ? 1 : 0;
          shared = shared || task->weights.first_changed_layer > layer;
        }
        expected += lengths[begin] * (own + (shared ? 1 : 0));
      }
      EXPECT_EQ(batch.rows(), expected) << "layer " << layer;
    }
    EXPECT_EQ(batch.rows(), most);
    batch.keep_read_rows([&](uint32_t from, uint32_t to) { memory[to] = memory[from]; });
    memory.resize(batch.rows());
    check([](const Sequence& sequence) { return sequence.task->weights.head.reads_first_row() ? 1U : sequence.tokens; });
  }
}

// --- the same bits ----------------------------------------------------------------------------------------------------------------

/// What a query got: its error, or its answer as bits.
struct Outcome {
  std::string error;
  std::vector<uint32_t> values;

  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const Answer& answer) {
  Outcome outcome;
  if (!answer.status) {
    outcome.error = answer.status.c_str();
    return outcome;
  }
  const auto add = [&](std::span<const float> values) {
    const size_t first = outcome.values.size();
    outcome.values.resize(first + values.size());
    if (!values.empty()) std::memcpy(outcome.values.data() + first, values.data(), values.size_bytes());
  };
  add(answer.logits);
  add(answer.scores);
  for (const AnswerToken& token : answer.tokens) {
    outcome.values.insert(outcome.values.end(), {token.start, token.end, token.segment, token.special, static_cast<uint32_t>(token.id)});
  }
  outcome.values.insert(outcome.values.end(), {answer.truncated, answer.span.found, answer.span.start, answer.span.end});
  return outcome;
}

/// A random bundle: every kind of task with every head, changed from various layers on, some with a short max_length.
class FanOut : public testing::TestWithParam<Precision> {
 protected:
  FanOut() : file_("fan_out.pets") {
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
    base_ = testing_util::random_base({48, kLayers, 3, 112, 211, 96, 2}, seed_);
    testing_util::add_tokenizer(base_);
    uint32_t head = 1;
    for (const auto kind : testing_util::kAllPetKinds) {
      for (uint32_t i = 0; i < 6; ++i, head = head % 6 + 1) {
        testing_util::PetOptions options;
        options.first_layer = i < 4 ? i : static_cast<uint32_t>(random_() % kLayers);
        const std::string name = testing_util::pet_kind_name(kind) + std::to_string(i);
        tasks_.push_back(testing_util::random_task(base_, kind, static_cast<converter::HeadType>(head), name, random_(), options));
        constexpr uint32_t kMaxLengths[] = {96, 96, 96, 31, 30, 12};
        tasks_.back().max_length = kMaxLengths[random_() % 6];
      }
      head = head % 6 + 1;  // 6 tasks a kind: other heads come first
    }
    testing_util::write_random_bundle(file_.path(), base_, tasks_, GetParam());
    auto model = Model::load(file_.c_str());
    EXPECT_TRUE(model) << model.status().c_str();
    model_ = *model;
    for (size_t i = 0; i < 12; ++i) {
      std::string text;
      const size_t words = i == 0 ? 60 : random_() % 25;
      for (size_t w = 0; w < words; ++w) text += w % 2 == 0 ? "the film " : "qu1te g00d! ";
      texts_.push_back(std::move(text));
      ids_.emplace_back(1 + random_() % 40);
      for (int32_t& id : ids_.back()) id = static_cast<int32_t>(random_() % base_.vocabulary);
    }
    texts_.push_back("broken \xFF utf-8");
    ids_.push_back({1, 2, -7});
  }

  /// Groups of up to 24 queries on one text, single ones between them.
  std::vector<Query> random_queries(size_t groups) {
    std::vector<Query> queries;
    for (size_t g = 0; g < groups; ++g) {
      Query query;
      query.has_ids = random_() % 2 == 0;
      query.ids = ids_[random_() % ids_.size()];
      query.text = texts_[random_() % texts_.size()];
      query.has_text_pair = random_() % 3 == 0;
      query.text_pair = texts_[random_() % texts_.size()];
      for (uint64_t i = random_() % 3 == 0 ? 1 : 1 + random_() % 24; i > 0; --i) {
        // Mostly tasks that share something, now and then one that is not there.
        const size_t kind = random_() % 3 == 0 ? 0 : random_() % std::size(testing_util::kAllPetKinds);
        query.task = random_() % 20 == 0 ? std::string_view("unknown") : std::string_view(tasks_[kind * 6 + random_() % 6].name);
        queries.push_back(query);
      }
    }
    return queries;
  }

  std::unique_ptr<Session> session(uint32_t threads, uint32_t tokens, uint32_t queries, bool any_order) {
    SessionOptions options;
    options.threads = threads;
    options.max_batch_tokens = tokens;
    options.max_batch_queries = queries;
    options.any_order = any_order;
    auto created = Session::create(model_, options);
    EXPECT_TRUE(created) << created.status().c_str();
    return std::move(*created);
  }

  std::vector<Outcome> each_alone(const std::vector<Query>& queries) {
    const auto alone = session(1, 96, 1, false);
    std::vector<Outcome> outcomes;
    for (const Query& query : queries) {
      EXPECT_TRUE(alone->run({&query, 1}, [&](size_t, const Answer& answer) { outcomes.push_back(outcome_of(answer)); }));
    }
    return outcomes;
  }

  const uint64_t seed_ = std::random_device()();
  std::mt19937_64 random_{seed_};
  converter::BaseModel base_;
  std::vector<converter::PetTask> tasks_;
  testing_util::TemporaryFile file_;
  std::shared_ptr<Model> model_;
  std::vector<std::string> texts_;
  std::vector<std::vector<int32_t>> ids_;
};

TEST_P(FanOut, AnswersAreTheBitsOfSeparateQueries) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
#ifdef PETS_SLOW_BUILD  // instrumented or emulated: each size both ways, once
  constexpr uint32_t kGroups = 15, kMostThreads = 2;
#else
  constexpr uint32_t kGroups = 40, kMostThreads = 4;
#endif
  const std::vector<Query> queries = random_queries(kGroups);
  const std::vector<Outcome> expected = each_alone(queries);
  bool any_order = false;  // in turn: each size of a batch both ways
  for (uint32_t threads = 1; threads <= kMostThreads; ++threads) {
    for (const uint32_t tokens : {96U, 250U, 4096U}) {  // groups are cut; few strips are shared by panels, many by rows
      any_order = !any_order;
      SCOPED_TRACE(std::to_string(threads) + " threads, " + std::to_string(tokens) + " tokens, any order " + std::to_string(any_order));
      const auto shared = session(threads, tokens, random_() % 2 == 0 ? 17 : 512, any_order);
      std::vector<size_t> answered;
      ASSERT_TRUE(shared->run(queries, [&](size_t index, const Answer& answer) {
        answered.push_back(index);
        EXPECT_TRUE(outcome_of(answer) == expected[index])
            << "query " << index << " of " << queries[index].task << ": " << answer.status.c_str() << ", alone " << expected[index].error;
      }));
      if (any_order) std::sort(answered.begin(), answered.end());
      ASSERT_EQ(answered.size(), queries.size());
      for (size_t i = 0; i < answered.size(); ++i) ASSERT_EQ(answered[i], i);
    }
  }
}

TEST_P(FanOut, PreparedQueriesShareAndMayBePadded) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::vector<Query> queries;
  std::vector<std::vector<tokenizer::Token>> tokens;
  for (const auto& ids : ids_) {
    if (ids.back() < 0) continue;
    tokens.emplace_back();
    for (const int32_t id : ids) tokens.back().push_back({id, 0, 0, 0, model_->impl().tokenizer.is_special(id)});
  }
  std::vector<engine::PreparedQuery> prepared;
  model_->impl().tasks.view([&](const engine::TaskSet& set) {
    for (size_t group = 0; group < 20; ++group) {
      const size_t text = random_() % tokens.size();
      const uint64_t members = 1 + random_() % 20;
      for (uint64_t i = 0; i < members; ++i) {
        engine::PreparedQuery query;
        query.task = set.tasks[random_() % set.tasks.size()].get();
        if (query.task->info.max_length < tokens[text].size()) continue;
        query.tokens = tokens[text];
        query.padded_rows = group % 2 == 0 ? 0 : random_() % 4 == 0 ? 60 : 50;
        query.same_tokens = !prepared.empty() && prepared.back().tokens.data() == query.tokens.data();
        if (random_() % 20 == 0) query.padded_rows = base_.positions + 1;  // cannot be read: those after it share with those before it
        prepared.push_back(query);
        Query same;
        same.task = query.task->info.name;
        same.ids = ids_[text];
        same.has_ids = true;
        queries.push_back(same);
      }
    }
  });
  const std::vector<Outcome> expected = each_alone(queries);
  for (const uint32_t tokens_a_batch : {96U, 4096U}) {
    const auto shared = session(2, tokens_a_batch, 100, false);
    size_t next = 0;
    const auto check = [&](size_t index, const Answer& answer) {
      ASSERT_EQ(index, next++);
      if (prepared[index].padded_rows > base_.positions) {
        EXPECT_EQ(answer.status.code(), ErrorCode::kInvalidArgument);
      } else {
        EXPECT_TRUE(outcome_of(answer) == expected[index]) << "query " << index << " of " << queries[index].task;
      }
    };
    shared->impl().run_prepared(
        prepared, [](void* context, size_t index, const Answer& answer) { (*static_cast<decltype(check)*>(context))(index, answer); },
        const_cast<void*>(static_cast<const void*>(&check)));
    EXPECT_EQ(next, prepared.size());
  }
}

TEST_P(FanOut, SharingIsOfOneMemoryAndEndsWithTheText) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const std::string text = "the film was good", copy = text;
  // Six head-only tasks with one head each; none is cut at this length.
  std::vector<Query> queries;
  for (uint32_t i = 0; i < 6; ++i) {
    Query query;
    query.task = tasks_[i].name;
    query.text = query.text_pair = text;
    query.has_text_pair = true;
    queries.push_back(query);
  }
  const auto rows_after = [&](const std::vector<Query>& asked) {
    const auto answering = session(2, 96, 64, false);
    EXPECT_TRUE(answering->run(asked, [](size_t, const Answer& answer) { EXPECT_TRUE(answer.status) << answer.status.c_str(); }));
    return answering->impl().memory.batch.rows();
  };
  const uint32_t tokens = 2 * 4 + 3;  // all rows are kept for the token heads
  EXPECT_EQ(rows_after(queries), tokens);
  queries[3].text = queries[4].text = queries[5].text = copy;
  EXPECT_GT(rows_after(queries), tokens);
  // A bad query between them parts nothing, nor does a bad leader.
  for (Query& query : queries) query.text = text;
  queries[0].task = queries[2].task = "unknown";
  const auto answering = session(1, 96, 64, false);
  size_t answers = 0;
  ASSERT_TRUE(answering->run(queries, [&](size_t, const Answer& answer) { answers += answer.status ? 1 : 0; }));
  EXPECT_EQ(answers, 4U);
  EXPECT_EQ(answering->impl().memory.batch.rows(), tokens);
}

INSTANTIATE_TEST_SUITE_P(EveryPrecision, FanOut, testing::ValuesIn(testing_util::kAllPrecisions),
                         [](const auto& test) { return std::string(converter::precision_name(test.param)); });

}  // namespace
}  // namespace pets
