#include "converter/manifest/manifest.h"

#include <algorithm>
#include <filesystem>
#include <unordered_map>
#include <unordered_set>

#include "converter/files/message_text.h"
#include "converter/manifest/manifest_yaml.h"
#include "converter/model/names.h"
#include "runtime/bundle/text.h"
#include "runtime/platform/check.h"
#include "runtime/platform/file.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

/// Some ten thousand tasks. yaml-cpp needs some hundred bytes of memory and a microsecond for every byte of a hostile manifest.
constexpr uint64_t kMaxBytes = 4 << 20;
/// Above what any encoder takes; the base's positions bound it later.
constexpr uint32_t kMaxLength = 1U << 20;
constexpr uint32_t kMaxRank = 65535;

constexpr std::string_view kFormats[] = {"auto", "peft", "adapterhub", "checkpoint", "operators", "none"};
constexpr std::string_view kFormatList = "auto, peft, adapterhub, checkpoint, operators or none";

std::string resolve(const std::string& directory, const std::string& path) {
  return (std::filesystem::path(directory) / path).lexically_normal().string();
}

class ManifestReader {
 public:
  explicit ManifestReader(const std::string& path) {
    file_.path = path;
    manifest_.path = path;
    manifest_.directory = std::filesystem::path(path).parent_path().string();
    if (manifest_.directory.empty()) manifest_.directory = ".";
  }

  Result<Manifest> read(const YAML::Node& document) {
    PETS_ASSIGN_OR_RETURN(const YamlMapping top, YamlMapping::open(&file_, document, "manifest", {"version", "base", "tasks"}));
    if (!top.has("version")) return top.error("version", "is missing; expected version: 1");
    uint32_t version = 0;
    PETS_RETURN_IF_ERROR(top.read("version", 1, 1, &version));
    if (top.has("base")) PETS_RETURN_IF_ERROR(read_base_entry(top));
    if (top.has("tasks")) PETS_RETURN_IF_ERROR(read_tasks(top));
    return std::move(manifest_);
  }

 private:
  Status read_path(const YamlMapping& mapping, std::string* path) {
    std::string text;
    PETS_RETURN_IF_ERROR(mapping.read("path", &text));
    if (text.empty() || text.find('\0') != std::string::npos) return mapping.error("path", "expected a path, found " + in_quotes(text));
    *path = resolve(manifest_.directory, text);
    return {};
  }

  Status read_base_entry(const YamlMapping& top) {
    PETS_ASSIGN_OR_RETURN(const YamlMapping base, YamlMapping::open(&file_, top.node("base"), "base", {"path", "precision"}));
    manifest_.base.line = top.line("base") + 1;
    if (!base.has("path")) return base.error("path", "is missing; expected the directory of the base");
    PETS_RETURN_IF_ERROR(read_path(base, &manifest_.base.path));
    std::string precision = "fp32";
    PETS_RETURN_IF_ERROR(base.read("precision", &precision));
    if (!parse_precision(precision, &manifest_.base.precision)) {
      return base.error("precision", "expected " + std::string(kPrecisionList) + ", found " + in_quotes(precision));
    }
    return {};
  }

  Status read_tasks(const YamlMapping& top) {
    const YAML::Node& tasks = top.node("tasks");
    PETS_RETURN_IF_ERROR(file_.spend(tasks));
    if (tasks.IsNull()) return {};  // `tasks:` with nothing below it
    if (!tasks.IsSequence()) return top.error("tasks", "expected a list, found " + describe_node(tasks));
    std::unordered_map<std::string, int> lines;
    for (const YAML::Node& node : tasks) {
      PETS_ASSIGN_OR_RETURN(TaskEntry entry, read_task(node, "tasks[" + std::to_string(manifest_.tasks.size()) + "]"));
      const auto [other, is_new] = lines.emplace(entry.name, entry.line);
      if (!is_new) {
        return file_.error(entry.line - 1,
                           "two tasks have the name " + in_quotes(entry.name) + ", the first in line " + std::to_string(other->second));
      }
      manifest_.tasks.push_back(std::move(entry));
    }
    return {};
  }

  Result<TaskEntry> read_task(const YAML::Node& node, const std::string& what) {
    PETS_ASSIGN_OR_RETURN(const YamlMapping task, YamlMapping::open(&file_, node, what, {"name", "pet", "head", "max_length"}));
    TaskEntry entry;
    entry.line = node.Mark().line + 1;
    if (!task.has("name")) return task.error("name", "is missing");
    PETS_RETURN_IF_ERROR(task.read("name", &entry.name));
    if (entry.name.empty()) return task.error("name", "is empty");
    if (entry.name.size() > bundle::kMaxNameBytes) {
      return task.error("name",
                        "expected at most " + std::to_string(bundle::kMaxNameBytes) + " bytes, found " + std::to_string(entry.name.size()));
    }
    if (utf8::has_control_character(entry.name)) {
      return task.error("name", "control characters are not allowed, found " + in_quotes(entry.name));
    }
    if (!task.has("pet")) return task.error("pet", "is missing; expected {path: DIRECTORY} or {format: none}");
    PETS_RETURN_IF_ERROR(read_pet(task, what + ".pet", &entry));
    if (task.has("head")) PETS_RETURN_IF_ERROR(read_head(task, what + ".head", &entry.source.head));
    PETS_RETURN_IF_ERROR(task.read("max_length", 3, kMaxLength, &entry.max_length));
    return entry;
  }

