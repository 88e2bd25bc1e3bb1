// pets-cuda-kernel-bench: the CUDA kernels beside NVIDIA's libraries, as Markdown. Figures are medians of interleaved rounds, by events.
// usage: pets-cuda-kernel-bench [--rounds N] [SECTION...]      exit status 1 where a section fails, the others go on
#include <algorithm>
#include <cstdlib>

#include "benchmarks/kernels/cuda/sections.h"

namespace pets::benchmarks::gpu {
namespace {

struct Section {
  const char* name;
  void (*run)(Gpu&);
};
constexpr Section kSections[] = {{"peaks", peaks},
                                 {"products", shared_products},
                                 {"integers", integer_products},
                                 {"attention", attention},
                                 {"low-rank", low_rank},
                                 {"bottleneck", bottleneck},
                                 {"sparse", sparse},
                                 {"mask", mask}};

void open(Gpu& gpu) {
  value_of(pets::cuda::probe_device());  // says why there is none
  int device = 0;
  check(cudaGetDevice(&device), "the current device");
  check(cudaGetDeviceProperties(&gpu.properties, device), "the device's properties");
  gpu.queue = value_of(pets::cuda::Queue::create());
  gpu.stream = gpu.queue->stream();
  gpu.queue_workspace = Array<std::byte>(pets::cuda::kWorkspaceBytes);
  check(gpu.queue->set_workspace(gpu.queue_workspace.data()));
  gpu.workspace = Array<std::byte>(size_t{32} << 20);
  check(cublasCreate(&gpu.cublas), "cuBLAS");
  check(cublasSetStream(gpu.cublas, gpu.stream), "cuBLAS");
  check(cublasSetWorkspace(gpu.cublas, gpu.workspace.data(), gpu.workspace.size()), "cuBLAS");
}

int run(uint32_t rounds, const std::vector<std::string>& wanted) {
  Gpu gpu;
  gpu.rounds = rounds;
  try {
    open(gpu);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pets-cuda-kernel-bench: %s\n", error.what());
    return 1;
  }
  int runtime = 0, cublas = 0;
  (void)cudaRuntimeGetVersion(&runtime);
  (void)cublasGetVersion(gpu.cublas, &cublas);
  std::printf("# Kernels on %s, %d multiprocessors, %.0f MiB of L2, CUDA %d.%d, cuBLAS %d: medians of %u rounds\n\n", gpu.properties.name,
              gpu.properties.multiProcessorCount, static_cast<double>(gpu.properties.l2CacheSize) / (1 << 20), runtime / 1000,
              runtime % 1000 / 10, cublas, gpu.rounds);
  std::printf(
      "Weights and operators come from memory, since many sets of them are used in turn; rows may lie in L2, as in an encoder.\n\n");
  int status = 0;
  for (const Section& section : kSections) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), section.name) == wanted.end()) continue;
    try {
      section.run(gpu);
    } catch (const std::exception& error) {
      status = 1;
      std::printf("\n%s ended: %s\n", section.name, error.what());
      std::fprintf(stderr, "pets-cuda-kernel-bench: %s: %s\n", section.name, error.what());
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  return status;
}

}  // namespace
}  // namespace pets::benchmarks::gpu

int main(int argc, char** argv) {
  uint32_t rounds = 9;
  std::vector<std::string> wanted;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
      rounds = static_cast<uint32_t>(std::strtoul(argv[++i], nullptr, 10));
    } else {
      wanted.emplace_back(argv[i]);
    }
  }
  return pets::benchmarks::gpu::run(rounds == 0 ? 1 : rounds, wanted);
}
