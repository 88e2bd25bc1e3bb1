#include "converter/huggingface/bert_config.h"

#include <nlohmann/json.hpp>

#include "converter/files/json_reader.h"
#include "converter/files/message_text.h"
#include "converter/model/activation_names.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

constexpr KeyUse kIrrelevant = KeyUse::kIrrelevant, kDefault = KeyUse::kDefault;

constexpr KeyRule kRules[] = {
    {"model_type"},
    {"architectures"},
    {"hidden_size"},
    {"num_hidden_layers"},
    {"num_attention_heads"},
    {"intermediate_size"},
    {"vocab_size"},
    {"max_position_embeddings"},
    {"type_vocab_size"},
    {"layer_norm_eps"},
    {"hidden_act"},
    {"pad_token_id"},
    {"id2label"},
    {"num_labels"},
    {"_num_labels"},
    {"problem_type"},

    {"position_embedding_type", kDefault, R"(["absolute"])", "relative positions are not supported"},
    {"is_decoder", kDefault, "[false]", "decoders are not supported"},
    {"is_encoder_decoder", kDefault, "[false]", "encoder-decoder models are not supported"},
    {"add_cross_attention", kDefault, "[false]", "cross-attention is not supported"},
    {"cross_attention_hidden_size", kDefault, "[]", "cross-attention is not supported"},
    {"pruned_heads", kDefault, "[{}]", "pruned heads are not supported"},
    {"quantization_config", kDefault, "[]", "save the model unquantized"},

    // Training, files and bookkeeping.
    {"label2id", kIrrelevant},  // the inverse of id2label
    {"_name_or_path", kIrrelevant},
    {"name_or_path", kIrrelevant},
    {"_commit_hash", kIrrelevant},
    {"transformers_version", kIrrelevant},
    {"torch_dtype", kIrrelevant},
    {"dtype", kIrrelevant},
    {"use_bfloat16", kIrrelevant},
    {"use_cache", kIrrelevant},
    {"initializer_range", kIrrelevant},
    {"hidden_dropout_prob", kIrrelevant},
    {"attention_probs_dropout_prob", kIrrelevant},
    {"classifier_dropout", kIrrelevant},
    {"gradient_checkpointing", kIrrelevant},
    {"finetuning_task", kIrrelevant},
    {"task_specific_params", kIrrelevant},
    {"tokenizer_class", kIrrelevant},
    {"prefix", kIrrelevant},
    {"bos_token_id", kIrrelevant},
    {"eos_token_id", kIrrelevant},
    {"sep_token_id", kIrrelevant},
    {"cls_token_id", kIrrelevant},
    {"mask_token_id", kIrrelevant},
    {"decoder_start_token_id", kIrrelevant},
    {"attn_implementation", kIrrelevant},
    {"_attn_implementation", kIrrelevant},
    {"_attn_implementation_autoset", kIrrelevant},
    {"chunk_size_feed_forward", kIrrelevant},  // computes the same in pieces
    {"output_attentions", kIrrelevant},
    {"output_hidden_states", kIrrelevant},
    {"output_past", kIrrelevant},
    {"return_dict", kIrrelevant},
    {"torchscript", kIrrelevant},
    {"tie_word_embeddings", kIrrelevant},
    {"tie_encoder_decoder", kIrrelevant},
    {"tf_legacy_loss", kIrrelevant},
    {"sentence_transformers", kIrrelevant},
    // Google's original files and TinyBERT's notes: transformers' BertModel has no such options.
    {"directionality", kIrrelevant},
    {"pooler_fc_size", kIrrelevant},
    {"pooler_num_attention_heads", kIrrelevant},
    {"pooler_num_fc_layers", kIrrelevant},
    {"pooler_size_per_head", kIrrelevant},
    {"pooler_type", kIrrelevant},
    {"cell", kIrrelevant},
    {"emb_size", kIrrelevant},
    {"pre_trained", kIrrelevant},
    {"structure", kIrrelevant},
    {"training", kIrrelevant},
    // Text generation, which an encoder does not do.
    {"max_length", kIrrelevant},
    {"min_length", kIrrelevant},
    {"do_sample", kIrrelevant},
    {"early_stopping", kIrrelevant},
    {"num_beams", kIrrelevant},
    {"num_beam_groups", kIrrelevant},
    {"diversity_penalty", kIrrelevant},
    {"temperature", kIrrelevant},
    {"top_k", kIrrelevant},
    {"top_p", kIrrelevant},
    {"typical_p", kIrrelevant},
    {"repetition_penalty", kIrrelevant},
    {"length_penalty", kIrrelevant},
    {"no_repeat_ngram_size", kIrrelevant},
    {"encoder_no_repeat_ngram_size", kIrrelevant},
    {"bad_words_ids", kIrrelevant},
    {"num_return_sequences", kIrrelevant},
    {"output_scores", kIrrelevant},
    {"return_dict_in_generate", kIrrelevant},
    {"forced_bos_token_id", kIrrelevant},
    {"forced_eos_token_id", kIrrelevant},
    {"remove_invalid_values", kIrrelevant},
    {"exponential_decay_length_penalty", kIrrelevant},
    {"suppress_tokens", kIrrelevant},
    {"begin_suppress_tokens", kIrrelevant},
};

