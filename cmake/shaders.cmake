# Shaders: every TV_VARIANT row of runtime/kernels/kernels.def is compiled by glslang (with a depfile), checked by spirv-val,
# checked against its row and embedded into the library. Sets TRIVIUM_EMBEDDED_SHADERS to the generated source.
find_program(GLSLANG NAMES glslangValidator glslang REQUIRED)
find_program(SPIRV_VAL spirv-val REQUIRED)

set(TRIVIUM_KERNELS_DEF ${CMAKE_SOURCE_DIR}/runtime/kernels/kernels.def)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${TRIVIUM_KERNELS_DEF})
set(TRIVIUM_SPIRV_DIR ${CMAKE_BINARY_DIR}/shaders)
file(MAKE_DIRECTORY ${TRIVIUM_SPIRV_DIR})
if(TRIVIUM_SHADER_DEBUG)
  set(TRIVIUM_GLSLANG_FLAGS -gVS)
endif()

# SPIR-V 1.5: newer versions name the workgroup size in a way that needs a feature we do not ask for.
file(STRINGS ${TRIVIUM_KERNELS_DEF} rows REGEX "^TV_VARIANT\\(")
set(TRIVIUM_SPIRV)
foreach(row ${rows})
  if(NOT row MATCHES "^TV_VARIANT\\(([a-z0-9_]+), ([a-z0-9_]+), \"([^\"]+)\", \"([^\"]*)\", ([0-9]+)\\)$")
    message(FATAL_ERROR "kernels.def: this row is not TV_VARIANT(kernel, variant, \"source\", \"defines\", size): ${row}")
  endif()
  set(source ${CMAKE_SOURCE_DIR}/shaders/${CMAKE_MATCH_3})
  set(output ${TRIVIUM_SPIRV_DIR}/${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.spv)
  set(local_size)
  if(NOT CMAKE_MATCH_5 EQUAL 0)
    set(local_size -DTV_LOCAL_SIZE=${CMAKE_MATCH_5})
  endif()
  separate_arguments(defines UNIX_COMMAND "${CMAKE_MATCH_4}")
  add_custom_command(OUTPUT ${output}
    COMMAND ${GLSLANG} --quiet -V --target-env vulkan1.2 -DTV_GLSL=1 ${local_size} ${defines} ${TRIVIUM_GLSLANG_FLAGS}
      -I${CMAKE_SOURCE_DIR}/shaders/include --depfile ${output}.d -o ${output} ${source}
    COMMAND ${SPIRV_VAL} --target-env vulkan1.2 ${output}
    DEPENDS ${source} DEPFILE ${output}.d VERBATIM
    COMMENT "Compiling ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}")
  list(APPEND TRIVIUM_SPIRV ${output})
endforeach()

add_executable(embed_shaders tools/build/embed_shaders.c)
set_target_properties(embed_shaders PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tools)
target_include_directories(embed_shaders PRIVATE include runtime shaders/include)
target_link_libraries(embed_shaders PRIVATE trivium_flags)

set(TRIVIUM_EMBEDDED_SHADERS ${CMAKE_BINARY_DIR}/generated/embedded_shaders.c)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated)
add_custom_command(OUTPUT ${TRIVIUM_EMBEDDED_SHADERS}
  COMMAND embed_shaders ${TRIVIUM_SPIRV_DIR} ${TRIVIUM_EMBEDDED_SHADERS}
  DEPENDS embed_shaders ${TRIVIUM_SPIRV} VERBATIM
  COMMENT "Checking shaders against kernels.def and embedding them")
