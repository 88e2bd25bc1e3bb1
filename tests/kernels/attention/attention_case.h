// A packed batch of sequences with random queries, keys and values, for the tests of attention/attention.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/kernels/kernel_test.h"

#include "kernels/attention/attention.h"

namespace pets::kernels {

/// A packed batch of sequences, as an engine would lay it out: q, k and v in strips of [head_size + 3 or 4][16].
struct AttentionCase {
  uint32_t head_size;
  size_t stride;
  std::vector<uint32_t> lengths, first;
  uint32_t rows = 0, longest = 0;
  Floats q, k, v, out;

  AttentionCase(Random& random, uint32_t head_size_, const std::vector<uint32_t>& lengths_, float magnitude = 1)
      : head_size(head_size_), stride((head_size_ / 2 + 2) * 2 * kStripRows), lengths(lengths_), q(0), k(0), v(0), out(0) {
    for (uint32_t n : lengths) {
      first.push_back(rows);
      rows += n;
      longest = std::max(longest, n);
    }
    new_data(random, q, magnitude);
    new_data(random, k, magnitude);
    new_data(random, v, 1);
    new_data(random, out, 1);
  }
  uint32_t strips() const { return (rows + kStripRows - 1) / kStripRows; }
  float at(const Floats& f, uint32_t row, uint32_t d) const { return f[row / kStripRows * stride + d * kStripRows + row % kStripRows]; }
  float& at(Floats& f, uint32_t row, uint32_t d) const { return f[row / kStripRows * stride + d * kStripRows + row % kStripRows]; }
  /// Queries, keys and values of rows of another batch.
  void copy_rows(const AttentionCase& other, uint32_t from, uint32_t to, uint32_t count) {
    for (uint32_t row = 0; row < count; ++row) {
      for (uint32_t d = 0; d < head_size; ++d) {
        at(q, to + row, d) = other.at(other.q, from + row, d);
        at(k, to + row, d) = other.at(other.k, from + row, d);
        at(v, to + row, d) = other.at(other.v, from + row, d);
      }
    }
  }
  std::vector<AttentionSegment> segments(uint32_t strip) const {
    std::vector<AttentionSegment> result;
    for (size_t i = 0; i < lengths.size(); ++i) {
      const uint32_t begin = std::max(first[i], strip * kStripRows), end = std::min(first[i] + lengths[i], (strip + 1) * kStripRows);
      if (begin < end) result.push_back({begin - strip * kStripRows, end - strip * kStripRows, first[i], lengths[i]});
    }
    return result;
  }
  void run(const KernelTable& table, uint32_t strip) {
    Floats scratch(attention_scratch_floats(longest), kNan);
    const std::vector<AttentionSegment> parts = segments(strip);
    table.attention_strip(call(v, strip, parts, scratch));
  }
  void run(const KernelTable& table) {
    for (uint32_t s = 0; s < strips(); ++s) run(table, s);
  }
  /// With values in bfloat16.
  void run(const BfloatAttention& attention) {
    Buffer<uint16_t> v16(v.size(), uint16_t{0x7FFF});
    for (uint32_t s = 0; s < strips(); ++s) attention.round_values(v.data() + s * stride, head_size, v16.data() + s * stride);
    for (uint32_t s = 0; s < strips(); ++s) {
      Floats scratch(bfloat_attention_scratch_floats(longest, head_size), kNan);
      const std::vector<AttentionSegment> parts = segments(s);
      attention.strip(call(v16, s, parts, scratch));
    }
  }

 private:
  template <class Value>
  AttentionCall<Value> call(const Buffer<Value>& values, uint32_t strip, const std::vector<AttentionSegment>& parts, Floats& scratch) {
    AttentionCall<Value> a;
    a.q = q.data() + strip * stride;
    a.k = k.data();
    a.v = values.data();
    a.k_stride = a.v_stride = stride;
    a.head_size = head_size;
    a.scale = 1 / std::sqrt(static_cast<float>(head_size));
    a.segments = parts.data();
    a.segment_count = static_cast<uint32_t>(parts.size());
    a.out = out.data() + strip * stride;
    a.scratch = scratch.data();
    return a;
  }
  void new_data(Random& random, Floats& f, float magnitude) {
    f.~Floats();
    new (&f) Floats(random.floats(strips() * stride, magnitude));
  }
};

}  // namespace pets::kernels
