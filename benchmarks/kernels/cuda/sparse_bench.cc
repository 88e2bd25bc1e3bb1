#include <cusparse.h>

#include <algorithm>

#include "benchmarks/kernels/cuda/measure.h"
#include "benchmarks/kernels/cuda/sections.h"

#include "kernels/mask/mask_cuda.h"
#include "kernels/sparse/sparse_cuda.h"

namespace pets::benchmarks::gpu {
namespace {

using kernels::cuda::TaskLinear;

void checked(cusparseStatus_t status, const char* what) {
  if (status != CUSPARSE_STATUS_SUCCESS) throw std::runtime_error(std::string(what) + ": " + cusparseGetErrorString(status));
}

/// Entries of one task at a site, ordered by output: a CSR matrix [out][in], of which the kernel reads groups.
struct Entries {
  std::vector<uint32_t> starts;
  std::vector<uint16_t> inputs;
  std::vector<float> values;
};

Entries random_entries(Random& random, uint32_t in, uint32_t out, double density) {
  Entries entries;
  entries.starts.push_back(0);
  for (uint32_t column = 0; column < out; ++column) {
    for (uint32_t k = 0; k < in; ++k) {
      if (!random.with_probability(density)) continue;
      entries.inputs.push_back(static_cast<uint16_t>(k));
      entries.values.push_back(random.value(0.1F));
    }
    entries.starts.push_back(static_cast<uint32_t>(entries.inputs.size()));
  }
  return entries;
}

/// Tasks' entries on the device, in `sets` copies.
class DeviceEntries {
 public:
  DeviceEntries(const std::vector<Entries>& tasks, uint32_t in, uint32_t sets, bool for_cusparse) : tasks_(tasks.size()) {
    for (uint32_t set = 0; set < sets; ++set) {
      for (const Entries& task : tasks) {
        const auto out = static_cast<uint32_t>(task.starts.size() - 1);
        std::vector<kernels::SparsePanel> panels(kernels::sparse_panel_count(out));
        std::vector<uint16_t> places(kernels::sparse_group_count(task.starts.data(), out) * kernels::kSparseGroupEntries);
        std::vector<float> values(places.size());
        kernels::group_sparse({task.starts.data(), task.inputs.data(), task.values.data(), in, out}, panels.data(), places.data(),
                              values.data());
        TaskLinear& linear = host_.emplace_back();
        linear.sparse_panels = panels_.emplace_back(panels).data();
        linear.sparse_places = places_.emplace_back(places).data();
        linear.sparse_values = values_.emplace_back(values).data();
        if (!for_cusparse) continue;
        wide_starts_.emplace_back(std::vector<int32_t>(task.starts.begin(), task.starts.end()));
        wide_inputs_.emplace_back(std::vector<int32_t>(task.inputs.begin(), task.inputs.end()));
        std::vector<Half> halves(task.values.size());
        std::transform(task.values.begin(), task.values.end(), halves.begin(), half);
        halves_.emplace_back(halves);
      }
    }
    linears_ = Array<TaskLinear>(host_);
  }
  const TaskLinear* linears(uint32_t set) const { return linears_.data() + set * tasks_; }
  void* starts(size_t i) const { return wide_starts_[i].data(); }
  void* inputs(size_t i) const { return wide_inputs_[i].data(); }
  void* values(size_t i) const { return halves_[i].data(); }
  int64_t count(size_t i) const { return static_cast<int64_t>(halves_[i].size()); }

