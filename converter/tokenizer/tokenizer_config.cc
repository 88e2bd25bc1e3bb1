#include "converter/tokenizer/tokenizer_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "converter/files/json_reader.h"
#include "converter/files/message_text.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

// Special tokens by attribute, in the order in which transformers adds them. BERT's classes have defaults for some.
struct Attribute {
  const char* name;
  const char* bert_default;
};
constexpr std::array<Attribute, 7> kAttributes = {{{"bos_token", nullptr},
                                                   {"eos_token", nullptr},
                                                   {"unk_token", "[UNK]"},
                                                   {"sep_token", "[SEP]"},
                                                   {"pad_token", "[PAD]"},
                                                   {"cls_token", "[CLS]"},
                                                   {"mask_token", "[MASK]"}}};

// Keys that change no id of an encoded text, whatever their value.
constexpr const char* kIrrelevant[] = {"name_or_path",
                                       "special_tokens_map_file",
                                       "tokenizer_file",
                                       "vocab_file",
                                       "clean_up_tokenization_spaces",
                                       "padding_side",
                                       "max_length",
                                       "pad_to_multiple_of",
                                       "pad_token_type_id",
                                       "stride",
                                       "truncation_strategy",
                                       "never_split",
                                       "do_basic_tokenize",
                                       "clean_text",
                                       "chat_template",
                                       "processor_class",
                                       "return_token_type_ids",
                                       "model_input_names_order",
                                       "_commit_hash",
                                       "add_prefix_space",
                                       "wordpieces_prefix",
                                       "vocab_size",
                                       "device_map",
                                       "use_fast",
                                       "full_tokenizer_file",
                                       "return_tensors",
                                       "padding",
                                       "truncation",
                                       "do_pad"};
constexpr const char* kRead[] = {"tokenizer_class",
                                 "do_lower_case",
                                 "strip_accents",
                                 "tokenize_chinese_chars",
                                 "model_max_length",
                                 "max_len",
                                 "truncation_side",
                                 "split_special_tokens",
                                 "model_input_names",
                                 "from_slow",
                                 "extra_special_tokens",
                                 "auto_map",
                                 "fast_tokenizer_files",
                                 "added_tokens_decoder",
                                 "additional_special_tokens",
                                 "init_inputs",
                                 "gguf_file",
                                 "backend",
                                 "is_local"};

class ConfigReader {
 public:
  ConfigReader(std::string directory, bool from_vocabulary, TokenizerDraft& draft)
      : directory_(std::move(directory)),
        path_(join_path(directory_, "tokenizer_config.json")),
        from_vocabulary_(from_vocabulary),
        draft_(draft) {}

  Status apply(uint64_t& model_max_length);

 private:
  Status refuse(const std::string& path, const std::string& key, const Json& value, const char* expected) const {
    return Status::error(ErrorCode::kUnsupported, "%s: `%s` is %s, expected %s", path.c_str(), utf8::printable(key).c_str(),
                         json_text(value).c_str(), expected);
  }
  const Json* find(const char* key) const {
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }
  Status get_bool(const char* key, bool fallback, bool& out) const {
    const Json* value = find(key);
    out = fallback;
    if (value == nullptr) return Status::ok();
    if (!value->is_boolean()) return refuse(path_, key, *value, "true or false");
    out = value->get<bool>();
    return Status::ok();
  }

  Status check_keys() const;
  Status find_class();
  Status read_max_length(uint64_t& out) const;
  Status set_normalizer();
  Status merge_special_tokens_map();
  Result<std::set<std::string>> special_names(bool with_defaults) const;
  Status add_listed(tokenizer::AddedToken token, const std::set<std::string>& special_names, const std::string& path);
  Status add_decoder_tokens();
  Status add_legacy_tokens();
  Status add_special_tokens();
  Result<tokenizer::AddedToken> special_token(const std::string& path, const std::string& key, const Json& value) const;
  Status name_special_ids();

  std::string directory_, path_;
  bool from_vocabulary_;
  TokenizerDraft& draft_;
  Json config_ = Json::object();
  bool is_bert_ = false, is_known_ = false;
};

