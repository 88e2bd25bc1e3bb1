# Scripts that run the programs get a path from pets_program: the program itself or, in a cross build, a small script that runs it under
# CMAKE_CROSSCOMPILING_EMULATOR (CMake puts the emulator before a test's own command, not before what a script starts).
function(pets_program target result)
  if(NOT CMAKE_CROSSCOMPILING_EMULATOR)
    set(${result} "$<TARGET_FILE:${target}>" PARENT_SCOPE)
    return()
  endif()
  set(script "${PROJECT_BINARY_DIR}/emulated/${target}")
  list(JOIN CMAKE_CROSSCOMPILING_EMULATOR "' '" emulator)
  file(GENERATE OUTPUT "${script}" CONTENT "#!/bin/sh\nexec '${emulator}' '$<TARGET_FILE:${target}>' \"$@\"\n"
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  set(${result} "${script}" PARENT_SCOPE)
endfunction()
