// tokenizer.json of the `tokenizers` library, every key accounted for.
#include <nlohmann/json.hpp>

#include "converter/files/json_reader.h"
#include "converter/tokenizer/tokenizer_draft.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"
#include "runtime/tokenizer/vocabulary.h"
#include "runtime/tokenizer/wordpiece.h"

namespace pets::converter {
namespace {

// An object of the file, and where it is, for messages.
struct Part {
  const Json& value;
  std::string where;

  Status refuse(const char* key, const std::string& expected) const {
    const auto found = value.find(key);
    return Status::error(ErrorCode::kUnsupported, "%s: `%s` is %s, expected %s", where.c_str(), key,
                         found == value.end() ? "missing" : json_text(*found).c_str(), expected.c_str());
  }
  Status only_keys(std::initializer_list<const char*> known) const {
    for (const auto& [key, unused] : value.items()) {
      const auto same = [&key = key](const char* name) { return key == name; };
      if (std::none_of(known.begin(), known.end(), same)) {
        return Status::error(ErrorCode::kUnsupported, "%s: unknown key `%s` (value %s): it may change the token ids", where.c_str(),
                             utf8::printable(key).c_str(), json_text(unused).c_str());
      }
    }
    return Status::ok();
  }
  const Json* find(const char* key) const {
    const auto found = value.find(key);
    return found == value.end() || found->is_null() ? nullptr : &*found;
  }
  Result<Part> object(const char* key) const {
    const Json* found = find(key);
    if (found == nullptr || !found->is_object()) return refuse(key, "an object");
    return Part{*found, where + ": " + key};
  }
  Status type(const char* expected) const {
    const Json* found = find("type");
    return found != nullptr && *found == expected ? Status::ok() : refuse("type", expected);
  }
  Status get(const char* key, bool& out) const {
    const Json* found = find(key);
    if (found == nullptr || !found->is_boolean()) return refuse(key, "true or false");
    out = found->get<bool>();
    return Status::ok();
  }
  Status get(const char* key, std::string& out) const {
    const Json* found = find(key);
    if (found == nullptr || !found->is_string()) return refuse(key, "a string");
    out = found->get<std::string>();
    return Status::ok();
  }
  Status get(const char* key, uint32_t maximum, uint32_t& out) const {
    const Json* found = find(key);
    if (found == nullptr || !found->is_number_unsigned() || found->get<uint64_t>() > maximum) {
      return refuse(key, "an integer from 0 to " + std::to_string(maximum));
    }
    out = found->get<uint32_t>();
    return Status::ok();
  }
};

Status read_vocabulary(const Part& model, TokenizerDraft& draft) {
  PETS_ASSIGN_OR_RETURN(const Part vocabulary, model.object("vocab"));
  // Ids may have holes, but not so many that a small file costs much memory.
  const uint64_t limit = 4 * vocabulary.value.size() + 65536;
  std::vector<bool> taken;
  for (const auto& [entry, id] : vocabulary.value.items()) {
    const std::string name = utf8::printable(entry);
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= limit) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: `%s` has id %s", vocabulary.where.c_str(), name.c_str(),
                           json_text(id).c_str());
    }
    if (entry.size() > tokenizer::kMaxEntryBytes) {
      return Status::error(ErrorCode::kUnsupported, "%s: `%s` has %zu bytes, at most %u are supported", vocabulary.where.c_str(),
                           name.c_str(), entry.size(), tokenizer::kMaxEntryBytes);
    }
    const auto value = id.get<uint32_t>();
    if (taken.size() <= value) taken.resize(value + size_t{1});
    if (taken[value]) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: id %u is given twice, last to `%s`", vocabulary.where.c_str(), value,
                           name.c_str());
    }
    taken[value] = true;
    draft.vocabulary.emplace(entry, value);
  }
  return Status::ok();
}