Status ConfigReader::check_keys() const {
  for (const auto& [key, value] : config_.items()) {
    const auto named = [&key = key](const char* name) { return key == name; };
    if (std::any_of(std::begin(kIrrelevant), std::end(kIrrelevant), named) || std::any_of(std::begin(kRead), std::end(kRead), named))
      continue;
    if (std::any_of(kAttributes.begin(), kAttributes.end(), [&](const Attribute& a) { return named(a.name); })) continue;
    return Status::error(ErrorCode::kUnsupported, "%s: unknown key `%s` (value %s): it may change the token ids", path_.c_str(),
                         utf8::printable(key).c_str(), json_text(value).c_str());
  }
  if (const Json* side = find("truncation_side"); side != nullptr && *side != "right")
    return refuse(path_, "truncation_side", *side, "\"right\"");
  for (const char* key : {"split_special_tokens", "from_slow"}) {
    if (const Json* value = find(key); value != nullptr && *value != false) return refuse(path_, key, *value, "false");
  }
  for (const char* key : {"extra_special_tokens", "auto_map", "fast_tokenizer_files", "init_inputs", "gguf_file", "backend"}) {
    if (const Json* value = find(key); value != nullptr && !(value->is_structured() && value->empty()) && !(*value == "tokenizers")) {
      return refuse(path_, key, *value, "nothing");
    }
  }
  if (const Json* names = find("model_input_names"); names != nullptr) {
    if (!names->is_array() || std::find(names->begin(), names->end(), "token_type_ids") == names->end()) {
      return refuse(path_, "model_input_names", *names, "a list with token_type_ids");
    }
  }
  return Status::ok();
}

Status ConfigReader::find_class() {
  std::string name, where = path_, key = "tokenizer_class";
  if (const Json* value = find("tokenizer_class"); value != nullptr) {
    if (!value->is_string()) return refuse(path_, key, *value, "a string");
    name = value->get<std::string>();
  } else if (const std::string model = join_path(directory_, "config.json"); is_file(model)) {
    where = model;
    PETS_ASSIGN_OR_RETURN(const Json json, load_json_object(model));
    const auto given = [&](const char* k) { return json.contains(k) && json[k].is_string() ? json[k].get<std::string>() : std::string(); };
    name = given("tokenizer_class");
    if (name.empty()) {
      key = "model_type";
      name = given("model_type");
      if (name == "bert") name = "BertTokenizer";
    }
  }
  if (name.empty() && !from_vocabulary_) return Status::ok();
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  is_known_ = true;
  is_bert_ = name.empty() || name == "BertTokenizer" || name == "DistilBertTokenizer" || name == "ElectraTokenizer" ||
             name == "MobileBertTokenizer";
  if (name == "DistilBertTokenizer" && find("model_input_names") == nullptr) {
    return Status::error(ErrorCode::kUnsupported,
                         "%s: `%s` `%s` makes no token types, a BertTokenizer makes them: say BertTokenizer, or name token_type_ids in "
                         "`model_input_names` of tokenizer_config.json, if the base was trained with them",
                         where.c_str(), key.c_str(), name.c_str());
  }
  if (is_bert_ || (name == "PreTrainedTokenizer" && !from_vocabulary_)) return Status::ok();
  return refuse(where, key, name, "\"BertTokenizer\"");
}

Status ConfigReader::read_max_length(uint64_t& out) const {
  // transformers writes int(1e30) for "no limit"; longer than any text counts as none too.
  constexpr double kVeryLarge = 1e9;
  out = 0;
  const char* key = find("model_max_length") != nullptr ? "model_max_length" : "max_len";
  const Json* value = find(key);
  if (value == nullptr) return Status::ok();
  if (!value->is_number() || !(value->get<double>() >= 1)) return refuse(path_, key, *value, "a length");
  if (value->get<double>() < kVeryLarge) out = static_cast<uint64_t>(value->get<double>());
  return Status::ok();
}

Status ConfigReader::set_normalizer() {
  if (!is_bert_) return Status::ok();
  if (!draft_.has_normalizer) {
    return Status::error(ErrorCode::kUnsupported, "%s: BertTokenizer needs a normalizer, tokenizer.json has none", directory_.c_str());
  }
  tokenizer::WordPieceTables& tables = draft_.tables;
  // BertTokenizerFast sets its options last, when all tokens are added; one made from vocab.txt has them from the start.
  if (!from_vocabulary_) draft_.added_normalizer = tokenizer::normalizer_options(tables);
  PETS_RETURN_IF_ERROR(get_bool("do_lower_case", true, tables.lowercase));
  PETS_RETURN_IF_ERROR(get_bool("tokenize_chinese_chars", true, tables.handle_chinese_characters));
  bool strip = false;
  PETS_RETURN_IF_ERROR(get_bool("strip_accents", false, strip));
  tables.strip_accents = find("strip_accents") == nullptr ? schema::StripAccents::kAsLowercase
                         : strip                          ? schema::StripAccents::kYes
                                                          : schema::StripAccents::kNo;
  return Status::ok();
}

