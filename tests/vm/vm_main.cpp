#define DOCTEST_CONFIG_IMPLEMENT
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "vm.hpp"

namespace orkestr::testing {

namespace {
std::unique_ptr<World> the_world;
std::optional<Client> the_client;
}  // namespace

World& world() { return *the_world; }
Client client() { return *the_client; }

CreateOptions create_options() {
  CreateOptions options;
  options.template_name = "python-3.12-bare";
  options.timeout = std::chrono::seconds(3600);
  return options;
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

  the_client->close();
  for (const std::string& left : the_world->leftovers()) {
    fmt::print(stderr, "left behind: {}\n", left);
    outcome = 1;
  }
  the_world.reset();
  return outcome;
}
