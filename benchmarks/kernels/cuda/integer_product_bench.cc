#include "benchmarks/kernels/cuda/measure.h"
#include "benchmarks/kernels/cuda/sections.h"

#include "kernels/quantize/integer_product_cuda.h"
#include "kernels/quantize/quantize_rows_cuda.h"

namespace pets::benchmarks::gpu {
namespace {

using kernels::cuda::DequantizeRows;
using kernels::cuda::IntegerProduct;
using kernels::cuda::QuantizeRows;
using pets::cuda::Int8Product;

struct Shape {
  const char* site;
  uint32_t in, out;
};
constexpr Shape kShapes[] = {{"query, key, value", 768, 2304}, {"attention output", 768, 768}, {"up", 768, 3072}, {"down", 3072, 768}};

std::vector<int8_t> integers(Gpu& gpu, size_t count) {
  std::vector<int8_t> values(count);
  for (int8_t& value : values) value = static_cast<int8_t>(static_cast<int>(gpu.random.below(255)) - 127);
  return values;
}

void measure_case(Gpu& gpu, const Shape& shape, uint32_t rows) {
  const uint32_t in = shape.in, out = shape.out;
  const size_t weights = size_t{in} * out, inputs = size_t{rows} * in, outputs = size_t{rows} * out;
  const uint32_t sets = gpu.operand_sets(weights, 64);
  Array<int8_t> w(weights * sets), q(inputs);
  w.write(0, integers(gpu, weights));
  w.repeat_first(weights);
  Array<Half> half_w(weights * sets), y(outputs);
  half_w.write(0, gpu.random.halves(weights, 0.05F));
  half_w.repeat_first(weights);
  const Array<Half> x(gpu.random.halves(inputs, 1));
  const Array<float> row_scale(rows), column_scale(gpu.random.floats(out, 1e-3F));
  const Array<int32_t> sums(outputs);
  const auto quantize = [&](uint32_t) {
    kernels::cuda::quantize_rows(gpu.stream, QuantizeRows<Half>{x.data(), q.data(), row_scale.data(), rows, in, in});
  };
  const auto multiply = [&](uint32_t n) {
    kernels::cuda::integer_product(gpu.stream, IntegerProduct<Half>{q.data(), row_scale.data(), w.data() + n % sets * weights,
                                                                    column_scale.data(), y.data(), rows, in, out, out});
  };
  const auto library = [&](uint32_t n) {
    check(gpu.queue->product(Int8Product{q.data(), w.data() + n % sets * weights, sums.data(), rows, in, out}));
  };
  const auto dequantize = [&](uint32_t) {
    kernels::cuda::dequantize_rows(gpu.stream,
                                   DequantizeRows<Half>{sums.data(), row_scale.data(), column_scale.data(), y.data(), rows, out, out});
  };

  Way halves, rounded, own, by_library, scaled, own_way, library_way;
  halves.queue = [&](uint32_t n) {
    check(gpu.queue->product(pets::cuda::Product<Half>{x.data(), half_w.data() + n % sets * weights, y.data(), rows, in, out, out}));
  };
  rounded.queue = quantize;
  own.queue = multiply;
  by_library.queue = library;
  scaled.queue = dequantize;
  own_way.queue = [&](uint32_t n) {
    quantize(n);
    multiply(n);
  };
  own_way.launches = 2;
  library_way.queue = [&](uint32_t n) {
    quantize(n);
    library(n);
    dequantize(n);
  };
  library_way.launches = 3;
  const auto once = [&](const Way& way) {
    way.queue(0);
    check(cudaStreamSynchronize(gpu.stream), "the work on the device");
    return y.read();
  };
  const std::vector<Half> found = once(own_way);
  double apart = 0;
  try {
    apart = difference(found, once(library_way));
  } catch (const std::exception& error) {  // a library that does not take integers here is no contender
    std::fprintf(stderr, "cuBLAS, %s: %s\n", shape.site, error.what());
    recover(gpu);
    by_library.queue = library_way.queue = nullptr;
  }
  measure(gpu, {&halves, &rounded, &own, &by_library, &scaled, &own_way, &library_way});
  const double operations = 2.0 * rows * in * out;
  print_row({shape.site, std::to_string(rows), us(halves.seconds), us(rounded.seconds), us(own.seconds),
             times(operations / own.seconds * 1e-12), us(by_library.seconds), us(scaled.seconds), us(own_way.seconds),
             us(library_way.seconds), times(halves.seconds / own_way.seconds),
             times(library_way.seconds == 0 ? 0 : library_way.seconds / own_way.seconds), small(apart)});
}

}  // namespace

void integer_products(Gpu& gpu) {
  std::printf("## Shared products of BERT-base, int8 beside half precision\n\n");
  print_header({"linear", "tokens", "halves: Queue::product, us", "rows to int8, us", "own product, us", "TOP/s", "cuBLAS's product, us",
                "its sums to halves, us", "rows + own, us", "rows + cuBLAS + sums, us", "halves / own way", "cuBLAS's way / own",
                "difference"});
  for (const Shape& shape : kShapes) {
    for (const uint32_t rows : {128U, 512U, 1024U, 2048U, 4096U}) measure_case(gpu, shape, rows);
  }
  std::printf("\nThe rows of query, key and value are rounded once, as in the encoder.\n");
}

}  // namespace pets::benchmarks::gpu