 private:
  size_t tasks_;
  std::vector<TaskLinear> host_;
  std::vector<Array<kernels::SparsePanel>> panels_;
  std::vector<Array<uint16_t>> places_;
  std::vector<Array<float>> values_;
  std::vector<Array<int32_t>> wide_starts_, wide_inputs_;
  std::vector<Array<Half>> halves_;
  Array<TaskLinear> linears_;
};

/// y^T [out x rows] += S [out x in] x^T [in x rows] of one task, by cuSPARSE: row-major matrices are column-major transposes.
class SpMm {
 public:
  SpMm(Gpu& gpu, cusparseHandle_t handle, const DeviceEntries& entries, size_t at, uint32_t in, uint32_t out, uint32_t rows, Half* x,
       Half* y, cusparseSpMMAlg_t algorithm)
      : handle_(handle), algorithm_(algorithm) {
    checked(cusparseCreateCsr(&s_, out, in, entries.count(at), entries.starts(at), entries.inputs(at), entries.values(at),
                              CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, CUDA_R_16F),
            "cusparseCreateCsr");
    checked(cusparseCreateDnMat(&x_, in, rows, in, x, CUDA_R_16F, CUSPARSE_ORDER_COL), "cusparseCreateDnMat");
    checked(cusparseCreateDnMat(&y_, out, rows, out, y, CUDA_R_16F, CUSPARSE_ORDER_COL), "cusparseCreateDnMat");
    size_t bytes = 0;
    checked(cusparseSpMM_bufferSize(handle_, kPlain, kPlain, &kOne, s_, x_, &kOne, y_, CUDA_R_32F, algorithm_, &bytes),
            "cusparseSpMM_bufferSize");
    buffer_ = Array<std::byte>(bytes);
    checked(cusparseSpMM_preprocess(handle_, kPlain, kPlain, &kOne, s_, x_, &kOne, y_, CUDA_R_32F, algorithm_, buffer_.data()),
            "cusparseSpMM_preprocess");
    check(cudaStreamSynchronize(gpu.stream), "cusparseSpMM_preprocess");
  }
  SpMm(SpMm&& other) noexcept
      : handle_(other.handle_),
        algorithm_(other.algorithm_),
        s_(std::exchange(other.s_, nullptr)),
        x_(std::exchange(other.x_, nullptr)),
        y_(std::exchange(other.y_, nullptr)),
        buffer_(std::move(other.buffer_)) {}
  SpMm& operator=(SpMm&&) = delete;
  ~SpMm() {
    if (s_ != nullptr) (void)cusparseDestroySpMat(s_);
    if (x_ != nullptr) (void)cusparseDestroyDnMat(x_);
    if (y_ != nullptr) (void)cusparseDestroyDnMat(y_);
  }
  void queue() const {
    checked(cusparseSpMM(handle_, kPlain, kPlain, &kOne, s_, x_, &kOne, y_, CUDA_R_32F, algorithm_, buffer_.data()), "cusparseSpMM");
  }

