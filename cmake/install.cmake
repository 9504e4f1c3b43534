# What `cmake --install BUILD --prefix PREFIX` puts where. Every reference between the files is relative: a prefix may be moved.
#
#   component runtime      lib/libsandbox.so.0.7, libexec/orkestr/{orkestr-supervisor,orkestr-agent,orkestr-ro.so}, bin/orkestr
#   component development  include/orkestr/, lib/libsandbox.so, lib/cmake/orkestr/, lib/pkgconfig/orkestr.pc
#   component wheel        the same files as data of the Python package, see bindings/python/CMakeLists.txt
#
# The recipes of the templates are compiled into the library. `cmake --build BUILD --target uninstall` takes back the last installation.
include(CMakePackageConfigHelpers)

set(ORKESTR_LIBEXEC ${CMAKE_INSTALL_LIBEXECDIR}/orkestr)
set(ORKESTR_CMAKE ${CMAKE_INSTALL_LIBDIR}/cmake/orkestr)
file(RELATIVE_PATH library_from_command ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(orkestr PROPERTIES INSTALL_RPATH "$ORIGIN/${library_from_command}")

install(TARGETS sandbox EXPORT orkestrTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development)
install(TARGETS orkestr RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
install(TARGETS orkestr-supervisor orkestr-agent orkestr-ro
  RUNTIME DESTINATION ${ORKESTR_LIBEXEC} COMPONENT runtime
  LIBRARY DESTINATION ${ORKESTR_LIBEXEC} COMPONENT runtime)
install(FILES LICENSE third_party/NOTICES DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)

install(DIRECTORY include/orkestr DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development FILES_MATCHING PATTERN "*.hpp")
install(FILES capi/orkestr.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/orkestr COMPONENT development)
install(EXPORT orkestrTargets NAMESPACE orkestr:: DESTINATION ${ORKESTR_CMAKE} COMPONENT development)
set(generated ${CMAKE_BINARY_DIR}/generated/install)
configure_package_config_file(cmake/orkestrConfig.cmake.in ${generated}/orkestrConfig.cmake INSTALL_DESTINATION ${ORKESTR_CMAKE})
write_basic_package_version_file(${generated}/orkestrConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${generated}/orkestrConfig.cmake ${generated}/orkestrConfigVersion.cmake DESTINATION ${ORKESTR_CMAKE}
        COMPONENT development)

set(ORKESTR_PKGCONFIG ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
string(REGEX REPLACE "[^/]+" ".." ORKESTR_PREFIX_FROM_PKGCONFIG ${ORKESTR_PKGCONFIG})
configure_file(cmake/orkestr.pc.in ${generated}/orkestr.pc @ONLY)
install(FILES ${generated}/orkestr.pc DESTINATION ${ORKESTR_PKGCONFIG} COMPONENT development)

add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -DBUILD=${CMAKE_BINARY_DIR}
                                    -P ${CMAKE_SOURCE_DIR}/cmake/uninstall.cmake VERBATIM)