// A special token's options: a plain name stands for one that is matched as it is written.
Result<tokenizer::AddedToken> ConfigReader::special_token(const std::string& path, const std::string& key, const Json& value) const {
  tokenizer::AddedToken token;
  token.special = true;
  if (value.is_string()) {
    token.content = value.get<std::string>();
    return token;
  }
  if (!value.is_object() || !value.contains("content") || !value["content"].is_string()) return refuse(path, key, value, "a token");
  for (const auto& [name, option] : value.items()) {
    if (name == "content") {
      token.content = option.get<std::string>();
      continue;
    }
    if (name == "__type" && option == "AddedToken") continue;
    bool* const target = name == "lstrip"        ? &token.lstrip
                         : name == "rstrip"      ? &token.rstrip
                         : name == "normalized"  ? &token.normalized
                         : name == "single_word" ? &token.single_word
                         : name == "special"     ? &token.special
                                                 : nullptr;
    if (target == nullptr || !option.is_boolean()) {
      std::string place = key;
      place.append(".").append(name);
      return refuse(path, place, option, "an option of a token");
    }
    *target = option.get<bool>();
  }
  return token;
}

// Before `added_tokens_decoder` there was special_tokens_map.json, and where both name a token it wins.
Status ConfigReader::merge_special_tokens_map() {
  const std::string path = join_path(directory_, "special_tokens_map.json");
  if (find("added_tokens_decoder") != nullptr || !is_file(path)) return Status::ok();
  PETS_ASSIGN_OR_RETURN(const Json map, load_json_object(path));
  for (const auto& [key, value] : map.items()) {
    const auto named = [&key = key](const Attribute& a) { return key == a.name; };
    if (key == "additional_special_tokens" && value.is_array()) {
      Json& list = config_[key];
      if (!list.is_array()) list = Json::array();
      list.insert(list.end(), value.begin(), value.end());
    } else if (std::any_of(kAttributes.begin(), kAttributes.end(), named)) {
      config_[key] = value;
    } else {
      return refuse(path, key, value, "no such key");
    }
  }
  return Status::ok();
}

// What the special tokens' attributes name, by the configuration alone or with the class's defaults.
Result<std::set<std::string>> ConfigReader::special_names(bool with_defaults) const {
  std::set<std::string> names;
  for (const Attribute& attribute : kAttributes) {
    if (const Json* value = find(attribute.name); value != nullptr) {
      PETS_ASSIGN_OR_RETURN(const tokenizer::AddedToken token, special_token(path_, attribute.name, *value));
      names.insert(token.content);
    } else if (with_defaults && is_bert_ && attribute.bert_default != nullptr && !config_.contains(attribute.name)) {
      names.insert(attribute.bert_default);
    }
  }
  if (const Json* more = find("additional_special_tokens"); more != nullptr && more->is_array()) {
    for (const Json& value : *more) {
      PETS_ASSIGN_OR_RETURN(const tokenizer::AddedToken token, special_token(path_, "additional_special_tokens", value));
      names.insert(token.content);
    }
  }
  return names;
}

// A token that is not there yet with just these options is added, as a special one if an attribute names it.
Status ConfigReader::add_listed(tokenizer::AddedToken token, const std::set<std::string>& special_names, const std::string& path) {
  if (draft_.has(token)) return Status::ok();
  token.special = token.special || special_names.contains(token.content);
  return draft_.add(std::move(token), path);
}

Status ConfigReader::add_decoder_tokens() {
  const Json* decoder = find("added_tokens_decoder");
  if (decoder == nullptr) return Status::ok();
  if (!decoder->is_object()) return refuse(path_, "added_tokens_decoder", *decoder, "an object");
  std::vector<std::pair<uint64_t, const Json*>> tokens;
  for (const auto& [key, value] : decoder->items()) {
    const bool digits = !key.empty() && key.size() <= 9 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || !value.is_object()) return refuse(path_, "added_tokens_decoder", key, "an id with a token");
    tokens.emplace_back(std::stoull(key), &value);
  }
  std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  PETS_ASSIGN_OR_RETURN(const std::set<std::string> names, special_names(true));
  for (const auto& [id, value] : tokens) {
    const std::string key = "added_tokens_decoder." + std::to_string(id);
    PETS_ASSIGN_OR_RETURN(tokenizer::AddedToken token, special_token(path_, key, *value));
    if (!value->contains("special")) token.special = false;
    if (!value->contains("normalized")) token.normalized = !token.special;
    PETS_RETURN_IF_ERROR(add_listed(std::move(token), names, path_));  // at the vocabulary's id or the next free one, as the library does
  }
  return Status::ok();
}

