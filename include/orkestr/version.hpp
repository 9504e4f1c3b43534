// The version of this library, and the attribute that marks its exported symbols.
#pragma once

#define ORKESTR_VERSION_MAJOR 0
#define ORKESTR_VERSION_MINOR 7
#define ORKESTR_VERSION_PATCH 0
#define ORKESTR_VERSION "0.7.0"

#if defined(__GNUC__)
#define ORKESTR_API __attribute__((visibility("default")))
#else
#define ORKESTR_API
#endif

namespace orkestr {
// The version of the library that is linked ("0.7.0"); ORKESTR_VERSION is the one that was compiled against.
ORKESTR_API const char* version() noexcept;
}  // namespace orkestr
