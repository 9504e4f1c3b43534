// main() of the programs that know only the local backend.
#define DOCTEST_CONFIG_IMPLEMENT
#include "support/suite.hpp"

int main(int argc, char** argv) {
  orkestr::ClientOptions options;
  options.backend = orkestr::BackendKind::local;
  return orkestr::testing::run_suite(argc, argv, options);
}
