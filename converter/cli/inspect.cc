#include "converter/cli/inspect.h"

#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "converter/bundle/bundle_base.h"
#include "converter/files/json_reader.h"
#include "converter/model/names.h"
#include "runtime/bundle/bundle_file.h"
#include "runtime/bundle/validate_tensor.h"
#include "runtime/platform/utf8.h"
#include "schema/bundle_format.h"

namespace pets::converter {
namespace {

std::string_view operator_name(schema::OperatorBody kind) {
  switch (kind) {
    case schema::OperatorBody::Bias:
      return "bias";
    case schema::OperatorBody::TaskNorm:
      return "norm";
    case schema::OperatorBody::LowRank:
      return "low_rank";
    case schema::OperatorBody::Sparse:
    case schema::OperatorBody::ReplacedRows:
      return "sparse";
    case schema::OperatorBody::Mask:
      return "mask";
    case schema::OperatorBody::Scale:
      return "scale";
    case schema::OperatorBody::Bottleneck:
      return "bottleneck";
    case schema::OperatorBody::NONE:
      break;
  }
  return "unknown";
}

OrderedJson describe_base(const bundle::BundleFile& file) {
  const schema::Base& base = *file.base().base;
  OrderedJson json;
  json["source"] = base.source()->str();
  json["architecture"] = base.architecture()->str();
  json["precision"] = precision_name(precision_of_bundle(file));
  json["target"] = target_name(target_of_bundle(file));
  json["layout"] = bundle::layout_name(base.encoder()->Get(0)->query()->weight()->layout());
  json["tables"] = bundle::type_name(base.word_embeddings()->dtype());
  json["hidden"] = base.hidden();
  json["layers"] = base.layers();
  json["heads"] = base.heads();
  json["intermediate"] = base.intermediate();
  json["vocabulary"] = base.vocabulary();
  json["positions"] = base.positions();
  json["token_types"] = base.token_types();
  json["pooler"] = base.pooler() != nullptr;
  json["tokenizer"] = base.tokenizer() != nullptr;
  json["default_max_length"] = base.default_max_length();
  json["bytes"] = file.base().bytes.size();
  return json;
}

OrderedJson describe_head(const schema::Task& task, const bundle::BundleFile& file) {
  const schema::Head& head = *task.head();
  OrderedJson json;
  json["type"] = head_type_name(head.type());
  json["pooling"] = pooling_name(head.pooling());
  if (head.layers()->size() != 0) {
    json["outputs"] = head.layers()->Get(head.layers()->size() - 1)->linear()->weight()->shape()->Get(0);
  } else {
    json["outputs"] = file.has_base() ? OrderedJson(file.dimensions().hidden) : OrderedJson();
  }
  json["layers"] = head.layers()->size();
  if (head.type() == HeadType::kEmbedding) json["normalize"] = head.normalize();
  json["labels"] = OrderedJson::array();
  for (const flatbuffers::String* label : *head.labels()) json["labels"].push_back(label->str());
  return json;
}

OrderedJson describe_task(const bundle::TaskSegment& segment, const bundle::BundleFile& file) {
  OrderedJson json;
  json["name"] = segment.name;
  json["bytes"] = segment.bytes.size();
  if (!segment.status) {
    json["error"] = segment.status.message();
    return json;
  }
  const schema::Task& task = *segment.task;
  json["source"] = task.source()->str();
  json["max_length"] = task.max_length();
  std::map<std::string_view, uint32_t> counts;
  for (const schema::Operator* op : *task.operators()) ++counts[operator_name(op->body_type())];
  json["operators"] = OrderedJson::object();
  for (const auto& [name, count] : counts) json["operators"][std::string(name)] = count;
  json["head"] = describe_head(task, file);
  json["goldens"] = task.goldens()->size();
  return json;
}

OrderedJson describe_file(const bundle::BundleFile& file) {
  OrderedJson json;
  json["file"] = file.path();
  json["format_version"] = schema::kFormatVersion;
  json["producer"] = file.producer();
  json["bytes"] = file.bytes().size();
  json["base_fingerprint"] = file.base_fingerprint();
  json["base"] = file.has_base() ? describe_base(file) : OrderedJson();
  json["tasks"] = OrderedJson::array();
  for (const bundle::TaskSegment& task : file.tasks()) json["tasks"].push_back(describe_task(task, file));
  return json;
}

std::string size_text(uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return bytes >= 1'000'000 ? fmt::format("{:.1f} MB", size / 1e6) : fmt::format("{:.1f} kB", size / 1e3);
}

/// A text of the file for a terminal: a label or a source may hold line breaks and escape sequences.
std::string shown(const OrderedJson& text) { return utf8::printable(text.get<std::string>(), 4096); }

/// "low_rank x12, bias x6"
std::string operators_text(const OrderedJson& operators) {
  std::string text;
  for (const auto& [name, count] : operators.items()) {
    text += fmt::format("{}{} x{}", text.empty() ? "" : ", ", name, count.get<uint64_t>());
  }
  return text.empty() ? "none" : text;
}

std::string labels_text(const OrderedJson& labels) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < labels.size() && i < kShown; ++i) text += (i == 0 ? "" : ", ") + shown(labels[i]);
  return labels.size() > kShown ? fmt::format("{}, ... ({} in all)", text, labels.size()) : text;
}

