// Kernel benchmarks at the shapes of MiniLM (hidden 384, feed-forward 1536, heads of 32); `--shares` has those of BERT-base too.
//
// `kernel_bench` runs Google Benchmark on every kernel of every instruction set; --benchmark_filter picks some.
// `kernel_bench --shares [rounds [part of a name]]` measures the linear kernels against the peak of multiply-adds, or of dot products where
// they use these, both in the same rounds, and prints medians.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/kernels/dot_peak.h"
#include "benchmarks/kernels/fma_peak.h"
#include "benchmarks/median.h"

#include "kernels/gemm/panel_layout.h"
#include "kernels/kernel_table.h"

namespace pets::benchmarks {
namespace {

using namespace pets::kernels;

template <class T>
struct AlignedDelete {
  void operator()(T* p) const { std::free(p); }
};
template <class T>
using Aligned = std::unique_ptr<T[], AlignedDelete<T>>;

template <class T>
Aligned<T> aligned(size_t count) {
  return Aligned<T>(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 128) / 64 * 64)));
}
Aligned<float> random_floats(size_t count, float magnitude = 1) {
  static std::mt19937 engine(1);
  std::uniform_real_distribution<float> value(-magnitude, magnitude);
  Aligned<float> p = aligned<float>(count);
  for (size_t i = 0; i < count; ++i) p[i] = value(engine);
  return p;
}

/// One linear layer applied to a block of strips, panel by panel, as the engine does it.
struct Linear {
  size_t in, out;
  uint32_t strips;
  WeightType type;
  bool dot;     ///< by dot_panel
  bool masked;  ///< one task's weights: 19 of 20 are kept
  size_t converted_bytes;
  Aligned<float> x, y, panels, bias, x_scale, w_scale;
  Aligned<uint8_t> packed, converted;  ///< weights of 16 or 8 bits, strips
  Aligned<uint32_t> planes;
  std::vector<const float*> biases;

  Linear(size_t in_, size_t out_, uint32_t strips_, WeightType type_, bool dot_, bool with_mask = false)
      : in(in_),
        out(out_),
        strips(strips_),
        type(type_),
        dot(dot_),
        masked(with_mask),
        converted_bytes(converted_strip_bytes(type, in)),
        x(random_floats(strips * in * kStripRows)),
        y(random_floats(strips * out * kStripRows)),
        panels(random_floats(in * out, 0.05f)),
        bias(random_floats(out)),
        x_scale(random_floats(strips * kStripRows)),
        w_scale(random_floats(out)),
        packed(aligned<uint8_t>(padded_inputs(type, in) * out * weight_bytes(type))),
        converted(aligned<uint8_t>(strips * converted_bytes)),
        planes(aligned<uint32_t>(masked ? panel_count(out) * bit_plane_words(in) : 0)),
        biases(strips) {
    std::mt19937 random(1);
    for (size_t i = 0; masked && i < panel_count(out) * bit_plane_words(in); ++i) {
      uint32_t dropped = 0;
      for (uint32_t bit = 0; bit < 32; ++bit) dropped |= static_cast<uint32_t>(random() % 20 == 0) << bit;
      planes[i] = ~dropped;
    }
    if (type == WeightType::kFloat16) pack_panels16_half(panels.get(), out, in, reinterpret_cast<uint16_t*>(packed.get()));
    if (type == WeightType::kBFloat16) pack_panels16_bfloat(panels.get(), out, in, reinterpret_cast<uint16_t*>(packed.get()));
    if (type == WeightType::kInt8) pack_panels16_int8(panels.get(), out, in, reinterpret_cast<int8_t*>(packed.get()), w_scale.get());
  }
  const void* panel(size_t p) const {
    const size_t offset = panel_offset(padded_inputs(type, in), p);
    return type == WeightType::kFloat32 ? static_cast<const void*>(panels.get() + offset) : packed.get() + offset * weight_bytes(type);
  }
  void run(const KernelTable& table) {
    if (dot) {
      for (uint32_t s = 0; s < strips; ++s) {
        table.dots.convert_strip(type, x.get() + s * in * kStripRows, in, converted.get() + s * converted_bytes,
                                 x_scale.get() + s * kStripRows);
      }
    }
    if (masked && !dot) return run_masked(table);
    const DotCalls calls(table.dots, dot);
    const size_t most = masked ? table.dots.masked_panels : table.dots.panels;
    const size_t at_once = dot ? std::min(most, panel_count(out)) : 1;
    for (size_t p = 0; p < panel_count(out); p += at_once) {
      std::fill(biases.begin(), biases.end(), bias.get() + p * kPanelColumns);
      const void* const next = p + at_once < panel_count(out) ? panel(p + at_once) : nullptr;
      float* const to = y.get() + p * kPanelColumns * kStripRows;
      if (dot) {
        DotPanel a;
        a.type = type;
        a.x = converted.get();
        a.x_stride = converted_bytes;
        a.x_scale = x_scale.get();
        a.y = to;
        a.y_stride = out * kStripRows;
        a.panel = panel(p);
        a.w_scale = w_scale.get() + p * kPanelColumns;
        a.width = static_cast<uint32_t>(std::min(out - p * kPanelColumns, at_once * kPanelColumns));
        a.k = in;
        a.bias = biases.data();
        a.strips = strips;
        a.prefetch = next;
        if (masked) a.planes = planes.get() + p * bit_plane_words(in);
        table.dots.dot_panel(a);
        continue;
      }
      LinearPanel a;
      a.x = x.get();
      a.x_stride = in * kStripRows;
      a.y = to;
      a.y_stride = out * kStripRows;
      a.panel = panel(p);
      a.type = type;
      a.width = panel_width(out, p);
      a.k = in;
      a.bias = biases.data();
      a.strips = strips;
      a.prefetch = next;
      table.linear_panel(a);
    }
  }
  void run_masked(const KernelTable& table) {
    const size_t at_once = table.most_inputs == 0 ? panel_count(out) : 1;  // as the engine does it
    for (size_t p = 0; p < panel_count(out); p += at_once) {
      MaskedPanel a;
      a.x = x.get();
      a.x_stride = in * kStripRows;
      a.y = y.get() + p * kPanelColumns * kStripRows;
      a.y_stride = out * kStripRows;
      a.panel = panel(p);
      a.type = type;
      a.panels = static_cast<uint32_t>(at_once);
      a.width = panel_width(out, p + at_once - 1);
      a.k = in;
      a.planes = planes.get() + p * bit_plane_words(in);
      a.bias = bias.get() + p * kPanelColumns;
      a.rows = strips * kStripRows;
      table.masked_panel(a);
    }
  }
  double flops() const { return 2.0 * static_cast<double>(in) * static_cast<double>(out) * strips * kStripRows; }
};

