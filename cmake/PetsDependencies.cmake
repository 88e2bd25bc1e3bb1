# The distribution's packages. Each is found the way that both Ubuntu 22.04 and Debian 12 offer.
find_package(Threads REQUIRED)

find_program(PETS_FLATC flatc REQUIRED)  # the host's, also when cross-compiling
find_path(PETS_FLATBUFFERS_INCLUDE flatbuffers/flatbuffers.h REQUIRED)

find_path(PETS_XXHASH_INCLUDE xxhash.h REQUIRED)

find_path(PETS_UTF8PROC_INCLUDE utf8proc.h REQUIRED)
find_library(PETS_UTF8PROC_LIBRARY utf8proc REQUIRED)

find_path(PETS_HIGHWAY_INCLUDE hwy/highway.h REQUIRED)

if(PETS_BUILD_CONVERTER)
  find_package(yaml-cpp REQUIRED)
endif()
if(PETS_BUILD_CONVERTER OR PETS_BUILD_CLI)
  find_package(nlohmann_json REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(fmt REQUIRED)
endif()
if(PETS_BUILD_TESTS)
  find_package(GTest REQUIRED)
  if(NOT CMAKE_CROSSCOMPILING)
    find_package(Boost 1.74 REQUIRED COMPONENTS context)  # fibers, which stand for CUDA's threads
  endif()
endif()
if(PETS_BUILD_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()
