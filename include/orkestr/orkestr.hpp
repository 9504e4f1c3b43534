// Everything. Include this one, or the parts you use.
#pragma once

#include <orkestr/client.hpp>     // IWYU pragma: export
#include <orkestr/code.hpp>       // IWYU pragma: export
#include <orkestr/command.hpp>    // IWYU pragma: export
#include <orkestr/error.hpp>      // IWYU pragma: export
#include <orkestr/events.hpp>     // IWYU pragma: export
#include <orkestr/files.hpp>      // IWYU pragma: export
#include <orkestr/host.hpp>       // IWYU pragma: export
#include <orkestr/limits.hpp>     // IWYU pragma: export
#include <orkestr/metrics.hpp>    // IWYU pragma: export
#include <orkestr/operation.hpp>  // IWYU pragma: export
#include <orkestr/options.hpp>    // IWYU pragma: export
#include <orkestr/process.hpp>    // IWYU pragma: export
#include <orkestr/sandbox.hpp>    // IWYU pragma: export
#include <orkestr/snapshot.hpp>   // IWYU pragma: export
#include <orkestr/template.hpp>   // IWYU pragma: export
#include <orkestr/version.hpp>    // IWYU pragma: export
#include <orkestr/volume.hpp>     // IWYU pragma: export
#include <orkestr/webhook.hpp>    // IWYU pragma: export
