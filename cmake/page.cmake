# The ranking page: runtime/human/web/page.html with the style and scripts beside it, embedded into the library as one document.
# Sets TRIVIUM_EMBEDDED_PAGE to the generated source.
add_executable(embed_page tools/build/embed_page.c)
set_target_properties(embed_page PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tools)
target_link_libraries(embed_page PRIVATE trivium_flags)

set(TRIVIUM_PAGE_DIR ${CMAKE_SOURCE_DIR}/runtime/human/web)
file(GLOB page_files CONFIGURE_DEPENDS ${TRIVIUM_PAGE_DIR}/*.html ${TRIVIUM_PAGE_DIR}/*.css ${TRIVIUM_PAGE_DIR}/*.js)
set(TRIVIUM_EMBEDDED_PAGE ${CMAKE_BINARY_DIR}/generated/embedded_page.c)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated)
add_custom_command(OUTPUT ${TRIVIUM_EMBEDDED_PAGE}
  COMMAND embed_page ${TRIVIUM_PAGE_DIR} page.html ${TRIVIUM_EMBEDDED_PAGE}
  DEPENDS embed_page ${page_files} VERBATIM
  COMMENT "Embedding the ranking page")
