#define DOCTEST_CONFIG_IMPLEMENT
#include "support/suite.hpp"

#include <fmt/format.h>

#include <memory>
#include <optional>

namespace orkestr::testing {

namespace {
// Owned by main(), so that everything ends before the exit code is decided.
std::unique_ptr<World> the_world;
std::optional<Client> the_client;
std::optional<Sandbox> the_sandbox;
}  // namespace

World& world() { return *the_world; }
Client client() { return *the_client; }

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

}  // namespace orkestr::testing

int main(int argc, char** argv) {
  using namespace orkestr::testing;
  the_world = std::make_unique<World>();
  orkestr::ClientOptions options;
  options.backend = orkestr::BackendKind::local;
  the_client = orkestr::Client::open(options).value();

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
  return outcome;
}