Status read_model(const Part& root, TokenizerDraft& draft) {
  PETS_ASSIGN_OR_RETURN(const Part model, root.object("model"));
  if (model.find("type") != nullptr) PETS_RETURN_IF_ERROR(model.type("WordPiece"));
  PETS_RETURN_IF_ERROR(model.only_keys({"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"}));
  std::string unknown;
  PETS_RETURN_IF_ERROR(model.get("unk_token", unknown));
  PETS_RETURN_IF_ERROR(model.get("continuing_subword_prefix", draft.tables.continuation_prefix));
  PETS_RETURN_IF_ERROR(model.get("max_input_chars_per_word", tokenizer::kMaxCharactersPerWord, draft.tables.max_characters_per_word));
  if (draft.tables.continuation_prefix.size() > tokenizer::kMaxPrefixBytes)
    return model.refuse("continuing_subword_prefix", "a short string");
  PETS_RETURN_IF_ERROR(read_vocabulary(model, draft));
  const auto entry = draft.vocabulary.find(unknown);
  if (entry == draft.vocabulary.end()) return model.refuse("unk_token", "an entry of the vocabulary");
  draft.tables.unknown_id = entry->second;
  return Status::ok();
}

Status read_normalizer(const Part& root, TokenizerDraft& draft) {
  tokenizer::WordPieceTables& tables = draft.tables;
  if (root.find("normalizer") == nullptr) {
    draft.has_normalizer = false;
    tables.clean_text = tables.handle_chinese_characters = tables.lowercase = false;
    tables.strip_accents = schema::StripAccents::kNo;
    return Status::ok();
  }
  PETS_ASSIGN_OR_RETURN(const Part normalizer, root.object("normalizer"));
  PETS_RETURN_IF_ERROR(normalizer.type("BertNormalizer"));
  PETS_RETURN_IF_ERROR(normalizer.only_keys({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"}));
  PETS_RETURN_IF_ERROR(normalizer.get("clean_text", tables.clean_text));
  PETS_RETURN_IF_ERROR(normalizer.get("handle_chinese_chars", tables.handle_chinese_characters));
  PETS_RETURN_IF_ERROR(normalizer.get("lowercase", tables.lowercase));
  tables.strip_accents = schema::StripAccents::kAsLowercase;
  if (normalizer.find("strip_accents") != nullptr) {
    bool strip = false;
    PETS_RETURN_IF_ERROR(normalizer.get("strip_accents", strip));
    tables.strip_accents = strip ? schema::StripAccents::kYes : schema::StripAccents::kNo;
  }
  return Status::ok();
}

Status read_added_tokens(const Part& root, TokenizerDraft& draft) {
  const Json* list = root.find("added_tokens");
  if (list == nullptr) return Status::ok();
  if (!list->is_array()) return root.refuse("added_tokens", "a list");
  for (size_t i = 0; i < list->size(); ++i) {
    const Part part{(*list)[i], root.where + ": added_tokens[" + std::to_string(i) + "]"};
    if (!part.value.is_object()) return Status::error(ErrorCode::kUnsupported, "%s: not an object", part.where.c_str());
    PETS_RETURN_IF_ERROR(part.only_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
    tokenizer::AddedToken token;
    uint32_t given = 0;  // not used, see below
    PETS_RETURN_IF_ERROR(part.get("id", INT32_MAX, given));
    PETS_RETURN_IF_ERROR(part.get("content", token.content));
    PETS_RETURN_IF_ERROR(part.get("single_word", token.single_word));
    PETS_RETURN_IF_ERROR(part.get("lstrip", token.lstrip));
    PETS_RETURN_IF_ERROR(part.get("rstrip", token.rstrip));
    PETS_RETURN_IF_ERROR(part.get("normalized", token.normalized));
    PETS_RETURN_IF_ERROR(part.get("special", token.special));
    // The library takes the vocabulary's id, or the next free one, whatever the file says.
    PETS_RETURN_IF_ERROR(draft.add(token, part.where));
  }
  return Status::ok();
}

// [CLS] A [SEP] as {"SpecialToken": {"id", "type_id"}}, {"Sequence": {"id", "type_id"}}, ...; the names of the special tokens come back.
bool is_template(const Json* list, std::initializer_list<const char*> sequences, std::string& class_name, std::string& separator_name) {
  if (list == nullptr || !list->is_array() || list->size() != 1 + 2 * sequences.size()) return false;
  const auto matches = [&](size_t i, const char* kind, size_t type, std::string& name) {
    const Json& item = (*list)[i];
    if (!item.is_object() || item.size() != 1 || !item.contains(kind)) return false;
    const Json& body = item[kind];
    if (!body.is_object() || body.size() != 2 || !body.contains("id") || !body["id"].is_string() || !body.contains("type_id")) return false;
    const auto id = body["id"].get<std::string>();
    if (!name.empty() && name != id) return false;
    name = id;
    return body["type_id"].is_number_unsigned() && body["type_id"].get<uint64_t>() == type;
  };
  if (!matches(0, "SpecialToken", 0, class_name)) return false;
  size_t part = 0;
  for (const char* sequence : sequences) {
    std::string name = sequence;
    if (!matches(1 + 2 * part, "Sequence", part, name) || !matches(2 + 2 * part, "SpecialToken", part, separator_name)) return false;
    ++part;
  }
  return true;
}

Status read_template(const Part& processor, TokenizerDraft& draft) {
  PETS_RETURN_IF_ERROR(processor.only_keys({"type", "single", "pair", "special_tokens"}));
  std::string class_name, separator_name;
  if (!is_template(processor.find("single"), {"A"}, class_name, separator_name))
    return processor.refuse("single", "[CLS] A [SEP], type ids 0");
  if (!is_template(processor.find("pair"), {"A", "B"}, class_name, separator_name)) {
    return processor.refuse("pair", "[CLS] A [SEP] B [SEP], type ids 0 and 1");
  }
  PETS_ASSIGN_OR_RETURN(const Part special, processor.object("special_tokens"));
  const auto read_id = [&](const std::string& name, uint32_t& id) -> Status {
    PETS_ASSIGN_OR_RETURN(const Part token, special.object(name.c_str()));
    const Json* ids = token.find("ids");
    if (ids == nullptr || !ids->is_array() || ids->size() != 1 || !(*ids)[0].is_number_unsigned() ||
        (*ids)[0].get<uint64_t>() > INT32_MAX) {
      return token.refuse("ids", "one id");
    }
    id = (*ids)[0].get<uint32_t>();
    return Status::ok();
  };
  PETS_RETURN_IF_ERROR(read_id(class_name, draft.tables.class_id));
  return read_id(separator_name, draft.tables.separator_id);
}

Status read_post_processor(const Part& root, TokenizerDraft& draft) {
  PETS_ASSIGN_OR_RETURN(const Part processor, root.object("post_processor"));
  const Json* type = processor.find("type");
  if (type != nullptr && *type == "TemplateProcessing") return read_template(processor, draft);
  if (type == nullptr || *type != "BertProcessing") return processor.refuse("type", "\"TemplateProcessing\" or \"BertProcessing\"");
  PETS_RETURN_IF_ERROR(processor.only_keys({"type", "sep", "cls"}));
  const auto read_id = [&](const char* key, uint32_t& id) {
    const Json* pair = processor.find(key);
    if (pair == nullptr || !pair->is_array() || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_number_unsigned() ||
        (*pair)[1].get<uint64_t>() > INT32_MAX) {
      return processor.refuse(key, "[token, id]");
    }
    id = (*pair)[1].get<uint32_t>();
    return Status::ok();
  };
  PETS_RETURN_IF_ERROR(read_id("cls", draft.tables.class_id));
  return read_id("sep", draft.tables.separator_id);
}

Status read_all(const Part& root, TokenizerDraft& draft) {
  PETS_RETURN_IF_ERROR(root.only_keys(
      {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"}));
  if (const Json* version = root.find("version"); version != nullptr && *version != "1.0") return root.refuse("version", "\"1.0\"");
  if (const Json* truncation = root.find("truncation");
      truncation != nullptr && truncation->is_object() && truncation->value("direction", Json("Right")) != "Right") {
    return root.refuse("truncation", "direction \"Right\"");
  }
  PETS_RETURN_IF_ERROR(read_model(root, draft));
  PETS_RETURN_IF_ERROR(read_normalizer(root, draft));
  PETS_ASSIGN_OR_RETURN(const Part pre_tokenizer, root.object("pre_tokenizer"));
  PETS_RETURN_IF_ERROR(pre_tokenizer.type("BertPreTokenizer"));
  PETS_RETURN_IF_ERROR(pre_tokenizer.only_keys({"type"}));
  PETS_RETURN_IF_ERROR(read_post_processor(root, draft));
  return read_added_tokens(root, draft);
}

}  // namespace

Result<TokenizerDraft> read_tokenizer_json(const std::string& path) {
  constexpr JsonLimits kLimits{uint64_t{64} << 20, 1'000'000, 32};
  PETS_ASSIGN_OR_RETURN(const Json json, load_json_object(path, kLimits));
  TokenizerDraft draft;
  PETS_RETURN_IF_ERROR(read_all({json, path}, draft));
  return draft;
}

}  // namespace pets::converter