void print_base(const OrderedJson& base) {
  fmt::print("base      {} ({}), {}, {}\n", shown(base["source"]), shown(base["architecture"]), shown(base["precision"]),
             size_text(base["bytes"].get<uint64_t>()));
  fmt::print("          hidden {}, layers {}, heads {}, intermediate {}, vocabulary {}, positions {}, token types {}\n",
             base["hidden"].get<uint32_t>(), base["layers"].get<uint32_t>(), base["heads"].get<uint32_t>(),
             base["intermediate"].get<uint32_t>(), base["vocabulary"].get<uint32_t>(), base["positions"].get<uint32_t>(),
             base["token_types"].get<uint32_t>());
  fmt::print("          packed for {}: layout {}, tables in {}\n", shown(base["target"]), shown(base["layout"]), shown(base["tables"]));
  fmt::print("          {}, {}\n", base["pooler"].get<bool>() ? "with pooler" : "no pooler",
             base["tokenizer"].get<bool>() ? "WordPiece tokenizer" : "no tokenizer: token ids only");
}

void print_task(const OrderedJson& task) {
  fmt::print("\n{}\n", shown(task["name"]));
  if (task.contains("error")) {
    fmt::print("  DAMAGED: {}\n", shown(task["error"]));
    return;
  }
  const OrderedJson& head = task["head"];
  fmt::print("  size      {}, from {}\n", size_text(task["bytes"].get<uint64_t>()), shown(task["source"]));
  fmt::print("  operators {}\n", operators_text(task["operators"]));
  fmt::print("  head      {}, pooling {}, {} outputs\n", shown(head["type"]), shown(head["pooling"]),
             head["outputs"].is_null() ? "hidden" : head["outputs"].dump());
  if (!head["labels"].empty()) fmt::print("  labels    {}\n", labels_text(head["labels"]));
  fmt::print("  at most   {} tokens; {} golden queries\n", task["max_length"].get<uint32_t>(), task["goldens"].get<uint32_t>());
}

void print_listing(const OrderedJson& file) {
  fmt::print("file      {}, {}, format version {}, by {}\n", shown(file["file"]), size_text(file["bytes"].get<uint64_t>()),
             file["format_version"].get<uint32_t>(), shown(file["producer"]));
  fmt::print("base id   {}\n", shown(file["base_fingerprint"]));
  if (file["base"].is_null()) {
    fmt::print("base      none: a delta bundle\n");
  } else {
    print_base(file["base"]);
  }
  fmt::print("tasks     {}\n", file["tasks"].size());
  for (const OrderedJson& task : file["tasks"]) print_task(task);
}

}  // namespace

bool inspect(const InspectOptions& options, Console& console) {
  const auto file = bundle::BundleFile::open(options.file.c_str(), false, bundle::Verification::kStructure);
  if (!file) {
    console.error(file.status().message());
    return false;
  }
  const OrderedJson description = describe_file(**file);
  if (options.json) {
    const std::string text = description.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
    (void)std::fwrite(text.data(), 1, text.size(), stdout);  // main looks at whether all of it was written
    (void)std::fputc('\n', stdout);
  } else {
    print_listing(description);
  }
  for (const bundle::TaskSegment& task : (*file)->tasks()) {
    if (!task.status) console.error(task.status.message());
  }
  return console.errors() == 0;
}

}  // namespace pets::converter
