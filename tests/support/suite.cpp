#include "support/suite.hpp"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <optional>

namespace orkestr::testing {

namespace {
// Owned by main(), so that everything ends before the exit code is decided.
std::unique_ptr<World> the_world;
ClientOptions the_options;
std::optional<Client> the_client;
std::optional<Sandbox> the_sandbox;
std::map<Has, int> left_out_counts;

const char* name_of(Has what) {
  switch (what) {
    case Has::input:
      return "standard input";
    case Has::terminal:
      return "a terminal";
    case Has::user:
      return "another user";
    case Has::events:
      return "events";
    case Has::disk_size:
      return "disk_mb";
    case Has::output_window:
      return "a limit to what is kept of a background command's output";
    case Has::lost_execs:
      return "execs that are found again after a pause";
    case Has::own_kernel:
      return "a kernel of its own";
    case Has::networks:
      return "networks";
    case Has::presigned:
      return "presigned URLs";
    case Has::snapshots:
      return "named snapshots";
    case Has::hosts:
      return "host names of ports";
    case Has::volumes:
      return "volumes";
    case Has::webhooks:
      return "webhooks";
    case Has::interpreter:
      return "a code interpreter";
  }
  return "?";
}
}  // namespace

World& world() { return *the_world; }
Client client() { return *the_client; }
Client new_client() { return Client::open(the_options).value(); }

CreateOptions create_options() {
  CreateOptions options;
  options.template_name = kTemplate;
  options.timeout = std::chrono::seconds(3600);
  return options;
}

Sandbox shared_sandbox() {
  if (!the_sandbox) the_sandbox = must(Sandbox::create(create_options(), client()));
  return *the_sandbox;
}

bool backend_has(Has what) { return (the_client->backend() == "local") == (what <= Has::own_kernel); }
void count_left_out(Has what) { ++left_out_counts[what]; }

int run_suite(int argc, char** argv, const ClientOptions& options) {
  the_world = std::make_unique<World>();
  the_options = options;
  the_client = Client::open(options).value();

  doctest::Context context(argc, argv);
  int outcome = context.run();

  if (the_sandbox && !the_sandbox->terminate().ok()) outcome = 1;
  the_sandbox.reset();
  the_client->close();
  for (const std::string& left : the_world->leftovers()) {
    fmt::print(stderr, "left behind: {}\n", left);
    outcome = 1;
  }
  the_world.reset();
  for (const auto& [what, count] : left_out_counts) {
    fmt::print("left out, for want of {}: {} scenarios or parts\n", name_of(what), count);
  }
  return outcome;
}

}  // namespace orkestr::testing