double seconds_of(const std::function<void()>& run) {
  const double start = thread_seconds();
  run();
  return thread_seconds() - start;
}
/// MiniLM's feed-forward is where most values pass through an activation, its hidden size where norms and PET operators work.
constexpr size_t kHidden = 384, kInner = 1536;

constexpr std::pair<WeightType, const char*> kTypes[] = {
    {WeightType::kFloat32, "fp32"}, {WeightType::kFloat16, "fp16"}, {WeightType::kBFloat16, "bf16"}, {WeightType::kInt8, "int8"}};
bool by_dot_panel(const KernelTable& table, WeightType type) {
  return type == WeightType::kInt8 || (type == WeightType::kBFloat16 && table.dots.bfloat16);
}

void register_linear(const KernelTable& table, const std::string& isa) {
  for (const auto& [type, type_name] : kTypes) {
    for (uint32_t strips : {1u, 3u, 8u}) {
      const std::string name = "linear/" + isa + "/" + type_name + "/strips:" + std::to_string(strips);
      benchmark::RegisterBenchmark(name.c_str(), [&table, type = type, strips](benchmark::State& state) {
        Linear linear(kHidden, kInner, strips, type, by_dot_panel(table, type));
        for (auto _ : state) linear.run(table);
        state.counters["FLOP/s"] =
            benchmark::Counter(linear.flops(), benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::OneK::kIs1000);
      });
    }
  }
}

