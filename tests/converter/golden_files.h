// The small models and PETs of tests/golden, and edited copies of them.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/converter/files/safetensors_builder.h"
#include "tests/converter/result_matchers.h"
#include "tests/converter/temporary_directory.h"

#include "converter/readers.h"

namespace pets::converter::testing {

inline std::string golden(const std::string& path) { return std::string(PETS_GOLDEN_DIR) + "/" + path; }
inline std::string golden_base(const std::string& name) { return golden("bases/" + name); }
inline std::string golden_pet(const std::string& name) { return golden("pets/" + name); }

/// A golden base, read once.
inline const BaseModel& base_model(const std::string& name) {
  static std::map<std::string, BaseModel> models;
  const auto found = models.find(name);
  if (found != models.end()) return found->second;
  auto read = read_base(golden_base(name));
  if (!read) throw std::runtime_error(read.status().c_str());
  return models.emplace(name, std::move(*read)).first->second;
}

/// A copy of a golden directory that a test bends.
class EditedDirectory : public TemporaryDirectory {
 public:
  using TemporaryDirectory::TemporaryDirectory;

  EditedDirectory& edit_json(const std::string& name, const std::function<void(nlohmann::ordered_json&)>& edit) {
    auto object = nlohmann::ordered_json::parse(read_file(file(name)));
    edit(object);
    write_file(file(name), object.dump(2));
    return *this;
  }
  EditedDirectory& set_key(const std::string& name, const std::string& key, const nlohmann::ordered_json& value) {
    return edit_json(name, [&](nlohmann::ordered_json& object) { object[key] = value; });
  }
  EditedDirectory& edit_tensors(const std::string& name, const std::function<void(SafetensorsBuilder&)>& edit) {
    SafetensorsBuilder builder = SafetensorsBuilder::from_file(file(name));
    edit(builder);
    builder.write(file(name));
    return *this;
  }
};

/// The one operator of a kind at a site, or null.
template <typename Kind>
const Kind* find_operator(const PetTask& task, const std::string& site) {
  for (const Operator& operation : task.operators) {
    if (schema::site_name(operation.site) != site) continue;
    if (const auto* body = std::get_if<Kind>(&operation.body)) return body;
  }
  return nullptr;
}

inline PetSource source_of(const std::string& path, HeadType type = HeadType::kUnknown) {
  PetSource source;
  source.path = path;
  source.head.type = type;
  return source;
}

}  // namespace pets::converter::testing
