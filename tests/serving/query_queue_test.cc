// The queue's places, pages and lists against a plain model of them.
#include "runtime/serving/query_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

namespace pets::serving {
namespace {

struct Modelled {
  QueryId submission = 0;
  std::vector<uint32_t> slots;
  std::vector<tokenizer::Token> tokens;
};

TEST(QueryQueue, StoresTakesAndDropsAsAModelDoes) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20; ++round) {
    const auto slots = static_cast<uint32_t>(1 + random() % 40), tokens = static_cast<uint32_t>(1 + random() % 1500);
    QueryQueue queue(slots, tokens);
    ASSERT_EQ(queue.slots(), slots);
    ASSERT_EQ(queue.free_slots(), slots);
    ASSERT_EQ(queue.free_pages(), QueryQueue::pages_for(tokens));
    std::map<uint32_t, Modelled> model;  // by a group's first slot
    uint32_t used_slots = 0, used_pages = 0;
    int32_t next_token = 0;
    QueryId last = 0;
    const auto leave = [&](uint32_t leader, bool take) {
      Modelled& group = model.at(leader);
      ASSERT_EQ(queue.held(leader).slots, group.slots.size());
      ASSERT_EQ(queue.held(leader).pages, QueryQueue::pages_for(static_cast<uint32_t>(group.tokens.size())));
      queue.unlist(leader);
      if (take) {
        std::vector<tokenizer::Token> found(group.tokens.size());
        queue.take_tokens(queue[leader], found.data());
        for (size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i].id, group.tokens[i].id);
      } else {
        queue.drop_tokens(queue[leader]);
      }
      queue.drop_tokens(queue[leader]);  // twice is nothing
      std::shuffle(group.slots.begin(), group.slots.end(), random);
      for (const uint32_t slot : group.slots) queue.free_slot(slot);
      used_slots -= static_cast<uint32_t>(group.slots.size());
      used_pages -= QueryQueue::pages_for(static_cast<uint32_t>(group.tokens.size()));
      model.erase(leader);
    };
    for (int step = 0; step < 500; ++step) {
      const auto length = static_cast<uint32_t>(random() % std::min(200U, tokens + 1));
      const auto members = static_cast<uint32_t>(1 + random() % 3);
      if (random() % 3 != 0 && queue.free_slots() >= members && queue.free_pages() >= QueryQueue::pages_for(length)) {
        Modelled group;
        group.submission = last != 0 && random() % 4 == 0 ? 1 + random() % last : ++last;  // also several groups of one
        for (uint32_t m = 0; m < members; ++m) {
          group.slots.push_back(queue.take_slot());
          if (m != 0) queue[group.slots[m - 1]].next = group.slots[m];
          queue[group.slots[m]].submission = group.submission;
        }
        group.tokens.resize(length);
        for (auto& token : group.tokens) token.id = next_token++;
        queue.store_tokens(queue[group.slots[0]], group.tokens);
        queue.list(group.slots[0]);
        used_slots += members;
        used_pages += QueryQueue::pages_for(length);
        const uint32_t leader = group.slots[0];
        ASSERT_EQ(model.count(leader), 0U) << "a place was given twice";
        model[leader] = std::move(group);
      } else if (!model.empty()) {
        leave(std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()))->first, random() % 2 == 0);
      }
      ASSERT_EQ(queue.free_slots(), slots - used_slots);
      ASSERT_EQ(queue.free_pages(), queue.pages() - used_pages);
      const QueryId wanted = 1 + random() % (last + 1);
      const uint32_t found = queue.find(wanted);
      const bool expected = std::any_of(model.begin(), model.end(), [&](const auto& each) { return each.second.submission == wanted; });
      ASSERT_EQ(found != kNoSlot, expected);
      ASSERT_TRUE(!expected || model.at(found).submission == wanted);
    }
    while (!model.empty()) leave(model.begin()->first, true);
    EXPECT_EQ(queue.free_slots(), slots);
    EXPECT_EQ(queue.free_pages(), queue.pages());
  }
}

}  // namespace
}  // namespace pets::serving