/// One strip through all panels of a 384 x 384 linear, plain and with each PET operator that works inside the product.
void register_operators(const KernelTable& table, const std::string& isa) {
  enum Operator { kPlain, kMask, kLowRank, kSparse };
  const std::pair<Operator, const char*> operators[] = {
      {kPlain, "none"}, {kMask, "mask"}, {kLowRank, "low_rank_8"}, {kSparse, "sparse_1%"}};
  for (const auto& [op, op_name] : operators) {
    const std::string name = "operator/" + isa + "/" + op_name;
    benchmark::RegisterBenchmark(name.c_str(), [&table, op = op](benchmark::State& state) {
      Linear linear(kHidden, kHidden, 1, WeightType::kFloat32, false);
      Aligned<uint32_t> planes = aligned<uint32_t>(panel_count(kHidden) * bit_plane_words(kHidden));
      std::fill_n(planes.get(), panel_count(kHidden) * bit_plane_words(kHidden), 0xF7BDFE7Fu);
      const Aligned<float> z = random_floats(8 * kStripRows), factor = random_floats(8 * kHidden), values = random_floats(4 * kHidden);
      std::vector<uint32_t> starts;
      std::vector<uint16_t> rows;
      for (size_t c = 0; c <= kHidden; ++c) starts.push_back(static_cast<uint32_t>(4 * c));
      for (size_t i = 0; i < 4 * kHidden; ++i) rows.push_back(static_cast<uint16_t>(i * 97 % kHidden));
      for (auto _ : state) {
        if (op != kMask) linear.run(table);
        for (size_t p = 0; p < panel_count(kHidden); ++p) {
          float* y = linear.y.get() + p * kPanelColumns * kStripRows;
          if (op == kMask) {
            MaskedPanel a;
            a.x = linear.x.get();
            a.y = y;
            a.panel = linear.panel(p);
            a.k = kHidden;
            a.planes = planes.get() + p * bit_plane_words(kHidden);
            a.bias = linear.bias.get() + p * kPanelColumns;
            table.masked_panel(a);
          } else if (op == kLowRank) {
            table.linear_continue({z.get(), factor.get() + p * 8 * kPanelColumns, 8, kPanelColumns, kAllLanes, y});
          } else if (op == kSparse) {
            const float* const x = linear.x.get();
            const LaneMask lanes = kAllLanes;
            table.sparse_tile({&x, starts.data() + p * kPanelColumns, rows.data(), values.get(), kPanelColumns, &lanes, 1, y, 0});
          }
        }
      }
    });
  }
}

void register_attention(const KernelTable& table, const std::string& isa) {
  for (uint32_t rows : {16u, 32u, 128u}) {
    benchmark::RegisterBenchmark(
        ("attention_strip/" + isa + "/rows:" + std::to_string(rows)).c_str(), [&table, rows](benchmark::State& state) {
          constexpr uint32_t kHead = 32;
          const size_t strip = 3 * kHidden * kStripRows;  // q, k and v of all heads
          const Aligned<float> qkv = random_floats((rows + 15) / 16 * strip);
          Aligned<float> out = random_floats(kHead * kStripRows), scratch = random_floats(attention_scratch_floats(rows));
          const AttentionSegment segment{0, kStripRows, 0, rows};
          AttentionStrip a{qkv.get(),
                           qkv.get() + kHidden * kStripRows,
                           qkv.get() + 2 * kHidden * kStripRows,
                           strip,
                           strip,
                           kHead,
                           0.177f,
                           &segment,
                           1,
                           out.get(),
                           scratch.get()};
          for (auto _ : state) table.attention_strip(a);
          state.counters["FLOP/s"] = benchmark::Counter(4.0 * rows * kHead * kStripRows, benchmark::Counter::kIsIterationInvariantRate);
        });
  }
}

void register_rows(const KernelTable& table, const std::string& isa) {
  benchmark::RegisterBenchmark(("layer_norm/" + isa).c_str(), [&table](benchmark::State& state) {
    const Aligned<float> a = random_floats(kHidden * kStripRows), b = random_floats(kHidden * kStripRows), gamma = random_floats(kHidden);
    Aligned<float> y = random_floats(kHidden * kStripRows);
    const NormSegment segment{kAllLanes, gamma.get(), gamma.get()};
    for (auto _ : state) table.layer_norm({a.get(), b.get(), kHidden, 1e-12f, &segment, 1, y.get()});
  });
  const std::pair<Activation, const char*> activations[] = {
      {Activation::kRelu, "relu"}, {Activation::kGelu, "gelu"}, {Activation::kTanh, "tanh"}};
  for (const auto& [activation, name] : activations) {
    benchmark::RegisterBenchmark(("activate/" + isa + "/" + name).c_str(), [&table, activation = activation](benchmark::State& state) {
      const Aligned<float> x = random_floats(kInner * kStripRows, 4);
      Aligned<float> y = random_floats(kInner * kStripRows);
      for (auto _ : state) table.activate(activation, x.get(), kInner, y.get());
      state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kInner * kStripRows));
    });
  }
  benchmark::RegisterBenchmark(("embedding_strip/" + isa).c_str(), [&table](benchmark::State& state) {
    const Aligned<float> rows = random_floats(64 * kHidden);
    Aligned<float> y = random_floats(kHidden * kStripRows);
    const float* word[kStripRows];
    for (size_t i = 0; i < kStripRows; ++i) word[i] = rows.get() + i * 3 * kHidden;
    for (auto _ : state) table.embedding_strip({word, word, word, kHidden, y.get()});
  });
  benchmark::RegisterBenchmark(("pool_rows/" + isa + "/rows:128").c_str(), [&table](benchmark::State& state) {
    const Aligned<float> x = random_floats(8 * kHidden * kStripRows);
    Aligned<float> y = random_floats(kHidden * kStripRows);
    for (auto _ : state) table.pool_rows({x.get(), kHidden * kStripRows, 0, 128, kHidden, y.get(), 0});
  });
}

