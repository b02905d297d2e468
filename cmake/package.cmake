# `cpack` in the build folder makes a Debian package and an archive; shaders and the ranking page are in the program.
# Each is one package with the command, the library, its headers and its samples.
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_NAME trivium)
set(CPACK_PACKAGE_VENDOR "the trivium authors")
set(CPACK_PACKAGE_CONTACT "the trivium authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trains and runs language models on any Vulkan GPU")
set(CPACK_PACKAGE_FILE_NAME trivium-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
# Linked libraries are found by dpkg-shlibdeps; the Vulkan loader is opened at run time.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS libvulkan1)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS mesa-vulkan-drivers)
# What a program needs that links the static library.
set(CPACK_DEBIAN_PACKAGE_SUGGESTS
  "libcjson-dev, libpcre2-dev, libutf8proc-dev, zlib1g-dev, libzstd-dev, libxxhash-dev, libmicrohttpd-dev, libcmark-gfm-dev, libcmark-gfm-extensions-dev")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
include(CPack)
