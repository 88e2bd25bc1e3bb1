// Makes the checksums of a changed bundle right again, so that what stands behind them is tested.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "schema/bundle_generated.h"

namespace pets::bundle_test {

/// Bytes aligned as a mapping is, on the heap and with nothing readable behind them, so that sanitizers see every step too far.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::span<const std::byte> bytes);
  ~AlignedBytes();
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;

  std::span<std::byte> bytes() { return {data_, size_}; }

 private:
  std::byte* data_;
  size_t size_;
};

/// Recomputes what can be: the segments' checksums where the directory is a valid FlatBuffer and they lie inside the file, then the
/// directory's, then the header's. Takes any bytes.
void reseal(std::span<std::byte> file);

/// The directory of a bundle that is valid.
const schema::Bundle& directory_of(std::span<const std::byte> file);

/// Where a table stores a field of `size` bytes, to be overwritten; aborts where it is absent.
std::byte* field_address(const void* table, flatbuffers::voffset_t field);

/// Overwrites a scalar field that is there.
template <typename T>
void set_field(const void* table, flatbuffers::voffset_t field, T value) {
  flatbuffers::WriteScalar(field_address(table, field), value);
}

}  // namespace pets::bundle_test
