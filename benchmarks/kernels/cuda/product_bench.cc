#include <cublasLt.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "benchmarks/kernels/cuda/measure.h"
#include "benchmarks/kernels/cuda/sections.h"

#include "kernels/activation/bias_activation_cuda.h"
#include "runtime/cuda/product_cuda.h"

namespace pets::benchmarks::gpu {
namespace {

using kernels::cuda::TaskLinear;

using pets::cuda::LtLayout, pets::cuda::LtOperation, pets::cuda::LtPreference;
using LtHandle = pets::cuda::LtObject<cublasLtHandle_t, cublasLtDestroy>;

struct SharedProduct {
  const char* site;
  int in, out;
  cublasLtEpilogue_t epilogue;  ///< that could take over what follows the product; default: nothing could
  kernels::Activation activation;
};
constexpr SharedProduct kSharedProducts[] = {
    {"query, key, value", 768, 2304, CUBLASLT_EPILOGUE_BIAS, kernels::Activation::kNone},
    {"attention output", 768, 768, CUBLASLT_EPILOGUE_DEFAULT, kernels::Activation::kNone},
    {"up", 768, 3072, CUBLASLT_EPILOGUE_GELU_BIAS, kernels::Activation::kGelu},
    {"down", 3072, 768, CUBLASLT_EPILOGUE_DEFAULT, kernels::Activation::kNone},
};

/// A product by cuBLASLt with every algorithm that its heuristics offer.
class LtProduct {
 public:
  LtProduct(Gpu& gpu, const SharedProduct& shape, int rows, const Half* bias, cublasLtEpilogue_t epilogue) : gpu_(gpu) {
    cublasLtHandle_t handle = nullptr;
    check(cublasLtCreate(&handle), "cuBLASLt");
    handle_.reset(handle);
    cublasLtMatmulDesc_t operation = nullptr;
    check(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cuBLASLt: an operation");
    operation_.reset(operation);
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (epilogue != CUBLASLT_EPILOGUE_DEFAULT) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    w_ = layout(shape.in, shape.out);
    x_ = layout(shape.in, rows);
    y_ = layout(shape.out, rows);
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "cuBLASLt: a preference");
    const LtPreference owner(preference);
    const size_t workspace = gpu.workspace.size();
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace),
          "cuBLASLt: a preference");
    constexpr int kMost = 64;
    algorithms_.resize(kMost);
    int found = 0;
    check(cublasLtMatmulAlgoGetHeuristic(handle, operation, w_.get(), x_.get(), y_.get(), y_.get(), preference, kMost, algorithms_.data(),
                                         &found),
          "cublasLtMatmulAlgoGetHeuristic");
    algorithms_.resize(static_cast<size_t>(found));
    std::erase_if(algorithms_, [](const auto& a) { return a.state != CUBLAS_STATUS_SUCCESS; });
    if (algorithms_.empty()) throw std::runtime_error("cuBLASLt has no algorithm for a product");
  }

  size_t algorithms() const { return algorithms_.size(); }
  void queue(size_t algorithm, const Half* w, const Half* x, Half* y) const {
    const float one = 1, zero = 0;
    check(cublasLtMatmul(handle_.get(), operation_.get(), &one, w, w_.get(), x, x_.get(), &zero, y, y_.get(), y, y_.get(),
                         &algorithms_[algorithm].algo, gpu_.workspace.data(), gpu_.workspace.size(), gpu_.stream),
          "cublasLtMatmul");
  }

 private:
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, Value value) {
    check(cublasLtMatmulDescSetAttribute(operation_.get(), attribute, &value, sizeof value), "cuBLASLt: an attribute");
  }
  static LtLayout layout(int rows, int columns) {  // column-major
    cublasLtMatrixLayout_t made = nullptr;
    check(cublasLtMatrixLayoutCreate(&made, CUDA_R_16F, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), rows),
          "cuBLASLt: a layout");
    return LtLayout(made);
  }

  Gpu& gpu_;
  LtHandle handle_;
  LtOperation operation_;
  LtLayout w_, x_, y_;
  std::vector<cublasLtMatmulHeuristicResult_t> algorithms_;
};

