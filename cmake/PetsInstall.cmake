# What `cmake --install` puts where, and find_package(pets) for applications that link the library.
include(CMakePackageConfigHelpers)

install(TARGETS pets EXPORT petsTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/runtime/include/pets" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")

set(pets_config_folder "${CMAKE_INSTALL_LIBDIR}/cmake/pets")
install(EXPORT petsTargets NAMESPACE pets:: DESTINATION "${pets_config_folder}")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/petsConfig.cmake.in" "${PROJECT_BINARY_DIR}/petsConfig.cmake"
  INSTALL_DESTINATION "${pets_config_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/petsConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/petsConfig.cmake" "${PROJECT_BINARY_DIR}/petsConfigVersion.cmake" DESTINATION "${pets_config_folder}")