Status ConfigReader::add_legacy_tokens() {
  const std::string path = join_path(directory_, "added_tokens.json");
  if (find("added_tokens_decoder") != nullptr || !is_file(path)) return Status::ok();
  PETS_ASSIGN_OR_RETURN(const Json map, load_json_object(path));
  std::vector<std::pair<uint64_t, std::string>> tokens;
  for (const auto& [content, id] : map.items()) {
    if (!id.is_number_unsigned()) return refuse(path, content, id, "an id");
    tokens.emplace_back(id.get<uint64_t>(), content);
  }
  std::sort(tokens.begin(), tokens.end());
  // tokenizer.json's tokens take the place of those that have the same id.
  std::set<uint64_t> taken;
  for (const auto& token : draft_.tables.added_tokens) taken.insert(token.id);
  PETS_ASSIGN_OR_RETURN(const std::set<std::string> given, special_names(false));
  PETS_ASSIGN_OR_RETURN(const std::set<std::string> names, special_names(true));
  for (const auto& [id, content] : tokens) {
    if (taken.contains(id)) continue;
    tokenizer::AddedToken token;
    token.content = content;
    token.special = given.contains(content);
    token.normalized = !token.special;
    PETS_RETURN_IF_ERROR(add_listed(std::move(token), names, path));
  }
  return Status::ok();
}

Status ConfigReader::add_special_tokens() {
  const auto add = [&](const std::string& key, const Json& value) -> Status {
    PETS_ASSIGN_OR_RETURN(tokenizer::AddedToken token, special_token(path_, key, value));
    const auto& added = draft_.tables.added_tokens;
    if (token.content.empty() || std::any_of(added.begin(), added.end(), [&](const auto& t) { return t.content == token.content; })) {
      return Status::ok();
    }
    token.special = true;
    return draft_.add(token, path_);
  };
  for (const Attribute& attribute : kAttributes) {
    if (const Json* value = find(attribute.name); value != nullptr) {
      PETS_RETURN_IF_ERROR(add(attribute.name, *value));
    } else if (is_bert_ && attribute.bert_default != nullptr && !config_.contains(attribute.name)) {
      PETS_RETURN_IF_ERROR(add(attribute.name, attribute.bert_default));
    }
  }
  const Json* more = find("additional_special_tokens");
  if (more == nullptr) return Status::ok();
  if (!more->is_array()) return refuse(path_, "additional_special_tokens", *more, "a list");
  for (const Json& value : *more) PETS_RETURN_IF_ERROR(add("additional_special_tokens", value));
  return Status::ok();
}

// For vocab.txt: the ids that tokenizer.json would name.
Status ConfigReader::name_special_ids() {
  const std::array<std::pair<const char*, uint32_t*>, 3> wanted = {
      {{"unk_token", &draft_.tables.unknown_id}, {"cls_token", &draft_.tables.class_id}, {"sep_token", &draft_.tables.separator_id}}};
  for (const auto& [key, id] : wanted) {
    const auto same = [key = key](const Attribute& a) { return std::string_view(a.name) == key; };
    const Json fallback = std::find_if(kAttributes.begin(), kAttributes.end(), same)->bert_default;
    const Json* value = find(key);
    PETS_ASSIGN_OR_RETURN(const tokenizer::AddedToken token, special_token(path_, key, value != nullptr ? *value : fallback));
    const bool in_vocabulary = draft_.vocabulary.contains(token.content);
    if (!draft_.find(token.content, *id) || (std::string_view(key) == "unk_token" && !in_vocabulary)) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: vocab.txt has no entry `%s` (%s)", directory_.c_str(),
                           utf8::printable(token.content).c_str(), key);
    }
  }
  return Status::ok();
}

Status ConfigReader::apply(uint64_t& model_max_length) {
  model_max_length = 0;
  if (is_file(path_)) {
    PETS_ASSIGN_OR_RETURN(config_, load_json_object(path_));
  }
  PETS_RETURN_IF_ERROR(check_keys());
  PETS_RETURN_IF_ERROR(find_class());
  PETS_RETURN_IF_ERROR(read_max_length(model_max_length));
  if (!is_known_) return Status::ok();
  PETS_RETURN_IF_ERROR(set_normalizer());
  PETS_RETURN_IF_ERROR(merge_special_tokens_map());
  PETS_RETURN_IF_ERROR(add_decoder_tokens());
  PETS_RETURN_IF_ERROR(add_legacy_tokens());
  PETS_RETURN_IF_ERROR(add_special_tokens());
  return from_vocabulary_ ? name_special_ids() : Status::ok();
}

}  // namespace

Status apply_tokenizer_config(const std::string& directory, bool from_vocabulary, TokenizerDraft& draft, uint64_t& model_max_length) {
  return ConfigReader(directory, from_vocabulary, draft).apply(model_max_length);
}

}  // namespace pets::converter
