# Writes a source that defines the functions which LIBRARY exports, all of them empty:
# `cmake -DNM=nm -DLIBRARY=libnrt.so.1 -DOUTPUT=names.cpp -P names.cmake`.
execute_process(COMMAND ${NM} --dynamic --defined-only --format=posix ${LIBRARY}
  OUTPUT_VARIABLE symbols
  COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[A-Za-z0-9_]+@?@?[A-Za-z0-9_.]* T " functions "${symbols}")
set(text "")
foreach(function IN LISTS functions)
  string(REGEX REPLACE "[@ ].*" "" name "${function}")
  string(APPEND text
    "extern \"C\" __attribute__((visibility(\"default\"))) void ${name}() {}\n")
endforeach()
if(text STREQUAL "")
  message(FATAL_ERROR "${LIBRARY} exports no function")
endif()
file(WRITE ${OUTPUT} "${text}")
