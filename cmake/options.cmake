# Line numbers in backtraces, without the bulk of full debug information: half the link time, a third of the size.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
# What the sanitizer builds use: assertions on, and quick to compile.
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")

# Hardening that costs nothing measurable: checked libc calls where the compiler knows sizes, stack canaries, no writable GOT.
set(hardened $<CONFIG:Release,RelWithDebInfo,MinSizeRel>)
add_compile_options($<${hardened}:-U_FORTIFY_SOURCE> $<${hardened}:-D_FORTIFY_SOURCE=2> $<${hardened}:-fstack-protector-strong>)
add_link_options(-Wl,-z,relro,-z,now)

# Warnings and sanitizers of our own targets, in one interface target; and where the built programs go.
add_library(orkestr_options INTERFACE)
target_include_directories(orkestr_options INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
target_compile_options(orkestr_options INTERFACE -Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
                                                 -Werror=return-type)
if(ORKESTR_SANITIZE)
  # Only where asked for: the static guest agent cannot carry a sanitizer's runtime.
  add_library(orkestr_sanitize INTERFACE)
  target_compile_options(orkestr_sanitize INTERFACE -fsanitize=${ORKESTR_SANITIZE} -fno-omit-frame-pointer
                                                    -fno-sanitize-recover=all)
  target_link_options(orkestr_sanitize INTERFACE -fsanitize=${ORKESTR_SANITIZE})
  target_link_libraries(orkestr_options INTERFACE orkestr_sanitize)
endif()

# bin/ for what a person types, libexec/orkestr/ for helpers, lib/ for the library: the layout of an installation,
# so that a build tree finds its helpers exactly as an installed library does.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(ORKESTR_LIBEXEC_OUTPUT ${CMAKE_BINARY_DIR}/libexec/orkestr)

# A seventh of the size. (Here, because installation rules run in the order in which they are read.)
option(ORKESTR_INSTALL_STRIPPED "Install without debug information and local symbols" ON)
if(ORKESTR_INSTALL_STRIPPED)
  install(CODE "set(CMAKE_INSTALL_DO_STRIP ON)" ALL_COMPONENTS)
endif()
