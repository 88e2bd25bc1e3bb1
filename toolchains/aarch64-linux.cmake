# Cross build for 64-bit ARM Linux (Jetson) with the distribution's compiler and the sysroot that toolchains/make_sysroot.sh makes.
# PETS_SYSROOT, a cache or environment variable, names the sysroot; unset: build/sysroot-aarch64 of this tree.
#
# No -mcpu: the baseline is Armv8.0, and what newer CPUs have is compiled file by file and chosen at run time.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

if(NOT PETS_SYSROOT)
  if(DEFINED ENV{PETS_SYSROOT})
    set(PETS_SYSROOT "$ENV{PETS_SYSROOT}")
  else()
    cmake_path(ABSOLUTE_PATH CMAKE_CURRENT_LIST_DIR NORMALIZE OUTPUT_VARIABLE PETS_SYSROOT)
    cmake_path(GET PETS_SYSROOT PARENT_PATH PETS_SYSROOT)
    string(APPEND PETS_SYSROOT "/build/sysroot-aarch64")
  endif()
endif()
set(PETS_SYSROOT "${PETS_SYSROOT}" CACHE PATH "arm64 sysroot, made by toolchains/make_sysroot.sh")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PETS_SYSROOT)
if(NOT EXISTS "${PETS_SYSROOT}/usr/include/stdio.h")
  message(FATAL_ERROR "No arm64 sysroot in ${PETS_SYSROOT}: run toolchains/make_sysroot.sh ${PETS_SYSROOT}")
endif()
set(CMAKE_SYSROOT "${PETS_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH "${PETS_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Tests run under user-mode emulation, where it is installed. Which CPU it shows them comes from the environment variable QEMU_CPU.
find_program(PETS_QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(PETS_QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${PETS_QEMU_AARCH64};-L;${PETS_SYSROOT}")
endif()

# CUDA, in builds that have it: nvcc and libraries of the folder that toolchains/make_cuda_sysroot.sh makes. PETS_CUDA_TOOLKIT, a cache or
# environment variable, names it; unset: build/cuda-aarch64 of this tree.
if(NOT PETS_CUDA_TOOLKIT)
  if(DEFINED ENV{PETS_CUDA_TOOLKIT})
    set(PETS_CUDA_TOOLKIT "$ENV{PETS_CUDA_TOOLKIT}")
  else()
    cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH PETS_CUDA_TOOLKIT)
    string(APPEND PETS_CUDA_TOOLKIT "/build/cuda-aarch64")
  endif()
endif()
set(PETS_CUDA_TOOLKIT "${PETS_CUDA_TOOLKIT}" CACHE PATH "CUDA toolkit for arm64, made by toolchains/make_cuda_sysroot.sh")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PETS_CUDA_TOOLKIT)
if(EXISTS "${PETS_CUDA_TOOLKIT}/.complete")
  set(CUDAToolkit_ROOT "${PETS_CUDA_TOOLKIT}")
  set(CMAKE_CUDA_COMPILER "${PETS_CUDA_TOOLKIT}/bin/nvcc")
  set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
  set(CMAKE_CUDA_FLAGS_INIT "-Xcompiler=--sysroot=${PETS_SYSROOT}")  # CMake tells it to the C++ compiler alone
  # What a shared libpets needs of CUDA: the linker looks for the folders that libraries name inside the sysroot.
  set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,${PETS_CUDA_TOOLKIT}/targets/aarch64-linux/lib")
  set(CMAKE_SHARED_LINKER_FLAGS_INIT "${CMAKE_EXE_LINKER_FLAGS_INIT}")
elseif(PETS_CUDA AND NOT PETS_CUDA STREQUAL "AUTO")
  message(FATAL_ERROR "No CUDA toolkit for arm64 in ${PETS_CUDA_TOOLKIT}: run toolchains/make_cuda_sysroot.sh ${PETS_CUDA_TOOLKIT}")
else()
  set(CMAKE_CUDA_COMPILER NOTFOUND)  # the PC's own links for the PC
endif()
