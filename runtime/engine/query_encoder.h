// From a query's text or ids to its tokens.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "pets/types.h"
#include "runtime/engine/model_impl.h"
#include "runtime/engine/task_set.h"
#include "runtime/tokenizer/tokenizer.h"

namespace pets::engine {

/// A string for a message, cut between two characters, so that a hostile name cannot fill it.
struct Shown {
  explicit Shown(std::string_view whole);
  char text[129] = {};
};

/// The error of a query whose task is not there.
Status unknown_task(std::string_view name);

/// An error where the task needs more scratch than a session of this capacity has.
Status check_limits(const Task& task, const EncoderCapacity& capacity);

/// Tokens of one query of `task`. `room` holds at least the task's max_length tokens, `scratch` the tokenizer's scratch_bytes. Errors:
/// no or too many ids, ids beyond the vocabulary, invalid UTF-8, a text where there is no tokenizer, a question without a context.
/// Thread-safe, does not allocate.
Result<tokenizer::Encoding> encode_query(const Model::Impl& model, const Task& task, const Query& query, std::span<tokenizer::Token> room,
                                         std::span<std::byte> scratch);

/// What encode_query asks of a query of text for `task`, before it looks at the text.
Status check_text_query(const Model::Impl& model, const Task& task, const Query& query);

/// Whether both queries show the same memory as their text or ids, so that their tokens are the same where their tasks' max_length allows.
bool same_text(const Query& a, const Query& b);

/// Whether a task with this `max_length` has the tokens that another one got, which were cut at that one's `other_max_length` where
/// `encoding` says so.
bool same_tokens(const tokenizer::Encoding& encoding, uint32_t other_max_length, uint32_t max_length);

}  // namespace pets::engine