void register_all() {
  for (Isa isa : kAllIsas) {
    const KernelTable* table = kernel_table(isa);
    if (!table) continue;
    const std::string name(isa_name(isa));
    register_linear(*table, name);
    register_operators(*table, name);
    register_attention(*table, name);
    register_rows(*table, name);
  }
}

int print_shares(int rounds, const std::string& wanted) {
  struct Row {
    std::string name;
    const KernelTable* table;
    Linear linear;
    std::vector<double> shares, multiples;
  };
  std::vector<Row> rows;
  for (Isa isa : kAllIsas) {
    const KernelTable* table = kernel_table(isa);
    if (!table || isa == Isa::kPortable) continue;
    for (const auto& [type, type_name] : kTypes) {
      const bool dot = by_dot_panel(*table, type);
      if (!dot && base_isa(isa) != isa) continue;  // its base has these rows
      for (const auto& [in, out] : {std::pair<size_t, size_t>{384, 384}, {384, 1536}, {1536, 384}, {768, 768}, {768, 3072}, {3072, 768}}) {
        for (const bool masked : {false, true}) {
          for (uint32_t strips : {1u, 2u, 3u, 4u, 6u}) {  // the engine's blocks are of 6
            const std::string name = std::string(isa_name(isa)) + " " + type_name + " " + std::to_string(in) + " -> " +
                                     std::to_string(out) + (masked ? " masked" : "") + ", strips " + std::to_string(strips);
            if (name.find(wanted) == std::string::npos) continue;
            rows.push_back({name, table, Linear(in, out, strips, type, dot, masked), {}, {}});
          }
        }
      }
    }
  }
  for (int round = 0; round < rounds; ++round) {
    for (Row& row : rows) {
      const Isa isa = row.table->isa;
      const auto dot_peak = [&row, isa] { return row.linear.dot ? dot_peak_of_this_thread(isa, row.linear.type) : 0; };
      const double dot_before = dot_peak(), before = fma_peak_of_this_thread(isa);
      row.linear.run(*row.table);
      const int repeats = static_cast<int>(2e8 / row.linear.flops()) + 1;
      const double seconds = seconds_of([&] {
        for (int i = 0; i < repeats; ++i) row.linear.run(*row.table);
      });
      const double peak = (before + fma_peak_of_this_thread(isa)) / 2, dot = (dot_before + dot_peak()) / 2;
      const double rate = row.linear.flops() * repeats / seconds * 1e-9;
      row.shares.push_back(rate / (row.linear.dot ? dot : peak));
      row.multiples.push_back(rate / peak);
    }
  }
  std::printf(
      "share of the peak of one thread: of dot products for the types that use them (conversion of the strips included), otherwise of\n"
      "multiply-adds; medians of %d rounds (best), and how many times the peak of multiply-adds\n",
      rounds);
  for (const Row& row : rows) {
    std::printf("%-44s %.3f (%.3f) %.2f\n", row.name.c_str(), median(row.shares), *std::max_element(row.shares.begin(), row.shares.end()),
                median(row.multiples));
  }
  return 0;
}

}  // namespace
}  // namespace pets::benchmarks

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--shares") == 0) {
    return pets::benchmarks::print_shares(argc > 2 ? std::atoi(argv[2]) : 11, argc > 3 ? argv[3] : "");
  }
  benchmark::Initialize(&argc, argv);
  pets::benchmarks::register_all();
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
