#include "runtime/engine/query_encoder.h"

#include <algorithm>
#include <cinttypes>

#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::engine {
namespace {

Result<tokenizer::Encoding> encode_ids(const Model::Impl& model, const Task& task, std::span<const int32_t> ids,
                                       std::span<tokenizer::Token> room) {
  const uint32_t vocabulary = model.base.vocabulary;
  if (ids.empty()) return Status::error(ErrorCode::kInvalidArgument, "ids: expected at least one token id, found none");
  if (ids.size() > task.info.max_length) {
    return Status::error(ErrorCode::kInvalidArgument, "ids: task '%s' takes at most %u token ids, found %zu", Shown(task.info.name).text,
                         task.info.max_length, ids.size());
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const int32_t id = ids[i];
    if (id < 0 || static_cast<uint32_t>(id) >= vocabulary) {
      return Status::error(ErrorCode::kInvalidArgument, "ids[%zu]: expected 0 to %u, found %" PRId32, i, vocabulary - 1, id);
    }
    room[i] = {id, 0, 0, 0, model.has_tokenizer && model.tokenizer.is_special(id)};
  }
  return tokenizer::Encoding{static_cast<uint32_t>(ids.size()), false};
}

}  // namespace

Shown::Shown(std::string_view whole) {
  const std::string_view start = utf8::prefix(whole, sizeof text - 1);
  std::replace_copy(start.begin(), start.end(), text, '\0', '?');  // a 0 would end the message
}

Status unknown_task(std::string_view name) { return Status::error(ErrorCode::kNotFound, "unknown task '%s'", Shown(name).text); }

Status check_limits(const Task& task, const EncoderCapacity& capacity) {
  if (task.limits.within(capacity.tasks)) return Status::ok();
  return Status::error(ErrorCode::kResourceExhausted,
                       "task '%s' was added after this session was made and needs more scratch than was planned (rank %u, bottleneck %u, "
                       "outputs %u): make a new session",
                       task.info.name.c_str(), task.limits.rank, task.limits.inner, task.info.outputs);
}

Status check_text_query(const Model::Impl& model, const Task& task, const Query& query) {
  if (!model.has_tokenizer) {
    return Status::error(ErrorCode::kInvalidArgument, "this bundle holds no tokenizer: queries need token ids");
  }
  if (task.info.head == HeadType::kQuestionAnswering && !query.has_text_pair) {
    return Status::error(ErrorCode::kInvalidArgument, "task '%s' answers questions: expected a text_pair with the context, found none",
                         task.info.name.c_str());
  }
  if (query.has_text_pair && model.base.token_types < 2) {
    return Status::error(ErrorCode::kInvalidArgument, "text_pair: its tokens are of type 1, this base has %u token type",
                         model.base.token_types);
  }
  return Status::ok();
}

Result<tokenizer::Encoding> encode_query(const Model::Impl& model, const Task& task, const Query& query, std::span<tokenizer::Token> room,
                                         std::span<std::byte> scratch) {
  if (query.has_ids) return encode_ids(model, task, query.ids, room);
  PETS_RETURN_IF_ERROR(check_text_query(model, task, query));
  return model.tokenizer.encode(query.text, query.text_pair, query.has_text_pair, task.info.max_length, room, scratch);
}

bool same_text(const Query& a, const Query& b) {
  const auto same = [](std::string_view x, std::string_view y) { return x.data() == y.data() && x.size() == y.size(); };
  if (a.has_ids || b.has_ids) return a.has_ids && b.has_ids && a.ids.data() == b.ids.data() && a.ids.size() == b.ids.size();
  return a.has_text_pair == b.has_text_pair && same(a.text, b.text) && (!a.has_text_pair || same(a.text_pair, b.text_pair));
}

bool same_tokens(const tokenizer::Encoding& encoding, uint32_t other_max_length, uint32_t max_length) {
  return encoding.truncated ? max_length == other_max_length : max_length >= encoding.count;
}

}  // namespace pets::engine
