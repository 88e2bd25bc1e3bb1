#include "runtime/serving/table_key.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <string_view>

#include "runtime/engine/session_impl.h"
#include "runtime/platform/utf8.h"

namespace pets::serving {
namespace {

/// The first bytes of a small file; empty where it cannot be read. Files of /proc and /sys have no size to be mapped by.
std::string file_start(const char* path) {
  std::string text(16384, '\0');
  const int file = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  size_t size = 0;
  if (file >= 0) {
    ssize_t count = 0;
    while (size < text.size() && (count = ::read(file, text.data() + size, text.size() - size)) > 0) size += static_cast<size_t>(count);
    ::close(file);
  }
  text.resize(size);
  return text;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank(" \t\r\n\0", 5);
  const size_t begin = text.find_first_not_of(kBlank);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

/// What follows "name :" in the first line that begins so.
std::string_view field(std::string_view text, std::string_view name) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && trimmed(line.substr(0, colon)) == name) return trimmed(line.substr(colon + 1));
    begin = end + 1;
  }
  return {};
}

std::string cpu_model() {
  // ARM: the board, as kernels say "ARMv8 Processor rev 1" of most cores, or nothing but numbers.
  const std::string board = file_start("/proc/device-tree/model");
  if (const std::string_view model = trimmed(board); !model.empty()) return utf8::printable(model);
  const std::string cpuinfo = file_start("/proc/cpuinfo");
  if (const std::string_view model = field(cpuinfo, "model name"); !model.empty()) return utf8::printable(model);
  const std::string_view implementer = field(cpuinfo, "CPU implementer"), part = field(cpuinfo, "CPU part");
  if (implementer.empty() && part.empty()) return "unknown";
  return utf8::printable("implementer " + std::string(implementer) + " part " + std::string(part));
}

uint64_t highest_clock_khz() {
  uint64_t highest = 0;
  for (long cpu = 0, count = std::min(::sysconf(_SC_NPROCESSORS_CONF), 4096L); cpu < count; ++cpu) {
    const std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cpufreq/scaling_max_freq";
    const std::string text = file_start(path.c_str());
    uint64_t khz = 0;
    std::from_chars(text.data(), text.data() + text.size(), khz);
    if (khz <= UINT32_MAX) highest = std::max(highest, khz);
  }
  return highest;
}

const char* precision_of(kernels::WeightType type) {
  switch (type) {
    case kernels::WeightType::kFloat16:
      return "fp16";
    case kernels::WeightType::kBFloat16:
      return "bf16";
    case kernels::WeightType::kInt8:
      return "int8";
    default:
      return "fp32";
  }
}

Status mismatch(const char* path, const char* name, const std::string& here, const std::string& found) {
  // Shorter than Status cuts, whatever a table says.
  return Status::error(ErrorCode::kMismatch, "%s: %s: expected '%.100s', found '%.100s'", path, name, here.c_str(), found.c_str());
}

Status mismatch(const char* path, const char* name, uint64_t here, uint64_t found) {
  return Status::error(ErrorCode::kMismatch, "%s: %s: expected %" PRIu64 ", found %" PRIu64, path, name, here, found);
}

}  // namespace

TableKey key_of(const Session::Impl& session) {
  const Model::Impl& model = session.internals;
  const engine::BaseWeights& base = model.base;
  TableKey key;
  key.device = model.device != nullptr ? utf8::printable(model.device->device_name()) : cpu_model();
  key.isa = kernels::isa_name(model.kernels->isa);
  key.backend = model.device != nullptr ? "cuda" : "cpu";
  key.precision = precision_of(base.linear_type);
  key.power_mode = utf8::printable(trimmed(file_start("/var/lib/nvpmodel/status")));
  key.threads = session.capacity.threads;
  key.hidden = base.hidden;
  key.layers = base.layers;
  key.heads = base.heads;
  key.intermediate = base.intermediate;
  key.vocabulary = base.vocabulary;
  key.positions = base.positions;
  key.clock_khz = highest_clock_khz();
  return key;
}

Status check_key(const TableKey& table, const TableKey& here, const char* path) noexcept {
  const struct {
    const char* name;
    const std::string &here, &found;
    bool optional;
  } strings[] = {{"device", here.device, table.device, false},
                 {"isa", here.isa, table.isa, false},
                 {"backend", here.backend, table.backend, false},
                 {"precision", here.precision, table.precision, false},
                 {"power_mode", here.power_mode, table.power_mode, true}};
  for (const auto& field : strings) {
    if (field.here == field.found || (field.optional && (field.here.empty() || field.found.empty()))) continue;
    return mismatch(path, field.name, field.here, field.found);
  }
  const struct {
    const char* name;
    uint64_t here, found;
  } numbers[] = {{"threads", here.threads, table.threads},
                 {"hidden", here.hidden, table.hidden},
                 {"layers", here.layers, table.layers},
                 {"heads", here.heads, table.heads},
                 {"intermediate", here.intermediate, table.intermediate},
                 {"vocabulary", here.vocabulary, table.vocabulary},
                 {"positions", here.positions, table.positions}};
  for (const auto& field : numbers) {
    if (field.here != field.found) return mismatch(path, field.name, field.here, field.found);
  }
  if (here.clock_khz != 0 && table.clock_khz != 0 && here.clock_khz != table.clock_khz) {
    return mismatch(path, "clock_khz", here.clock_khz, table.clock_khz);
  }
  return Status::ok();
}

}  // namespace pets::serving