 private:
  static constexpr cusparseOperation_t kPlain = CUSPARSE_OPERATION_NON_TRANSPOSE;
  static constexpr float kOne = 1;
  cusparseHandle_t handle_;
  cusparseSpMMAlg_t algorithm_;
  cusparseSpMatDescr_t s_ = nullptr;
  cusparseDnMatDescr_t x_ = nullptr, y_ = nullptr;
  Array<std::byte> buffer_;
};

constexpr std::pair<cusparseSpMMAlg_t, const char*> kSpMmAlgorithms[] = {
    {CUSPARSE_SPMM_ALG_DEFAULT, "default"}, {CUSPARSE_SPMM_CSR_ALG1, "1"}, {CUSPARSE_SPMM_CSR_ALG2, "2"}, {CUSPARSE_SPMM_CSR_ALG3, "3"}};

class Handle {
 public:
  explicit Handle(cudaStream_t stream) {
    checked(cusparseCreate(&handle_), "cuSPARSE");
    checked(cusparseSetStream(handle_, stream), "cuSPARSE");
  }
  ~Handle() { (void)cusparseDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  cusparseHandle_t get() const { return handle_; }

 private:
  cusparseHandle_t handle_ = nullptr;
};

struct SparseCase {
  const char* site;
  uint32_t in, out, tasks, rows;
  double density;
};

void measure_case(Gpu& gpu, const Handle& handle, const SparseCase& shape) {
  const auto [site, in, out, tasks, rows_of_task, density] = shape;
  std::vector<Entries> entries;
  size_t bytes = 0;
  for (uint32_t task = 0; task < tasks; ++task) {
    // Some tasks of each mix are made anew, the others have their values in memory of their own.
    constexpr uint32_t kDistinct = 4;
    entries.push_back(task < kDistinct ? random_entries(gpu.random, in, out, density) : entries[task % kDistinct]);
    bytes += entries.back().inputs.size() * (sizeof(uint16_t) + sizeof(float)) + entries.back().starts.size() * sizeof(uint32_t);
  }
  const uint32_t sets = gpu.operand_sets(bytes, 16);
  const DeviceEntries on_device(entries, in, sets, true);
  const Tiles tiles(std::vector<uint32_t>(tasks, rows_of_task));
  Array<Half> x(gpu.random.halves(size_t{tiles.rows()} * in, 1)), y(size_t{tiles.rows()} * out);

  kernels::cuda::Sparse<Half> call;
  call.x = x.data();
  call.y = y.data();
  call.in = in;
  call.out = call.out_stride = out;
  call.tiles = tiles.tiles();
  Way ours, cusparse;
  ours.queue = [&](uint32_t n) {
    call.linears = {on_device.linears(n % sets), 1};
    kernels::cuda::sparse(gpu.stream, call);
  };
  const auto products = [&](uint32_t of_sets, cusparseSpMMAlg_t algorithm) {
    std::vector<SpMm> made;
    for (size_t i = 0; i < size_t{of_sets} * tasks; ++i) {
      const size_t row = i % tasks * rows_of_task;
      made.emplace_back(gpu, handle.get(), on_device, i, in, out, rows_of_task, x.data() + row * in, y.data() + row * out, algorithm);
    }
    return made;
  };
  const auto way_of = [&](const std::vector<SpMm>& made, uint32_t of_sets) {
    Way way;
    way.queue = [&made, tasks = tasks, of_sets](uint32_t n) {
      for (uint32_t task = 0; task < tasks; ++task) made[size_t{n % of_sets} * tasks + task].queue();
    };
    way.launches = 2 * tasks;
    return way;
  };
  const auto once = [&](const Way& way) {
    check(cudaMemset(static_cast<void*>(y.data()), 0, y.size() * sizeof(Half)), "zeroing");
    way.queue(0);
    check(cudaStreamSynchronize(gpu.stream), "the work on the device");
    return y.read();
  };
  const std::vector<Half> own = once(ours);
  const char* fastest = nullptr;
  cusparseSpMMAlg_t algorithm = CUSPARSE_SPMM_ALG_DEFAULT;
  double least = 0;
  std::string refusal;
  for (const auto& [candidate, name] : kSpMmAlgorithms) {
    try {
      const std::vector<SpMm> made = products(1, candidate);
      const double seconds = short_sample(gpu, way_of(made, 1));
      if (fastest != nullptr && seconds >= least) continue;
      fastest = name;
      algorithm = candidate;
      least = seconds;
    } catch (const std::exception& error) {  // not every release has every algorithm for this type
      recover(gpu);
      refusal = error.what();
    }
  }
  std::vector<SpMm> made;
  std::string apart = "-";
  if (fastest != nullptr) {
    made = products(sets, algorithm);
    cusparse = way_of(made, sets);
    apart = small(difference(once(cusparse), own));
  }
  check(cudaMemset(static_cast<void*>(y.data()), 0, y.size() * sizeof(Half)), "zeroing");
  measure(gpu, {&ours, &cusparse});
  char what[64];
  std::snprintf(what, sizeof what, "%u x %u rows, %.1f %%", tasks, rows_of_task, density * 100);
  size_t entry_count = 0;
  for (const Entries& task : entries) entry_count += task.inputs.size();
  print_row({site, what, us(ours.seconds), fastest == nullptr ? refusal : us(cusparse.seconds), fastest == nullptr ? "-" : fastest,
             times(cusparse.seconds / ours.seconds), times(2.0 * static_cast<double>(entry_count) * rows_of_task / ours.seconds * 1e-9),
             apart});
}

/// W o mask of every task against what is left out, subtracted from the shared product.
void measure_mask(Gpu& gpu, const char* site, uint32_t in, uint32_t out, uint32_t tasks, uint32_t rows_of_task, double dropped) {
  const size_t weights = size_t{in} * out, words = kernels::panel_count(out) * kernels::bit_plane_words(in);
  const std::vector<Half> weight = gpu.random.halves(weights, 0.05F);
  std::vector<Entries> complements;
  std::vector<uint32_t> planes;
  constexpr uint32_t kDistinct = 2;
  for (uint32_t task = 0; task < tasks; ++task) {
    if (task >= kDistinct) {
      complements.push_back(complements[task % kDistinct]);
      for (size_t i = 0; i < words; ++i) planes.push_back(planes[task % kDistinct * words + i]);
      continue;
    }
    Entries& complement = complements.emplace_back();
    complement.starts.push_back(0);
    const size_t begin = planes.size();
    planes.resize(begin + words, 0xFFFFFFFF);
    for (uint32_t column = 0; column < out; ++column) {
      constexpr uint32_t kColumns = 16, kBits = 32;  // of a panel, of a word: kernels/mask/mask.h
      uint32_t* const panel = planes.data() + begin + size_t{column / kColumns} * kernels::bit_plane_words(in);
      for (uint32_t k = 0; k < in; ++k) {
        if (!gpu.random.with_probability(dropped)) continue;
        panel[k / kBits * kColumns + column % kColumns] &= ~(1U << (kBits - 1 - k % kBits));
        complement.inputs.push_back(static_cast<uint16_t>(k));
        complement.values.push_back(-as_float(weight[size_t{column} * in + k]));
      }
      complement.starts.push_back(static_cast<uint32_t>(complement.inputs.size()));
    }
  }
  const uint32_t sets = gpu.operand_sets(planes.size() * sizeof(uint32_t) + weights * sizeof(Half), 32);
  Array<uint32_t> d_planes(planes.size() * sets);
  d_planes.write(0, planes);
  d_planes.repeat_first(planes.size());
  Array<Half> d_weight(weights * sets);
  d_weight.write(0, weight);
  d_weight.repeat_first(weights);
  const uint32_t complement_sets = std::min(sets, 8U);
  const DeviceEntries d_complements(complements, in, complement_sets, false);
  std::vector<TaskLinear> linears(size_t{sets} * tasks);
  for (size_t i = 0; i < linears.size(); ++i) linears[i].mask = d_planes.data() + i * words;
  const Array<TaskLinear> d_linears(linears);
  const Tiles tiles(std::vector<uint32_t>(tasks, rows_of_task)),
      mask_tiles(std::vector<uint32_t>(tasks, rows_of_task), kernels::cuda::kMaskTileRows);
  Array<Half> x(gpu.random.halves(size_t{tiles.rows()} * in, 1)), y(size_t{tiles.rows()} * out);

  Way masked, complement, product;
  masked.queue = [&](uint32_t n) {
    kernels::cuda::mask(gpu.stream, kernels::cuda::Mask<Half>{x.data(),
                                                              d_weight.data() + n % sets * weights,
                                                              y.data(),
                                                              in,
                                                              out,
                                                              out,
                                                              mask_tiles.tiles(),
                                                              {d_linears.data() + size_t{n % sets} * tasks, 1}});
  };
  complement.queue = [&](uint32_t n) {
    kernels::cuda::sparse(
        gpu.stream,
        kernels::cuda::Sparse<Half>{x.data(), y.data(), in, out, out, tiles.tiles(), {d_complements.linears(n % complement_sets), 1}});
  };
  product.queue = [&](uint32_t n) {
    check(gpu.queue->product(
        pets::cuda::Product<Half>{x.data(), d_weight.data() + n % sets * weights, y.data(), tiles.rows(), in, out, out}));
  };
  product.queue(0);
  complement.queue(0);
  check(cudaStreamSynchronize(gpu.stream), "the work on the device");
  const std::vector<Half> by_complement = y.read();
  masked.queue(0);
  check(cudaStreamSynchronize(gpu.stream), "the work on the device");
  const double apart = difference(by_complement, y.read());
  measure(gpu, {&masked, &complement, &product});
  check(cudaGetLastError(), "a launch");
  char what[64];
  std::snprintf(what, sizeof what, "%u x %u rows, %.0f %% dropped", tasks, rows_of_task, dropped * 100);
  print_row({site, what, us(masked.seconds), us(complement.seconds), times(masked.seconds / complement.seconds), us(product.seconds),
             small(apart)});
}

}  // namespace

void sparse(Gpu& gpu) {
  std::printf("## Sparse deltas: one grouped kernel against cusparseSpMM (CSR, halves, sums in float), a call a task\n\n");
  print_header({"site", "tasks", "kernel, us", "cuSPARSE, us", "its algorithm", "cuSPARSE / kernel", "kernel, GFLOP/s", "difference"});
  const Handle handle(gpu.stream);
  for (const auto& [tasks, rows] : {std::pair<uint32_t, uint32_t>{1, 64}, {8, 64}, {32, 16}, {32, 64}, {32, 128}}) {
    for (const double density : {0.001, 0.01, 0.05}) measure_case(gpu, handle, {"BERT-base query", 768, 768, tasks, rows, density});
  }
  measure_case(gpu, handle, {"BERT-base up", 768, 3072, 32, 64, 0.01});
  measure_case(gpu, handle, {"BERT-base down", 3072, 768, 32, 64, 0.01});
  measure_case(gpu, handle, {"MiniLM query", 384, 384, 32, 64, 0.01});
  std::printf("\nThe fastest of cuSPARSE's algorithms, its preprocessing not counted.\n");
}

void mask(Gpu& gpu) {
  std::printf("## Masks: the mask kernel against the sparse kernel on what the mask drops\n\n");
  print_header(
      {"site", "tasks", "mask kernel, us", "sparse complement, us", "mask / complement", "shared product of these rows, us", "difference"});
  for (const auto& [tasks, rows] : {std::pair<uint32_t, uint32_t>{8, 64}, {32, 16}, {32, 64}}) {
    for (const double dropped : {0.01, 0.05, 0.2}) measure_mask(gpu, "BERT-base query", 768, 768, tasks, rows, dropped);
  }
  measure_mask(gpu, "BERT-base up", 768, 3072, 32, 64, 0.05);
  measure_mask(gpu, "BERT-base down", 3072, 768, 32, 64, 0.05);
  measure_mask(gpu, "MiniLM query", 384, 384, 32, 64, 0.05);
  std::printf("\nThe complement needs the shared product, which the other rows of a batch need anyway.\n");
}

}  // namespace pets::benchmarks::gpu