  Status read_pet(const YamlMapping& task, const std::string& what, TaskEntry* entry) {
    PETS_ASSIGN_OR_RETURN(const YamlMapping pet, YamlMapping::open(&file_, task.node("pet"), what, {"path", "format", "as", "rank"}));
    std::string format = "auto";
    PETS_RETURN_IF_ERROR(pet.read("format", &format));
    const auto* found = std::find(std::begin(kFormats), std::end(kFormats), format);
    if (found == std::end(kFormats)) return pet.error("format", "expected " + std::string(kFormatList) + ", found " + in_quotes(format));
    entry->format = static_cast<PetFormat>(found - std::begin(kFormats));
    if (entry->format == PetFormat::kNone) {
      if (pet.has("path")) return pet.error("path", "format: none takes no path: it is the base itself");
    } else {
      if (!pet.has("path")) return pet.error("path", "is missing; expected the directory of the PET, or format: none");
      PETS_RETURN_IF_ERROR(read_path(pet, &entry->source.path));
    }
    return read_low_rank(pet, entry);
  }

  static Status read_low_rank(const YamlMapping& pet, TaskEntry* entry) {
    if (!pet.has("as") && !pet.has("rank")) return {};
    std::string as;
    PETS_RETURN_IF_ERROR(pet.read("as", &as));
    if (as != "low-rank") {
      return pet.has("as") ? pet.error("as", "expected low-rank, found " + in_quotes(as)) : pet.error("rank", "needs as: low-rank");
    }
    if (entry->format != PetFormat::kCheckpoint && entry->format != PetFormat::kAuto) {
      return pet.error("as", "is for format: checkpoint, found format: " + std::string(pet_format_name(entry->format)));
    }
    if (!pet.has("rank")) return pet.error("as", "needs a rank beside it");
    PETS_RETURN_IF_ERROR(pet.read("rank", 1, kMaxRank, &entry->source.rank));
    entry->source.as_low_rank = true;
    return {};
  }

  Status read_head(const YamlMapping& task, const std::string& what, HeadRequest* request) {
    PETS_ASSIGN_OR_RETURN(const YamlMapping head,
                          YamlMapping::open(&file_, task.node("head"), what, {"type", "labels", "pooling", "normalize"}));
    std::string type = "auto";
    PETS_RETURN_IF_ERROR(head.read("type", &type));
    request->type = parse_head_type(type);
    if (request->type == HeadType::kUnknown && type != "auto") {
      return head.error("type", "expected auto, " + std::string(kHeadTypeList) + ", found " + in_quotes(type));
    }
    if (head.has("pooling")) {
      std::string pooling;
      PETS_RETURN_IF_ERROR(head.read("pooling", &pooling));
      request->pooling = parse_pooling(pooling);
      if (request->pooling == Pooling::kUnknown || request->pooling == Pooling::kTokens) {
        return head.error("pooling", "expected mean, cls or pooler, found " + in_quotes(pooling));
      }
    }
    if (head.has("normalize")) {
      bool normalize = false;
      PETS_RETURN_IF_ERROR(head.read("normalize", &normalize));
      request->normalize = normalize;
    }
    if (!head.has("labels")) return {};
    PETS_RETURN_IF_ERROR(head.read("labels", &request->labels));
    if (request->labels.empty()) return head.error("labels", "expected one label or more, found none");
    std::unordered_set<std::string_view> seen;
    for (const std::string& label : request->labels) {
      if (!seen.insert(label).second) return head.error("labels", "the label " + in_quotes(label) + " is there twice");
    }
    return {};
  }

  YamlFile file_;
  Manifest manifest_;
};

}  // namespace

std::string_view pet_format_name(PetFormat format) { return kFormats[static_cast<size_t>(format)]; }

Result<Manifest> parse_manifest(std::string_view text, const std::string& path) {
  ManifestReader reader(path);
  const size_t invalid = utf8::find_invalid(text);
  if (invalid != utf8::kValid) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: not valid UTF-8 at byte %zu", path.c_str(), invalid);
  }
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() != 1) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: expected one YAML document, found %zu", path.c_str(), documents.size());
    }
    return reader.read(documents[0]);
  } catch (const YAML::DeepRecursion& exception) {
    return Status::error(ErrorCode::kInvalidArgument, "%s:%d: nested too deeply", path.c_str(), exception.mark.line + 1);
  } catch (const YAML::Exception& exception) {
    return Status::error(ErrorCode::kInvalidArgument, "%s:%d: %s", path.c_str(), exception.mark.line + 1, exception.msg.c_str());
  } catch (const std::exception& exception) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: %s", path.c_str(), exception.what());
  }
}

Result<Manifest> read_manifest(const std::string& path) {
  PETS_ASSIGN_OR_RETURN(const uint64_t size, platform::file_size(path.c_str()));
  if (size > kMaxBytes) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: expected a manifest of at most 4 MiB, found %llu bytes", path.c_str(),
                         static_cast<unsigned long long>(size));
  }
  PETS_ASSIGN_OR_RETURN(const platform::MappedFile file, platform::MappedFile::open(path.c_str(), true));
  const std::span<const std::byte> bytes = file.bytes();
  return parse_manifest({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

}  // namespace pets::converter
