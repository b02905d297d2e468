# Shaders: every TV_VARIANT row of runtime/kernels/kernels.def is compiled by glslang (with a depfile), checked by spirv-val,
# checked against its row and embedded into the library. Sets TRIVIUM_EMBEDDED_SHADERS to the generated source.
find_program(GLSLANG NAMES glslangValidator glslang REQUIRED)
find_program(SPIRV_VAL spirv-val REQUIRED)

set(TRIVIUM_KERNELS_DEF ${CMAKE_SOURCE_DIR}/runtime/kernels/kernels.def)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${TRIVIUM_KERNELS_DEF})
set(TRIVIUM_SPIRV_OF "" CACHE PATH "Build folder of the same sources whose compiled shaders are taken, in place of compiling them again")
set(probes ${CMAKE_BINARY_DIR}/shaders)
file(MAKE_DIRECTORY ${probes})
set(TRIVIUM_SPIRV_DIR ${probes})
if(TRIVIUM_SPIRV_OF)
  set(TRIVIUM_SPIRV_DIR ${TRIVIUM_SPIRV_OF}/shaders)
  if(TRIVIUM_SHADER_DEBUG)
    message(FATAL_ERROR "TRIVIUM_SPIRV_OF and TRIVIUM_SHADER_DEBUG exclude each other: shaders with sources are compiled here")
  endif()
endif()
if(TRIVIUM_SHADER_DEBUG)
  set(TRIVIUM_GLSLANG_FLAGS -gVS)
endif()

# Optional tiers: cooperative matrices of f16 and of bf16 (shaders/probe/cm_TYPE.comp). The first compiler and validator that know them
# compile those variants: the system's, else what tools/setup.sh puts into the user's cache; everything else stays the system's.
if(DEFINED ENV{XDG_CACHE_HOME})
  set(shader_tools $ENV{XDG_CACHE_HOME}/trivium/shader-tools)
else()
  set(shader_tools $ENV{HOME}/.cache/trivium/shader-tools)
endif()
set(TRIVIUM_SHADER_TOOLS ${shader_tools} CACHE PATH "Folder with a newer glslangValidator and spirv-val for the matrix tiers")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/shaders/include/matrix.glsl)
foreach(type f16 bf16)
  string(TOUPPER ${type} TYPE)
  set(probe ${CMAKE_SOURCE_DIR}/shaders/probe/cm_${type}.comp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${probe})
  set(TRIVIUM_CM_${TYPE} OFF)
  foreach(tools "${GLSLANG}|${SPIRV_VAL}" "${TRIVIUM_SHADER_TOOLS}/glslangValidator|${TRIVIUM_SHADER_TOOLS}/spirv-val")
    string(REPLACE "|" ";" tools "${tools}")
    list(GET tools 0 glslang)
    list(GET tools 1 spirv_val)
    if(TRIVIUM_CM_${TYPE} OR NOT EXISTS ${glslang} OR NOT EXISTS ${spirv_val})
      continue()
    endif()
    set(output ${probes}/probe_${type}.spv)
    execute_process(COMMAND ${glslang} --quiet -V --target-env vulkan1.2 -DTV_GLSL=1 -I${CMAKE_SOURCE_DIR}/shaders/include -o ${output} ${probe}
      RESULT_VARIABLE compiled OUTPUT_QUIET ERROR_QUIET)
    if(compiled EQUAL 0)
      execute_process(COMMAND ${spirv_val} --target-env vulkan1.2 ${output} RESULT_VARIABLE compiled OUTPUT_QUIET ERROR_QUIET)
    endif()
    if(compiled EQUAL 0)
      set(TRIVIUM_CM_${TYPE} ON)
      set(glslang_${type} ${glslang})
      set(spirv_val_${type} ${spirv_val})
    endif()
  endforeach()
  if(NOT TRIVIUM_CM_${TYPE})
    message(STATUS "No compiler here knows cooperative matrices of ${type}: this build lacks the tier cm-${type} (tools/setup.sh fetches one)")
  endif()
endforeach()

# SPIR-V 1.5: newer versions name the workgroup size in a way that needs a feature we do not ask for.
file(STRINGS ${TRIVIUM_KERNELS_DEF} rows REGEX "^TV_(MATRIX_)?VARIANT\\(")
set(TRIVIUM_SPIRV)

function(add_shader glslang spirv_val kernel variant source defines invocations)
  set(source ${CMAKE_SOURCE_DIR}/shaders/${source})
  set(output ${TRIVIUM_SPIRV_DIR}/${kernel}.${variant}.spv)
  set(TRIVIUM_SPIRV ${TRIVIUM_SPIRV} ${output} PARENT_SCOPE)
  if(TRIVIUM_SPIRV_OF)
    return()
  endif()
  set(local_size)
  if(NOT invocations EQUAL 0)
    set(local_size -DTV_LOCAL_SIZE=${invocations})
  endif()
  separate_arguments(defines UNIX_COMMAND "${defines}")
  add_custom_command(OUTPUT ${output}
    COMMAND ${glslang} --quiet -V --target-env vulkan1.2 -DTV_GLSL=1 ${local_size} ${defines} ${TRIVIUM_GLSLANG_FLAGS}
      -I${CMAKE_SOURCE_DIR}/shaders/include --depfile ${output}.d -o ${output} ${source}
    COMMAND ${spirv_val} --target-env vulkan1.2 ${output}
    DEPENDS ${source} DEPFILE ${output}.d VERBATIM
    COMMENT "Compiling ${kernel}.${variant}")
endfunction()

foreach(row ${rows})
  if(NOT row MATCHES "^TV_(MATRIX_)?VARIANT\\(([a-z0-9_]+), ([a-z0-9_]+), \"([^\"]+)\", \"([^\"]*)\", ([0-9]+)\\)$")
    message(FATAL_ERROR "kernels.def: this row is not TV_VARIANT(kernel, variant, \"source\", \"defines\", size): ${row}")
  endif()
  set(kernel ${CMAKE_MATCH_2})
  set(variant ${CMAKE_MATCH_3})
  set(source ${CMAKE_MATCH_4})
  set(defines "${CMAKE_MATCH_5}")
  set(invocations ${CMAKE_MATCH_6})
  if("${CMAKE_MATCH_1}" STREQUAL "")
    add_shader(${GLSLANG} ${SPIRV_VAL} ${kernel} ${variant} ${source} "${defines}" ${invocations})
  else()
    foreach(type f16 bf16)
      string(TOUPPER ${type} TYPE)
      if(TRIVIUM_CM_${TYPE})
        add_shader(${glslang_${type}} ${spirv_val_${type}} ${kernel} ${variant}_${type} ${source} "-DTV_MATRIX_${TYPE} ${defines}" ${invocations})
      elseif(NOT TRIVIUM_SPIRV_OF) # of an earlier configuration
        file(REMOVE ${TRIVIUM_SPIRV_DIR}/${kernel}.${variant}_${type}.spv)
      endif()
    endforeach()
  endif()
endforeach()

if(NOT TRIVIUM_SPIRV_OF)
  add_custom_target(trivium_spirv DEPENDS ${TRIVIUM_SPIRV}) # alone, for whoever takes them
endif()

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
