#include "converter/operators_format/operators_reader.h"

#include <map>
#include <set>

#include "converter/files/message_text.h"
#include "converter/model/head_request.h"
#include "converter/readers.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

constexpr const char* kFileName = "pet_operators.safetensors";

using OperatorNames = std::map<std::string, std::set<std::string>>;  // site -> operators

Result<OrderedJson> read_metadata(const SafetensorsFile& file) {
  const char* path = file.path().c_str();
  std::map<std::string, std::string> metadata = file.metadata();
  for (const auto& [key, expected] : {std::pair{"format", "pets-operators"}, std::pair{"version", "1"}}) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: the metadata has no `%s`; expected `%s`", path, key, expected);
    }
    if (found->second != expected) {
      return Status::error(ErrorCode::kUnsupported, "%s: metadata `%s`: expected `%s`, found %s", path, key, expected,
                           in_quotes(found->second).c_str());
    }
    metadata.erase(found);
  }
  std::string config = "{}";
  if (const auto found = metadata.find("config"); found != metadata.end()) {
    config = found->second;
    metadata.erase(found);
  }
  if (!metadata.empty()) {
    return Status::error(ErrorCode::kUnsupported, "%s: unknown metadata key %s; expected format, version, config", path,
                         in_quotes(metadata.begin()->first).c_str());
  }
  return parse_config_object(config, file.path() + ": config");
}

/// Every tensor outside the head belongs to `<site>:<operator>`.
Result<OperatorNames> collect_operators(const SafetensorsFile& file) {
  OperatorNames names;
  for (const SafeTensor& tensor : file.tensors()) {
    const size_t colon = tensor.name.find(':');
    const size_t dot = tensor.name.find('.', colon == std::string::npos ? 0 : colon);
    if (colon == std::string::npos || dot == std::string::npos) {
      return Status::error(ErrorCode::kUnsupported, "%s: tensor %s: expected a name of the form <site>:<operator>.<part>",
                           file.path().c_str(), in_quotes(tensor.name).c_str());
    }
    const std::string site = tensor.name.substr(0, colon);
    if (site == "head") continue;
    names[site].insert(tensor.name.substr(colon + 1, dot - colon - 1));
  }
  return names;
}

Result<const OrderedJson*> object_at(const OrderedJson& parent, const std::string& key, const std::string& where) {
  static const OrderedJson empty = OrderedJson::object();
  const auto found = parent.find(key);
  if (found == parent.end()) return &empty;
  if (!found->is_object()) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: %s: expected an object, found %s", where.c_str(), in_quotes(key).c_str(),
                         json_text(*found).c_str());
  }
  return &*found;
}

/// Options for an operator that has no tensors say that something is missing.
Status check_options(const OrderedJson& options, const OperatorNames& names, const std::string& path) {
  for (const auto& [site, operators] : options.items()) {
    const auto found = names.find(site);
    if (!operators.is_object()) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: operators: %s: expected an object, found %s", path.c_str(),
                           in_quotes(site).c_str(), json_text(operators).c_str());
    }
    for (const auto& [kind, unused] : operators.items()) {
      if (found != names.end() && found->second.contains(kind)) continue;
      return Status::error(ErrorCode::kInvalidArgument, "%s: operators: there are options for %s at %s, but no tensors", path.c_str(),
                           in_quotes(kind).c_str(), in_quotes(site).c_str());
    }
  }
  return {};
}

}  // namespace

Result<PetTask> read_operators(const BaseModel& base, const PetSource& source) {
  const std::string path = join_path(source.path, kFileName);
  PETS_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  PETS_ASSIGN_OR_RETURN(const OrderedJson config, read_metadata(file));
  constexpr KeyRule kRules[] = {{"source", KeyUse::kIrrelevant}, {"operators"}, {"head"}};
  const std::string where = path + ": config";
  PETS_RETURN_IF_ERROR(check_keys(config, kRules, where));
  PETS_ASSIGN_OR_RETURN(const OrderedJson* options, object_at(config, "operators", where));
  PETS_ASSIGN_OR_RETURN(const OperatorNames names, collect_operators(file));
  PETS_RETURN_IF_ERROR(check_options(*options, names, where));

  PetTask task;
  TensorReader tensors(file);
  for (const auto& [site_text, kinds] : names) {
    const std::optional<Site> site = schema::parse_site(site_text);
    if (!site || site->kind == SiteKind::kPooler) {
      return Status::error(ErrorCode::kUnsupported, "%s: %s is no site of the operators format", path.c_str(),
                           in_quotes(site_text).c_str());
    }
    if (schema::is_layer_site(site->kind) && site->layer >= base.layers) {
      return Status::error(ErrorCode::kMismatch, "%s: %s: the base has %u layers", path.c_str(), in_quotes(site_text).c_str(), base.layers);
    }
    PETS_ASSIGN_OR_RETURN(const OrderedJson* site_options, object_at(*options, site_text, where));
    std::string site_where = where;
    site_where.append(": ").append(site_text);
    for (const std::string& kind : kinds) {
      PETS_ASSIGN_OR_RETURN(const OrderedJson* operator_options, object_at(*site_options, kind, site_where));
      PETS_ASSIGN_OR_RETURN(Operator op, read_operator(base, *site, kind, *operator_options, &tensors));
      task.operators.push_back(std::move(op));
    }
  }
  PETS_ASSIGN_OR_RETURN(task.head, read_operators_head(base, config, &tensors));
  PETS_RETURN_IF_ERROR(tensors.check_all_taken());
  PETS_RETURN_IF_ERROR(apply_head_request(source.head, path, &task.head));
  task.source = "operators";
  return task;
}

}  // namespace pets::converter
