// Queries and options at the edge of what is allowed: an error in their place, never a step outside the tables.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets {
namespace {

using converter::HeadType;
using testing_util::PetKind;
using testing_util::TemporaryFile;

/// A bundle with a tokenizer and one task, loaded, with a session.
class Loaded {
 public:
  explicit Loaded(HeadType head, uint32_t token_types = 2) : file_("query.pets") {
    testing_util::ModelShape shape;
    shape.token_types = token_types;
    converter::BaseModel base = testing_util::random_base(shape, 5);
    testing_util::add_tokenizer(base);
    testing_util::write_random_bundle(file_.path(), base, {testing_util::random_task(base, PetKind::kLoraAll, head, "task", 6)});
    auto loaded = Model::load(file_.c_str());
    EXPECT_TRUE(loaded) << loaded.status().c_str();
    model = *loaded;
    auto made = Session::create(model, {.threads = 1});
    EXPECT_TRUE(made) << made.status().c_str();
    session = std::move(made).value();
  }

  /// The status of one query; `on_answer` sees it where it was answered.
  template <typename OnAnswer>
  Status run(const Query& query, const OnAnswer& on_answer) {
    Status status;
    EXPECT_TRUE(session->run({&query, 1}, [&](size_t, const Answer& answer) {
      status = answer.status;
      if (status) on_answer(answer);
    }));
    return status;
  }
  Status run(const Query& query) {
    return run(query, [](const Answer&) {});
  }

 private:
  TemporaryFile file_;

 public:
  std::shared_ptr<Model> model;
  std::unique_ptr<Session> session;
};

TEST(Query, APairNeedsTheBasesSecondTokenType) {
  const Query pair{.task = "task", .text = "a", .text_pair = "b", .has_text_pair = true};
  EXPECT_TRUE(Loaded(HeadType::kSequenceClassification, 2).run(pair));
  Loaded one(HeadType::kSequenceClassification, 1);
  const Status refused = one.run(pair);
  EXPECT_EQ(refused.code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.message().find("text_pair"), std::string_view::npos) << refused.c_str();
  EXPECT_TRUE(one.run({.task = "task", .text = "a"}));
}

TEST(Query, SpecialTokensAreMarkedWhetherTextOrIdsAreGiven) {
  Loaded loaded(HeadType::kTokenClassification);
  std::vector<int32_t> ids;
  std::vector<bool> special;
  ASSERT_TRUE(loaded.run({.task = "task", .text = "a b"}, [&](const Answer& answer) {
    for (const AnswerToken& token : answer.tokens) {
      ids.push_back(token.id);
      special.push_back(token.special);
    }
  }));
  EXPECT_EQ(special, (std::vector<bool>{true, false, false, true}));
  ASSERT_TRUE(loaded.run({.task = "task", .ids = ids, .has_ids = true}, [&](const Answer& answer) {
    ASSERT_EQ(answer.tokens.size(), ids.size());
    for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(answer.tokens[i].special, special[i]) << i;
  }));
}

TEST(Query, AMessageIsOneLineOfWholeCharacters) {
  Loaded loaded(HeadType::kSequenceClassification);
  EXPECT_EQ(loaded.run({.task = "a\nb\x7F", .text = "a"}).message(), "unknown task 'a?b?'");
  EXPECT_EQ(loaded.run({.task = std::string_view("seq\0x", 5), .text = "a"}).message(), "unknown task 'seq?x'");
  std::string name = "x";
  for (int i = 0; i < 100; ++i) name += "\xC3\xA9";
  EXPECT_EQ(loaded.run({.task = name, .text = "a"}).message(), "unknown task '" + name.substr(0, 127) + "'");
}

TEST(Query, ASessionNeedsAModelAndAPoolAThread) {
  EXPECT_EQ(Session::create(nullptr).status().code(), ErrorCode::kInvalidArgument);
  struct Pool final : ThreadPool {
    explicit Pool(uint32_t count) : count_(count) {}
    uint32_t threads() const noexcept override { return count_; }
    void run(void (*function)(void*, uint32_t), void* context, uint32_t count) noexcept override {
      for (uint32_t i = 0; i < count; ++i) function(context, i);
    }
    uint32_t count_;
  };
  Loaded loaded(HeadType::kSequenceClassification);
  Pool none(0), one(1);
  const Status refused = Session::create(loaded.model, {.pool = &none}).status();
  EXPECT_EQ(refused.code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.message().find("pool"), std::string_view::npos) << refused.c_str();
  EXPECT_TRUE(Session::create(loaded.model, {.pool = &one}));
}

}  // namespace
}  // namespace pets
