# Line coverage of the parsers, the code that reads what strangers wrote: PETS_COVERAGE instruments these files and no others, so it
# costs little in a build that runs the tests anyhow. tests/coverage.py prints the report.
option(PETS_COVERAGE "Measure the line coverage of the parsers" OFF)

function(pets_measure_coverage target)
  if(NOT TARGET ${target})
    return()
  endif()
  file(GLOB sources ${ARGN})
  set_property(SOURCE ${sources} TARGET_DIRECTORY ${target} APPEND PROPERTY COMPILE_OPTIONS --coverage)
  target_link_options(${target} INTERFACE --coverage)
endfunction()

if(PETS_COVERAGE)
  pets_measure_coverage(pets "${PROJECT_SOURCE_DIR}/runtime/bundle/*.cc" "${PROJECT_SOURCE_DIR}/runtime/tokenizer/*.cc")
  pets_measure_coverage(pets_converter
    "${PROJECT_SOURCE_DIR}/converter/files/safetensors.cc" "${PROJECT_SOURCE_DIR}/converter/files/json_reader.cc"
    "${PROJECT_SOURCE_DIR}/converter/manifest/manifest*.cc" "${PROJECT_SOURCE_DIR}/converter/tokenizer/*.cc")
  pets_measure_coverage(pets_cli
    "${PROJECT_SOURCE_DIR}/runtime/cli/json_scanner.cc" "${PROJECT_SOURCE_DIR}/runtime/cli/query_line.cc"
    "${PROJECT_SOURCE_DIR}/runtime/cli/line_reader.cc")
endif()
