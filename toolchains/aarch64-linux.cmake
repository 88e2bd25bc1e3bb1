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
