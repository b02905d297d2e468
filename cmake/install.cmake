# Installation: the command, the library (static and shared) with its headers, pkg-config files and CMake package, and
# what is to be read.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# What whoever links the static library links besides. By name and not as pkg-config modules: `--static` would follow
# those into the static needs of libraries that are linked shared, down to files that no development package brings.
set(libraries ${CJSON_LDFLAGS} ${PCRE2_LDFLAGS} ${UTF8PROC_LDFLAGS} ${ZLIB_LDFLAGS} ${ZSTD_LDFLAGS} ${XXHASH_LDFLAGS}
  ${MICROHTTPD_LDFLAGS} ${CMARK_LDFLAGS} -lm -ldl -lpthread)
foreach(directory ${CMAKE_C_IMPLICIT_LINK_DIRECTORIES}) # where every linker looks by itself
  list(REMOVE_ITEM libraries -L${directory})
endforeach()
list(REMOVE_DUPLICATES libraries)
set(TRIVIUM_STATIC_LIBRARIES "${libraries}")
string(REPLACE ";" " " TRIVIUM_STATIC_FLAGS "${libraries}")
# Relative, so that `cmake --install --prefix` and a moved tree work.
file(RELATIVE_PATH TRIVIUM_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/trivium.pc.in trivium.pc @ONLY)
configure_file(cmake/trivium-static.pc.in trivium-static.pc @ONLY)
configure_package_config_file(cmake/triviumConfig.cmake.in triviumConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/trivium
  PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(triviumConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS trivium trivium_shared trivium_command)
install(DIRECTORY include/trivium DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_BINARY_DIR}/trivium.pc ${CMAKE_BINARY_DIR}/trivium-static.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_BINARY_DIR}/triviumConfig.cmake ${CMAKE_BINARY_DIR}/triviumConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/trivium)

# The manual page and the completion come from the program's own tables, so they are made where it runs.
if(NOT CMAKE_CROSSCOMPILING)
  foreach(made trivium.1:--man-page trivium.bash:--bash-completion)
    string(REGEX MATCH "(.*):(.*)" unused ${made})
    set(file ${CMAKE_BINARY_DIR}/generated/${CMAKE_MATCH_1})
    add_custom_command(OUTPUT ${file} COMMAND trivium_command ${CMAKE_MATCH_2} > ${file}
      DEPENDS trivium_command VERBATIM)
    list(APPEND described ${file})
  endforeach()
  add_custom_target(trivium_described ALL DEPENDS ${described})
  install(FILES ${CMAKE_BINARY_DIR}/generated/trivium.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${CMAKE_BINARY_DIR}/generated/trivium.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME trivium)
endif()
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY samples/c_api samples/pretrain DESTINATION ${CMAKE_INSTALL_DOCDIR}/samples)
