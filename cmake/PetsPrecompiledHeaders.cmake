# The headers that most files of a library include, parsed once: PETS_PRECOMPILED_HEADERS saves a second a file. Sources name every header
# that they use all the same: the preset `tsan` compiles them without, as does who includes this project in another.
option(PETS_PRECOMPILED_HEADERS "Precompile the headers that most files include" OFF)

set(PETS_STANDARD_HEADERS
  <algorithm> <array> <atomic> <cmath> <cstddef> <cstdint> <cstring> <filesystem> <functional> <map> <memory> <mutex> <optional> <set> <span>
  <string> <string_view> <unordered_map> <utility> <vector>)

# pets_precompile(TARGET HEADER...): the standard headers and these. Worth it for many files: a dozen do not pay for the header.
function(pets_precompile target)
  if(PETS_PRECOMPILED_HEADERS)
    target_precompile_headers(${target} PRIVATE ${PETS_STANDARD_HEADERS} ${ARGN})
  endif()
endfunction()
