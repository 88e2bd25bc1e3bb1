# Language level, warnings and sanitizers: one interface target that every target of this project links.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_library(pets_options INTERFACE)
target_include_directories(pets_options INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
# No contraction behind our back: a chain is fused where the source says so and nowhere else (the rule of equal bits).
target_compile_options(pets_options INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -ffp-contract=off)

# Sanitizers come as options of the directory, so that a folder can take some off again.
if(PETS_SANITIZE)
  add_compile_options(-fsanitize=${PETS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PETS_SANITIZE})
endif()
if(PETS_BUILD_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# For folders whose code is mostly templates of JSON and option libraries and is never hot: in a build with sanitizers, optimizing it
# takes three times as long as running it without (json_reader.cc: 42 s at -O1), and twice as long in a cross build whose tests run
# emulated (four files of the converter: 32 s at -O2, 16 s at -O0).
macro(pets_compile_quickly)
  if(PETS_SANITIZE OR (CMAKE_CROSSCOMPILING_EMULATOR AND CMAKE_BUILD_TYPE STREQUAL "Debug"))
    add_compile_options(-O0)
  endif()
endmacro()

# pets_keep_optimized(FILE...): the exceptions in such a folder, because they are fuzzed (safetensors: 32,000 executions in 20 s without).
function(pets_keep_optimized)
  if(PETS_SANITIZE)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -O1)
  endif()
endfunction()

# pets_never_hot(FILE...): what reads a command line. CLI11 takes 14 to 27 s a file to optimize.
function(pets_never_hot)
  if(CMAKE_BUILD_TYPE STREQUAL "Debug")
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -O0)
  endif()
endfunction()