/// Generous limits that keep every product of two sizes far from overflow.
constexpr uint64_t kMaxSize = uint64_t{1} << 24U;
constexpr uint64_t kMaxLayers = 4096;

Result<uint32_t> size(const OrderedJson& object, std::string_view key, const std::string& path, uint64_t fallback,
                      uint64_t maximum = kMaxSize) {
  PETS_ASSIGN_OR_RETURN(const uint64_t value, get_unsigned(object, key, path, fallback, maximum));
  if (value == 0) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: `%.*s` is 0, expected at least 1", path.c_str(), static_cast<int>(key.size()),
                         key.data());
  }
  return static_cast<uint32_t>(value);
}

Result<std::vector<std::string>> read_labels(const OrderedJson& object, const std::string& path) {
  std::vector<std::string> labels;
  const auto found = object.find("id2label");
  if (found != object.end() && !found->is_null()) {
    if (!found->is_object()) return Status::error(ErrorCode::kInvalidArgument, "%s: `id2label` is no object", path.c_str());
    for (size_t i = 0; i < found->size(); ++i) {
      const auto label = found->find(std::to_string(i));
      if (label == found->end() || !label->is_string()) {
        return Status::error(ErrorCode::kInvalidArgument, "%s: `id2label` has %zu entries, but none with a name for %zu", path.c_str(),
                             found->size(), i);
      }
      labels.push_back(label->get<std::string>());
    }
    return labels;
  }
  for (const char* key : {"num_labels", "_num_labels"}) {
    PETS_ASSIGN_OR_RETURN(const uint64_t count, get_unsigned(object, key, path, 0, 1U << 20U));
    while (labels.size() < count) labels.push_back("LABEL_" + std::to_string(labels.size()));
  }
  return labels;
}

Result<std::string> read_architecture(const OrderedJson& object, const std::string& path) {
  const auto found = object.find("architectures");
  if (found == object.end() || found->is_null() || (found->is_array() && found->empty())) return std::string();
  if (!found->is_array() || found->size() != 1 || !found->front().is_string()) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: `architectures` is %s, expected a list of one name", path.c_str(),
                         json_text(*found).c_str());
  }
  return found->front().get<std::string>();
}

}  // namespace

Result<BertConfig> read_bert_config(const std::string& directory) {
  BertConfig config;
  config.path = join_path(directory, "config.json");
  const std::string& path = config.path;
  PETS_ASSIGN_OR_RETURN(const OrderedJson object, load_config_object(path));
  // The model type first: another model's keys would only confuse.
  PETS_ASSIGN_OR_RETURN(const std::string model_type, get_string(object, "model_type", path, std::nullopt));
  if (model_type != "bert") {
    return Status::error(ErrorCode::kUnsupported, "%s: model type `%s` is not supported, expected `bert`", path.c_str(),
                         utf8::printable(model_type).c_str());
  }
  PETS_RETURN_IF_ERROR(check_keys(object, kRules, path));
  // The defaults are those of transformers' BertConfig.
  PETS_ASSIGN_OR_RETURN(config.hidden, size(object, "hidden_size", path, 768));
  PETS_ASSIGN_OR_RETURN(config.layers, size(object, "num_hidden_layers", path, 12, kMaxLayers));
  PETS_ASSIGN_OR_RETURN(config.heads, size(object, "num_attention_heads", path, 12));
  PETS_ASSIGN_OR_RETURN(config.intermediate, size(object, "intermediate_size", path, 3072));
  PETS_ASSIGN_OR_RETURN(config.vocabulary, size(object, "vocab_size", path, 30522));
  PETS_ASSIGN_OR_RETURN(config.positions, size(object, "max_position_embeddings", path, 512));
  PETS_ASSIGN_OR_RETURN(config.token_types, size(object, "type_vocab_size", path, 2));
  if (config.hidden % config.heads != 0) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: `hidden_size` %u is no multiple of `num_attention_heads` %u", path.c_str(),
                         config.hidden, config.heads);
  }
  PETS_ASSIGN_OR_RETURN(const double epsilon, get_number(object, "layer_norm_eps", path, 1e-12));
  if (!(epsilon > 0 && epsilon < 1)) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: `layer_norm_eps` is %g, expected a number between 0 and 1", path.c_str(),
                         epsilon);
  }
  config.norm_epsilon = static_cast<float>(epsilon);
  PETS_ASSIGN_OR_RETURN(const std::string activation, get_string(object, "hidden_act", path, "gelu"));
  const auto known = transformers_activation(activation);
  if (!known) {
    return Status::error(ErrorCode::kUnsupported, "%s: `hidden_act` `%s` is not supported", path.c_str(),
                         utf8::printable(activation).c_str());
  }
  config.activation = *known;
  PETS_ASSIGN_OR_RETURN(const uint64_t pad_id, get_unsigned(object, "pad_token_id", path, 0, config.vocabulary - 1));
  config.pad_id = static_cast<uint32_t>(pad_id);
  PETS_ASSIGN_OR_RETURN(config.architecture, read_architecture(object, path));
  PETS_ASSIGN_OR_RETURN(config.id2label, read_labels(object, path));
  PETS_ASSIGN_OR_RETURN(config.problem_type, get_string(object, "problem_type", path, ""));
  return config;
}

}  // namespace pets::converter