void measure_case(Gpu& gpu, const SharedProduct& shape, int rows) {
  const size_t weight = static_cast<size_t>(shape.in) * shape.out;
  const uint32_t sets = gpu.operand_sets(weight * sizeof(Half), 64);
  Array<Half> w(weight * sets), y(static_cast<size_t>(rows) * shape.out);
  w.write(0, gpu.random.halves(weight, 0.05F));
  w.repeat_first(weight);
  const Array<Half> x(gpu.random.halves(static_cast<size_t>(rows) * shape.in, 1)),
      half_bias(gpu.random.halves(static_cast<size_t>(shape.out), 0.1F));
  const Array<float> bias(gpu.random.floats(static_cast<size_t>(shape.out), 0.1F));
  const Array<uint16_t> slots(std::vector<uint16_t>(static_cast<size_t>(rows), 0));
  const Array<TaskLinear> linears(std::vector<TaskLinear>(1));
  const auto weight_of = [&](uint32_t n) { return w.data() + n % sets * weight; };

  Way untuned, ours, first, best, followed, fused;
  const pets::cuda::Product<Half> product{x.data(),
                                          nullptr,
                                          y.data(),
                                          static_cast<uint32_t>(rows),
                                          static_cast<uint32_t>(shape.in),
                                          static_cast<uint32_t>(shape.out),
                                          static_cast<uint32_t>(shape.out)};
  ours.queue = [&](uint32_t n) {
    auto call = product;
    call.w = weight_of(n);
    check(gpu.queue->product(call));
  };
  // Before the queue is told to tune this shape, which cannot be undone; so not in the others' rounds.
  untuned.queue = ours.queue;
  measure(gpu, {&untuned});
  constexpr uint32_t kLayers = 12;  // whose weights an encoder's tuning lets take turns
  std::vector<const Half*> layers;
  for (uint32_t n = 0; n < std::min(sets, kLayers); ++n) layers.push_back(weight_of(n));
  check(gpu.queue->tune(product, layers));
  const auto choose = [&](const LtProduct& lt) {
    size_t fastest = 0;
    double least = 0;
    for (size_t a = 0; a < lt.algorithms(); ++a) {
      Way way;
      way.queue = [&](uint32_t n) { lt.queue(a, weight_of(n), x.data(), y.data()); };
      try {
        const double seconds = short_sample(gpu, way);
        if (least == 0 || seconds < least) {
          least = seconds;
          fastest = a;
        }
      } catch (const std::exception&) {  // an algorithm that does not run is no candidate
        recover(gpu);
      }
    }
    return fastest;
  };
  const LtProduct plain(gpu, shape, rows, nullptr, CUBLASLT_EPILOGUE_DEFAULT);
  const size_t fastest = choose(plain);
  first.queue = [&](uint32_t n) { plain.queue(0, weight_of(n), x.data(), y.data()); };
  best.queue = [&](uint32_t n) { plain.queue(fastest, weight_of(n), x.data(), y.data()); };
  std::unique_ptr<LtProduct> with_epilogue;
  size_t fastest_fused = 0;
  if (shape.epilogue != CUBLASLT_EPILOGUE_DEFAULT) {
    with_epilogue = std::make_unique<LtProduct>(gpu, shape, rows, half_bias.data(), shape.epilogue);
    fastest_fused = choose(*with_epilogue);
    fused.queue = [&](uint32_t n) { with_epilogue->queue(fastest_fused, weight_of(n), x.data(), y.data()); };
    followed.queue = [&](uint32_t n) {
      plain.queue(fastest, weight_of(n), x.data(), y.data());
      kernels::cuda::bias_activation(
          gpu.stream,
          kernels::cuda::BiasActivation<Half>{
              y.data(), product.rows, product.out, product.out, bias.data(), shape.activation, slots.data(), {linears.data(), 1}});
    };
    followed.launches = 2;
  }
  const auto once = [&](const Way& way) {
    way.queue(0);
    check(cudaStreamSynchronize(gpu.stream), "the work on the device");
    return y.read();
  };
  const double apart = difference(once(best), once(ours));
  measure(gpu, {&ours, &first, &best, &followed, &fused});
  const double flops = 2.0 * rows * shape.in * shape.out;
  print_row({shape.site, std::to_string(rows), us(untuned.seconds), us(ours.seconds), times(flops / ours.seconds * 1e-12),
             us(first.seconds), us(best.seconds), std::to_string(fastest + 1) + " of " + std::to_string(plain.algorithms()),
             times(ours.seconds / best.seconds), us(followed.seconds), us(fused.seconds),
             times(fused.seconds == 0 ? 0 : followed.seconds / fused.seconds), small(apart)});
}

}  // namespace

void shared_products(Gpu& gpu) {
  std::printf("## Shared products of BERT-base, half precision, sums in float\n\n");
  print_header({"linear", "tokens", "Queue::product untuned, us", "tuned, us", "TFLOP/s", "cuBLASLt's first choice, us", "its best, us",
                "which", "tuned / best", "best, then bias kernel, us", "best with fused epilogue, us", "kernel / fused", "difference"});
  for (const SharedProduct& shape : kSharedProducts) {
    for (const int rows : {512, 1024, 2048, 4096}) measure_case(gpu, shape, rows);
  }
  std::printf(
      "\nThe queue's sums are all in float; cuBLASLt's best may add parts of them in half. TFLOP/s are the tuned queue's.\n"
      "The epilogue is a bias, and GELU at `up`, where cuBLASLt approximates it and the kernel does not. All rows have one task.\n");
}

}  // namespace pets::benchmarks::gpu
